"""What the parsers of an upload have in common: the events they emit, and photographs on their way to the
store.

A parser is fed a body piece by piece, wherever the pieces' borders fall, and emits what a piece completes.
It works synchronously (hashing, base64, disk): the API calls it in a thread, one call a piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from api.uploads.base64_stream import Base64Decoder
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.storage.images import Place, Sink
from pinactors.storage.stored_image import StoredImage

SESSION_FIELD = "sessionId"
TEXT_FIELDS = {"frontImageData": View.FRONT, "backImageData": View.BACK, "angledImageData": View.ANGLED}

MAX_FIELDS = 100
"""Fields of one upload, ignored ones included; clients send fewer than ten."""


@dataclass(frozen=True, slots=True)
class Photograph:
    view: View
    image: StoredImage


@dataclass(frozen=True, slots=True)
class SessionNamed:
    session_id: str | None


@dataclass(frozen=True, slots=True)
class OtherField:
    """A field that is neither a photograph just completed nor the session id has begun."""


Event = Photograph | SessionNamed | OtherField


class Parser(Protocol):
    """`session_id` is what the body named, also when it is refused in the end."""

    session_id: str | None

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes. Raises `PinactorsError` (`invalid_format`) and `OSError` (disk)."""
        ...

    def finish(self) -> list[Event]:
        """The body has ended. Raises `PinactorsError` when it ended in the middle."""
        ...

    def discard(self) -> None:
        """Removes what was not completed; nothing happens when all was."""
        ...


class Receiving:
    """One photograph on its way in, as bytes or as base64 (`encoded`)."""

    def __init__(self, store: Place, field: str, view: View, *, encoded: bool) -> None:
        self.view = view
        self._decoder = Base64Decoder(field) if encoded else None
        self._sink = Sink(store)

    def write(self, data: bytes) -> None:
        self._sink.write(self._decoder.feed(data) if self._decoder else data)

    def finish(self) -> Iterable[Photograph]:
        """Nothing for an empty field: an empty file input means that nothing was chosen."""
        if self._decoder:
            self._sink.write(self._decoder.finish())
        if self._sink.size:
            yield Photograph(self.view, self._sink.keep())
        else:
            self.discard()

    def discard(self) -> None:
        self._sink.discard()


class Fields:
    """Which fields were seen: bounded in number, and ours once each."""

    def __init__(self) -> None:
        self._count = 0
        self._seen: set[object] = set()

    def begin(self, name: str, means: object = None) -> None:
        """`means` is what the field stands for, None for an ignored one."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise malformed(f"it has more than {MAX_FIELDS} fields")
        if means in self._seen:
            raise malformed(f"{name} is given twice", name)
        if means is not None:
            self._seen.add(means)


def malformed(reason: str, field: str = "") -> PinactorsError:
    return PinactorsError(
        ErrorCode.INVALID_FORMAT, "Invalid upload", f"The upload is malformed: {reason}", field=field
    )
