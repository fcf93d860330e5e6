"""What the parsers of an upload have in common: the events they emit, and photographs on their way to the
store.

A parser is fed a body piece by piece, wherever the pieces' borders fall, and emits what a piece completes.
It works synchronously (hashing, base64, disk): its caller does so in a thread, one call a piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pinactors.api.uploads.base64_stream import LONGEST_NOTHING, Base64Decoder, says_nothing
from pinactors.api.uploads.fields import Region, malformed
from pinactors.protocol import View
from pinactors.storage.images import Place, Sink
from pinactors.storage.stored_image import StoredImage

MAX_FIELDS = 100
"""Fields of one upload, ignored ones included; clients send fewer than ten."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph is in. `field` is the name it was sent under."""

    view: View
    image: StoredImage
    field: str


@dataclass(frozen=True, slots=True)
class SessionNamed:
    """The session id is known; None when the client named none."""

    session_id: str | None


@dataclass(frozen=True, slots=True)
class RegionNamed:
    """Where the pin is in a photograph that follows; None where the client says nothing."""

    view: View
    region: Region | None


@dataclass(frozen=True, slots=True)
class WebhookNamed:
    """Where the session's events are to be sent; empty where the client says nothing."""

    url: str


@dataclass(frozen=True, slots=True)
class OtherField:
    """A field that is neither a photograph just completed nor the session id has begun."""


Event = Photograph | SessionNamed | RegionNamed | WebhookNamed | OtherField


class Parser(Protocol):
    """`session_id` is what the body named, also when it is refused in the end."""

    session_id: str | None

    @property
    def receiving(self) -> bool:
        """Whether a photograph has begun and is not whole: there is something to `discard`."""
        ...

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes. Raises `PinactorsError` (`invalid_format`) and `OSError` (disk)."""
        ...

    def finish(self) -> None:
        """The body has ended. Touches no file. Raises `PinactorsError` when it ended in the middle."""
        ...

    def discard(self) -> None:
        """Removes what was not completed; nothing happens when all was."""
        ...


class Receiving:
    """One photograph on its way in, as bytes or as base64 (`encoded`).

    `text`: it came as a text, not as a file, so that it may be a word for nothing.
    """

    def __init__(self, store: Place, field: str, view: View, *, encoded: bool, text: bool) -> None:
        self._field, self._view, self._text = field, view, text
        self._decoder = Base64Decoder(field) if encoded else None
        self._start = b""
        self._sink = Sink(store)

    def write(self, data: bytes) -> None:
        """Raises `PinactorsError` (`invalid_format`), `OSError` (disk)."""
        if len(self._start) <= LONGEST_NOTHING:
            self._start += data[: LONGEST_NOTHING + 1]
        self._sink.write(self._decoder.feed(data) if self._decoder else data)

    def finish(self) -> Iterable[Photograph]:
        """Nothing for an empty field (an empty file input means that nothing was chosen), nor for a text that
        stands for nothing."""
        if self._decoder:
            self._sink.write(self._decoder.finish())
            absent = self._decoder.absent
        else:
            absent = self._text and says_nothing(self._start)
        if self._sink.size and not absent:
            yield Photograph(self._view, self._sink.keep(), self._field)
        else:
            self.discard()

    def discard(self) -> None:
        self._sink.discard()


class Fields:
    """Which fields were seen: bounded in number, the session id once, and one photograph of each view."""

    def __init__(self) -> None:
        self._count = 0
        self._seen: set[object] = set()

    def begin(self) -> None:
        """Another field, used or ignored. Raises `PinactorsError`."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise malformed(f"it has more than {MAX_FIELDS} fields")

    def given(self, name: str, means: object) -> None:
        """`name` has brought what it `means`, which must not have come before. An empty field may come before
        and behind it: a page has an input for the camera, and one for the album. Raises `PinactorsError`."""
        if means in self._seen:
            raise malformed(f"{name} is given twice", name)
        self._seen.add(means)
