"""What the upload parsers share: their interface, the events they return and the writer of photographs.

A parser receives a body in pieces of any size and returns the events that each piece completes. It works
synchronously (hashing, base64, disk), so the caller runs each call in a thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from pinactors.api.uploads.base64_stream import (
    LONGEST_MISSING_VALUE,
    Base64Decoder,
    may_be_base64,
    means_missing,
)
from pinactors.api.uploads.fields import (
    REGION_FIELDS,
    REGION_LIMIT,
    SESSION_FIELD,
    WEBHOOK_FIELD,
    Region,
    malformed,
    region_of,
)
from pinactors.protocol import View, none_if_missing
from pinactors.storage.images import ImageTarget, Sink
from pinactors.storage.stored_image import StoredImage

MAX_FIELDS = 100
"""Most fields of one upload, including ignored ones; clients send fewer than ten."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph is complete and stored. `field` is the field's name as it was sent."""

    view: View
    image: StoredImage
    field: str


@dataclass(frozen=True, slots=True)
class SessionNamed:
    """The field with the session id was read; None if it is empty or one of `MISSING_VALUES`."""

    session_id: str | None


@dataclass(frozen=True, slots=True)
class RegionNamed:
    """Where the pin is in a photograph, sent before or after it; None if the client names no region."""

    view: View
    region: Region | None


@dataclass(frozen=True, slots=True)
class WebhookNamed:
    """The URL to which the session's events are sent; empty if the client names none."""

    url: str


@dataclass(frozen=True, slots=True)
class OtherField:
    """A field other than the session id and the regions has begun."""


Event = Photograph | SessionNamed | RegionNamed | WebhookNamed | OtherField


class Receiving:
    """Writes one photograph to the store as it arrives, as bytes or as base64. `encoded` says which; if it is
    None, the first bytes decide."""

    def __init__(self, store: ImageTarget, field: str, view: View, *, encoded: bool | None) -> None:
        self._field, self._view = field, view
        self._decoder = Base64Decoder(field) if encoded else None
        self._decided = encoded is not None
        self._start = b""
        self._sink = Sink.create(store)

    def write(self, data: bytes) -> None:
        """Raises `PinactorsError` (`invalid_format`), `OSError` (disk)."""
        start = self._start
        if len(start) <= LONGEST_MISSING_VALUE:
            self._start += data[: LONGEST_MISSING_VALUE + 1]
        if not self._decided:
            if len(self._start) <= LONGEST_MISSING_VALUE:
                return
            self._decide()
            data = start + data
        self._put(data)

    def finish(self) -> Iterable[Photograph]:
        """Yields the stored photograph; none for an empty field (an empty file input: the user chose no file)
        or for one of `MISSING_VALUES`, which JavaScript also makes a file's content (`new Blob([null])`)."""
        if not self._decided:
            self._decide()
            self._put(self._start)
        if self._decoder:
            self._sink.write(self._decoder.finish())
            absent = self._decoder.absent
        else:
            absent = means_missing(self._start)
        if self._sink.size and not absent:
            yield Photograph(self._view, self._sink.keep(), self._field)
        else:
            self.discard()

    def discard(self) -> None:
        self._sink.discard()

    def _decide(self) -> None:
        self._decided = True
        if may_be_base64(self._start):
            self._decoder = Base64Decoder(self._field)

    def _put(self, data: bytes) -> None:
        self._sink.write(self._decoder.feed(data) if self._decoder else data)


class Skipping:
    """Takes the place of `Receiving` in a parser without a store: the photograph is neither stored nor
    checked."""

    def write(self, data: bytes) -> None:
        pass

    def finish(self) -> Iterable[Photograph]:
        return ()

    def discard(self) -> None:
        pass


class FieldCheck:
    """Counts the fields and checks that the session id and each view's photograph are sent once at most."""

    def __init__(self) -> None:
        self._count = 0
        self._seen: set[object] = set()

    def begin(self) -> None:
        """Counts a field, used or ignored. Raises `PinactorsError` beyond `MAX_FIELDS`."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise malformed(f"it has more than {MAX_FIELDS} fields")

    def check_once(self, name: str, means: object) -> None:
        """Records that the field `name` has carried `means` (a view or the session id). Raises
        `PinactorsError` if another field carried that before. Empty values do not count: a page has one input
        for the camera and one for the album."""
        if means in self._seen:
            raise malformed(f"{name} is given twice", name)
        self._seen.add(means)


class Parser(ABC):
    """Incremental parser of one upload, whose photographs are put into `store`; without a store it skips
    them. `session_id` is the id in the body, set also if the body is refused later."""

    def __init__(self, store: ImageTarget | None) -> None:
        self.session_id: str | None = None
        self._store = store
        self._fields = FieldCheck()
        self._receiving: Receiving | Skipping | None = None
        self._events: list[Event] = []

    @property
    def receiving(self) -> bool:
        """Whether a photograph has begun and is incomplete, so that `discard` has to be called."""
        return self._receiving is not None

    def feed(self, data: bytes) -> list[Event]:
        """Returns the events that `data` completes. Raises `PinactorsError` (`invalid_format`) and `OSError`
        (disk)."""
        self._parse(data)
        events, self._events = self._events, []
        return events

    @abstractmethod
    def finish(self) -> None:
        """Must be called at the end of the body. Touches no file. Raises `PinactorsError` if the body is
        incomplete."""

    def discard(self) -> None:
        """Removes the file of an incomplete photograph; does nothing if there is none."""
        if self._receiving is not None:
            self._receiving.discard()

    @abstractmethod
    def _parse(self, data: bytes) -> None:
        """Adds the events that `data` completes."""

    def _begin_photograph(self, field: str, view: View, *, encoded: bool | None) -> None:
        store = self._store
        self._receiving = Receiving(store, field, view, encoded=encoded) if store is not None else Skipping()

    def _end_photograph(self) -> None:
        assert self._receiving is not None
        for photograph in self._receiving.finish():
            self._fields.check_once(photograph.field, photograph.view)
            self._events.append(photograph)
        self._receiving = None

    def _end_text(self, name: str, text: str) -> None:
        """Adds the event of a text field: the session id, the webhook or a region."""
        if name == SESSION_FIELD:
            named = none_if_missing(text)
            if named is not None:
                self._fields.check_once(name, SESSION_FIELD)
                self.session_id = named
            self._events.append(SessionNamed(named))
        elif name == WEBHOOK_FIELD:
            self._events.append(WebhookNamed(text))
        else:
            region = region_of(text[: REGION_LIMIT + 1], name)
            self._events.append(RegionNamed(REGION_FIELDS[name], region))
