"""A multipart upload, read as it arrives. Werkzeug's decoder finds the parts, here they become images."""

from __future__ import annotations

import re

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio import multipart

from api.uploads.received import (
    SESSION_FIELD,
    TEXT_FIELDS,
    Event,
    Fields,
    OtherField,
    Receiving,
    SessionNamed,
    malformed,
)
from pinactors.protocol import SESSION_ID_LIMIT, View
from pinactors.storage.images import Place

BINARY_FIELDS = {"front_image": View.FRONT, "back_image": View.BACK, "angled_image": View.ANGLED}

SLICE = 16 * 1024
"""Bytes the decoder is given at once: its cost grows with what it holds."""

HELD = 4 * SLICE
"""Bytes the decoder may hold: more means a part's headers, or a preamble, without an end."""

BOUNDARY_LIMIT = 200
"""RFC 2046 allows 70 characters."""

_BEHIND_BORDER = re.compile(rb"(--[^\S\n\r]*(?:\r\n|\n|\r)?|[^\S\n\r]*(?:\r\n|\n|\r))")


class Found:
    """Where a border was found; as much of a match as the decoder uses."""

    __slots__ = ("_behind", "_start")

    def __init__(self, start: int, behind: re.Match[bytes]) -> None:
        self._start, self._behind = start, behind

    def start(self) -> int:
        return self._start

    def end(self) -> int:
        return self._behind.end()

    def group(self, number: int) -> bytes:
        return self._behind.group(number)


class Border:
    """What Werkzeug's decoder compiles a pattern for: a boundary, behind a line break (`inner`) or not.

    Every upload has a boundary of its own, and compiling the two patterns took longer than anything else in
    receiving a small one.
    """

    def __init__(self, marker: bytes, *, inner: bool) -> None:
        self._marker, self._inner = marker, inner

    def search(self, buffer: bytearray, start: int = 0) -> Found | None:
        found = buffer.find(self._marker, start)
        while found >= 0:
            before = found
            if buffer.endswith((b"\n", b"\r"), start, found):
                before -= 2 if buffer.endswith(b"\r\n", start, found) else 1
            behind = _BEHIND_BORDER.match(buffer, found + len(self._marker))
            if behind is not None and (before < found or not self._inner):
                return Found(before, behind)
            found = buffer.find(self._marker, found + 1)
        return None


class Decoder(multipart.MultipartDecoder):
    def __init__(self, boundary: bytes) -> None:
        super().__init__(b"", HELD)  # patterns without a boundary, compiled once and never used
        marker = b"--" + boundary
        self.boundary = boundary
        self.preamble_re = Border(marker, inner=False)  # type: ignore[assignment]
        self.boundary_re = Border(marker, inner=True)  # type: ignore[assignment]


def checked_boundary(boundary: str | None) -> str:
    """Raises `PinactorsError` (`invalid_format`) for one that separates nothing."""
    if not boundary or len(boundary) > BOUNDARY_LIMIT or not boundary.isascii():
        raise malformed("its content type names no usable boundary")
    return boundary


class MultipartUpload:
    """See `api.received.Parser`. `boundary` is the content type's, checked."""

    def __init__(self, store: Place, boundary: str) -> None:
        self.session_id: str | None = None
        self._store = store
        self._marker = b"--" + boundary.encode()
        self._decoder = Decoder(boundary.encode())
        self._reach = len(self._marker) + len(b"--\r\n")
        self._held = b""
        self._fields = Fields()
        self._receiving: Receiving | None = None
        self._text: bytearray | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        data = self._held + data
        start = 0
        while start < len(data) and not self._ended:  # what follows the last boundary means nothing
            cut = self._cut(data, start)
            if cut == start:
                break
            self._step(data[start:cut], events)
            start = cut
        self._held = data[start:] if not self._ended else b""
        return events

    def finish(self) -> list[Event]:
        events: list[Event] = []
        if not self._ended:
            self._step(self._held, events)
            self._step(None, events)
        return events

    def _cut(self, data: bytes, start: int) -> int:
        """The end of the slice from `start` on, never inside a boundary: its ending must be seen with it.

        Werkzeug's decoder takes the line break before `--boundary-` for data when the second dash comes
        later.
        """
        end = min(start + SLICE, len(data) - self._reach)
        if end <= start:
            return start
        found = data.rfind(self._marker, max(start, end - self._reach), end + len(self._marker))
        return found if start <= found < end < found + self._reach else end

    def discard(self) -> None:
        if self._receiving is not None:
            self._receiving.discard()

    def _step(self, data: bytes | None, events: list[Event]) -> None:
        try:
            self._decoder.receive_data(data)
            while not isinstance(event := self._decoder.next_event(), multipart.NeedData):
                if isinstance(event, multipart.Field | multipart.File):
                    self._begin(event, events)
                elif isinstance(event, multipart.Data):
                    self._continue(event, events)
                elif isinstance(event, multipart.Epilogue):
                    self._ended = True
                    break
        except RequestEntityTooLarge:
            raise malformed("a part's headers have no end") from None
        except ValueError:  # Werkzeug's own, UnicodeDecodeError among them
            raise malformed(
                "it ends in the middle" if data is None else "a part's headers make no sense"
            ) from None
        self._ended = self._ended or self._decoder.state is multipart.State.EPILOGUE

    def _begin(self, part: multipart.Field | multipart.File, events: list[Event]) -> None:
        name = part.name or ""
        is_text = isinstance(part, multipart.Field)
        view = BINARY_FIELDS.get(name) or TEXT_FIELDS.get(name)
        if name == SESSION_FIELD and is_text:
            self._fields.begin(name, SESSION_FIELD)
            self._text = bytearray()
            return
        self._fields.begin(name, view)
        events.append(OtherField())
        if view is not None:
            # A file under a text field's name is what it is: the photograph's own bytes.
            self._receiving = Receiving(self._store, name, view, encoded=is_text and name in TEXT_FIELDS)

    def _continue(self, event: multipart.Data, events: list[Event]) -> None:
        if self._receiving is not None:
            self._receiving.write(event.data)
            if not event.more_data:
                events += self._receiving.finish()
                self._receiving = None
        elif self._text is not None:
            self._text += event.data
            if len(self._text) > SESSION_ID_LIMIT:
                raise malformed(f"{SESSION_FIELD} has more than {SESSION_ID_LIMIT} characters", SESSION_FIELD)
            if not event.more_data:
                try:
                    self.session_id = self._text.decode() or None
                except UnicodeDecodeError:
                    raise malformed(f"{SESSION_FIELD} is not UTF-8", SESSION_FIELD) from None
                events.append(SessionNamed(self.session_id))
                self._text = None
