"""A JSON upload, read as it arrives: a photograph is decoded and stored while the next one is still being
sent.

No general parser: it knows an object's outline, streams the photographs' texts and leaves every other
value, once complete, to `msgspec`. What is held in memory is bounded by `OTHER_BYTES` and the pieces it is
fed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

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
from pinactors.storage.images import Place

OTHER_BYTES = 256 * 1024
"""What an upload may hold beside its photographs: keys, ignored values, white space."""

MAX_DEPTH = 64
"""Levels of nesting in an ignored value."""

_SPACE = b" \t\r\n"
_STRUCTURE = re.compile(rb'["\\{}\[\],]')
_ESCAPES = (
    # All that can stand in a base64 text: Apple escapes every slash, Gson "=", .NET "+", MIME breaks its
    # lines.
    (rb"\/", b"/"),
    (rb"\n", b""),
    (rb"\r", b""),
    (rb"\u002b", b"+"),
    (rb"\u002B", b"+"),
    (rb"\u002f", b"/"),
    (rb"\u002F", b"/"),
    (rb"\u003d", b"="),
    (rb"\u003D", b"="),
)
_LONGEST_ESCAPE = 6


class JsonUpload:
    """See `api.received.Parser`. Each state is a method: it consumes, and says whether to go on."""

    def __init__(self, store: Place) -> None:
        self.session_id: str | None = None
        self._store = store
        self._state: Callable[[], bool] = self._opening
        self._buffer = bytearray()
        self._fields = Fields()
        self._name = ""
        self._first = True
        self._receiving: Receiving | None = None
        self._other = 0
        self._scanned, self._depth, self._quoted = 0, 0, False
        self._events: list[Event] = []

    def feed(self, data: bytes) -> list[Event]:
        self._buffer += data
        while self._state():
            pass
        if self._receiving is None and self._other + len(self._buffer) > OTHER_BYTES:
            raise malformed(f"it holds more than {OTHER_BYTES} bytes beside the photographs")
        events, self._events = self._events, []
        return events

    def finish(self) -> list[Event]:
        if self._state != self._behind:
            raise malformed(
                "the JSON ends in the middle" if self._other or self._buffer else "the body is empty"
            )
        return []

    def discard(self) -> None:
        if self._receiving is not None:
            self._receiving.discard()

    def _opening(self) -> bool:
        """Before the object."""
        if (mark := self._next()) is None:
            return False
        if mark != b"{":
            raise malformed("the body must be a JSON object")
        self._take(1)
        self._state = self._key
        return True

    def _key(self) -> bool:
        """Before a key, or the end of an empty object."""
        if (mark := self._next()) is None:
            return False
        if mark == b"}" and self._first:
            return self._close()
        if mark != b'"':
            raise malformed("a field's name is expected")
        end = self._end_of_value(start=1, text=True)
        if end is None:
            return False
        self._name = str(self._decoded(self._take(end), "a name"))
        self._first = False
        self._fields.begin(
            self._name, self._name if self._name in TEXT_FIELDS or self._name == SESSION_FIELD else None
        )
        self._state = self._colon
        return True

    def _colon(self) -> bool:
        if (mark := self._next()) is None:
            return False
        if mark != b":":
            raise malformed(f"no value follows {self._name!r}"[:200])
        self._take(1)
        self._state = self._value_start
        return True

    def _value_start(self) -> bool:
        if (mark := self._next()) is None:
            return False
        view = TEXT_FIELDS.get(self._name)
        if self._name != SESSION_FIELD:
            self._events.append(OtherField())
        if view is not None and mark == b'"':
            self._take(1)
            self._receiving = Receiving(self._store, self._name, view, encoded=True)
            self._state = self._photograph
        else:
            self._state = self._other_value
        return True

    def _photograph(self) -> bool:
        """Inside a photograph's text, which ends at the next quotation mark: none can stand in base64."""
        assert self._receiving is not None
        end = self._buffer.find(b'"')
        text = bytes(self._buffer[:end] if end >= 0 else self._buffer)
        if b"\\" in text:
            cut = text.rfind(b"\\", -_LONGEST_ESCAPE + 1) if end < 0 else -1
            text = text[:cut] if cut >= 0 else text  # an escape may go on in the next piece
        del self._buffer[: len(text)]
        self._receiving.write(_unescape(text))
        if end < 0:
            return False
        del self._buffer[:1]
        self._events += self._receiving.finish()
        self._receiving = None
        self._state = self._separator
        return True

    def _other_value(self) -> bool:
        end = self._end_of_value(start=0, text=False)
        if end is None:
            return False
        value = self._decoded(self._take(end), f"the value of {self._name!r}"[:200])
        if self._name in TEXT_FIELDS and value is not None:
            raise malformed(f"{self._name} must be text (base64) or null", self._name)
        if self._name == SESSION_FIELD:
            if not isinstance(value, str | None):
                raise malformed(f"{self._name} must be text or null", self._name)
            self.session_id = value
            self._events.append(SessionNamed(value))
        self._state = self._separator
        return True

    def _separator(self) -> bool:
        """Behind a value."""
        if (mark := self._next()) is None:
            return False
        if mark == b"}":
            return self._close()
        if mark != b",":
            raise malformed(f"a comma is missing behind {self._name!r}"[:200])
        self._take(1)
        self._state = self._key
        return True

    def _close(self) -> bool:
        self._take(1)
        self._state = self._behind
        return True

    def _behind(self) -> bool:
        if self._next() is not None:
            raise malformed("something follows the JSON object")
        return False

    def _next(self) -> bytes | None:
        """The next character that is no white space, not consumed; None when there is none yet."""
        rest = self._buffer.lstrip(_SPACE)
        self._take(len(self._buffer) - len(rest))
        return bytes(rest[:1]) or None

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._other += count
        if self._other > OTHER_BYTES:
            raise malformed(f"it holds more than {OTHER_BYTES} bytes beside the photographs")
        return taken

    def _end_of_value(self, *, start: int, text: bool) -> int | None:
        """Where the value at the buffer's start ends; None when that is not in yet. Goes on where it stopped.

        `text`: it is a string whose first quotation mark is before `start`.
        """
        if not self._scanned:
            self._scanned, self._depth, self._quoted = start, 0, text
        while found := _STRUCTURE.search(self._buffer, self._scanned):
            mark, at = found[0], found.start()
            if mark == b"\\":
                if len(self._buffer) < at + 2:
                    break  # what it escapes is not in yet
                self._scanned = at + 2
                continue
            if self._quoted:
                self._quoted = mark != b'"'
                if text and not self._quoted:
                    return self._ends(at + 1)
            elif mark == b'"':
                self._quoted = True
            elif mark in b"{[":
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise malformed(f"{self._name!r} is nested more than {MAX_DEPTH} deep"[:200])
            elif self._depth == 0:  # a comma or a bracket of the object itself
                return self._ends(at)
            elif mark in b"}]":
                self._depth -= 1
            self._scanned = at + 1
        else:
            self._scanned = len(self._buffer)
        return None

    def _ends(self, at: int) -> int:
        self._scanned = 0
        return at

    @staticmethod
    def _decoded(value: bytes, what: str) -> object:
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise malformed(f"{what} is not JSON: {error}") from None


def _unescape(text: bytes) -> bytes:
    """Base64 out of a JSON string. A backslash that stays makes the base64 decoder refuse it."""
    if b"\\" in text:
        for escape, meaning in _ESCAPES:
            text = text.replace(escape, meaning)
    return text
