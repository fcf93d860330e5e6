"""Parser of JSON uploads that works while the body arrives: each photograph is decoded and stored while the
next one is still being sent.

The parser is not general: it reads the fields of one object, decodes the photographs' texts piece by piece,
and skips every other value without keeping or interpreting it (a thumbnail, a number of any size, half a
surrogate pair). Its memory is bounded by `HELD_BYTES` and the size of the pieces passed to `feed`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable

from pinactors.api.uploads.fields import (
    REGION_FIELDS,
    SESSION_FIELD,
    TEXT_FIELDS,
    WEBHOOK_FIELD,
    malformed,
    region_of,
)
from pinactors.api.uploads.json_escapes import backslashes_before, unescaped, unfinished_escape
from pinactors.api.uploads.received import OtherField, Parser, SessionNamed
from pinactors.storage.images import ImageTarget

OTHER_BYTES = 3 * (1 << 19)
"""Most bytes of an upload outside photographs and ignored texts, lists and objects: names, numbers, white
space."""

HELD_BYTES = 64 * 1024
"""Most bytes of a name, a session id or a number, which the parser buffers until they are complete."""

MAX_DEPTH = 64
"""Most levels of nesting in an ignored value."""

_SPACE = b" \t\r\n"
_BYTE_ORDER_MARK = codecs.BOM_UTF8
_STRUCTURE = re.compile(rb'["\\{}\[\]]')
_SCALAR = re.compile(rb"true|false|null|NaN|-?Infinity|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A value that is no text, list or object; also what Python writes for numbers that JSON lacks."""

_WHOLE_NUMBER = re.compile(rb"0|[1-9][0-9]*")
_SCALAR_END = re.compile(rb"[\s,\]}]")


class JsonUpload(Parser):
    """Parser of a JSON upload. Each state is a method that consumes bytes of the buffer and returns whether
    parsing can continue; False means that more data is needed."""

    def __init__(self, store: ImageTarget | None) -> None:
        super().__init__(store)
        self._state: Callable[[JsonUpload], bool] = JsonUpload._opening
        self._buffer = bytearray()
        self._name = ""
        self._first = True
        self._other = 0
        self._scanned, self._depth, self._quoted = 0, 0, False

    def _parse(self, data: bytes) -> None:
        self._buffer += data
        while self._state(self):
            pass
        if self._receiving is None and len(self._buffer) > HELD_BYTES:
            raise malformed(f"a field name or value is longer than {HELD_BYTES} bytes")

    def finish(self) -> None:
        if self._state != JsonUpload._behind:
            raise malformed("the JSON is incomplete" if self._other or self._buffer else "the body is empty")

    def _opening(self) -> bool:
        """State before the object."""
        if not self._other and _BYTE_ORDER_MARK.startswith(bytes(self._buffer[:3])):
            if len(self._buffer) < len(_BYTE_ORDER_MARK):
                return False
            self._take(len(_BYTE_ORDER_MARK))
        if (mark := self._next()) is None:
            return False
        if mark != b"{":
            raise malformed("the body must be a JSON object")
        self._take(1)
        self._state = JsonUpload._key
        return True

    def _key(self) -> bool:
        """State before a key, or before the end of an empty object."""
        if (mark := self._next()) is None:
            return False
        if mark == b"}" and self._first:
            return self._close()
        if mark != b'"':
            raise malformed("a field name in quotation marks is expected")
        end = self._end_of_value()
        if end is None:
            return False
        self._name = _text(self._take(end), "a field name", errors="replace")
        self._first = False
        self._fields.begin()
        self._state = JsonUpload._colon
        return True

    def _colon(self) -> bool:
        if (mark := self._next()) is None:
            return False
        if mark != b":":
            raise malformed(f"a colon is missing after {self._name!r}")
        self._take(1)
        self._state = JsonUpload._value_start
        return True

    def _value_start(self) -> bool:
        if (mark := self._next()) is None:
            return False
        view = TEXT_FIELDS.get(self._name)
        if self._name != SESSION_FIELD and self._name not in REGION_FIELDS:
            self._events.append(OtherField())
        if view is not None and mark == b'"':
            self._take(1)
            self._begin_photograph(self._name, view, encoded=True)
            self._state = JsonUpload._photograph
        elif self._name in REGION_FIELDS and mark in b'"[':
            self._state = JsonUpload._word
        elif mark not in b'"{[':
            self._state = JsonUpload._scalar
        elif self._name in REGION_FIELDS:
            region_of("{}", self._name)
        elif view is not None:
            raise malformed(f"{self._name} must be text (base64) or null", self._name)
        elif self._name in (SESSION_FIELD, WEBHOOK_FIELD):
            if mark != b'"':
                raise malformed(f"{self._name} must be text or null", self._name)
            self._state = JsonUpload._word
        else:
            self._state = JsonUpload._ignored
        return True

    def _photograph(self) -> bool:
        """State inside a photograph's text, which ends at the next quotation mark that is not escaped."""
        assert self._receiving is not None
        end = _closing_quote(self._buffer)
        text = bytes(self._buffer[:end] if end >= 0 else self._buffer)
        if end < 0:
            text = text[: len(text) - unfinished_escape(text)]
        del self._buffer[: len(text)]
        self._receiving.write(unescaped(text))
        if end < 0:
            return False
        del self._buffer[:1]
        self._end_photograph()
        self._state = JsonUpload._separator
        return True

    def _scalar(self) -> bool:
        """State at a number, `true`, `false` or `null`, which is complete only when the character behind it
        is in."""
        if (end := _SCALAR_END.search(self._buffer)) is None:
            return False
        value = self._take(end.start())
        if not _SCALAR.fullmatch(value):
            raise malformed(f"the value of {self._name!r} is not valid JSON")
        if self._name == SESSION_FIELD and _WHOLE_NUMBER.fullmatch(value):  # as of `Date.now()`
            self._end_text(self._name, value.decode())
        # In JavaScript, `photo && photo.base64` is `false` if there is no photo.
        elif value not in (b"null", b"false"):
            if self._name in REGION_FIELDS:
                region_of(value.decode(), self._name)
            if self._name in TEXT_FIELDS:
                raise malformed(f"{self._name} must be text (base64) or null", self._name)
            if self._name in (SESSION_FIELD, WEBHOOK_FIELD):
                raise malformed(f"{self._name} must be text or null", self._name)
        elif self._name == SESSION_FIELD:
            self._events.append(SessionNamed(None))
        self._state = JsonUpload._separator
        return True

    def _word(self) -> bool:
        """State at a short text (the session id, the webhook or a region), or at a list with a region."""
        end = self._end_of_value()
        if end is None:
            return False
        value = self._take(end)
        text = _text(value, self._name, self._name) if value[:1] == b'"' else value.decode("latin-1")
        self._end_text(self._name, text)
        self._state = JsonUpload._separator
        return True

    def _ignored(self) -> bool:
        """State inside an ignored text, list or object, which is skipped as it arrives."""
        end = self._end_of_value()
        count = self._scanned if end is None else end
        del self._buffer[:count]
        self._scanned = 0
        if end is None:
            return False
        self._state = JsonUpload._separator
        return True

    def _separator(self) -> bool:
        """State behind a value."""
        if (mark := self._next()) is None:
            return False
        if mark == b"}":
            return self._close()
        if mark != b",":
            raise malformed(f"a comma is missing after {self._name!r}")
        self._take(1)
        self._state = JsonUpload._key
        return True

    def _close(self) -> bool:
        self._take(1)
        self._state = JsonUpload._behind
        return True

    def _behind(self) -> bool:
        if self._next() is not None:
            raise malformed("there is more data after the JSON object")
        return False

    def _next(self) -> bytes | None:
        """Skips white space and returns the next character without consuming it; None if it has not
        arrived."""
        rest = self._buffer.lstrip(_SPACE)
        self._take(len(self._buffer) - len(rest))
        return bytes(rest[:1]) or None

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._other += count
        if self._other > OTHER_BYTES:
            raise malformed(f"it has more than {OTHER_BYTES} bytes besides the photographs")
        return taken

    def _end_of_value(self) -> int | None:
        """Returns the position behind the text, list or object at the buffer's start; None if its end has not
        arrived yet.

        Each call continues where the last one stopped: the first `_scanned` bytes have been searched.
        """
        while found := _STRUCTURE.search(self._buffer, self._scanned):
            mark, at = found[0], found.start()
            if mark == b"\\":
                if not self._quoted:
                    raise malformed(f"the value of {self._name!r} is not valid JSON")
                if len(self._buffer) < at + 2:
                    self._scanned = at
                    return None  # the escaped character has not arrived
                self._scanned = at + 2
                continue
            self._scanned = at + 1
            if mark == b'"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if mark in b"{[" else -1
                if self._depth > MAX_DEPTH:
                    raise malformed(f"{self._name!r} is nested more than {MAX_DEPTH} levels deep")
            if not self._quoted and self._depth == 0:
                end, self._scanned = self._scanned, 0
                return end
        self._scanned = len(self._buffer)
        return None


def _text(value: bytes, what: str, field: str = "", errors: str = "strict") -> str:
    """Decodes a JSON text. Keeps half a surrogate pair: the code that uses the text checks it and reports it.
    `errors` says what happens to bytes that are not UTF-8."""
    try:
        return str(json.loads(value.decode(errors=errors)))
    except ValueError as error:  # also raised for bytes that are not UTF-8
        raise malformed(f"{what} is not valid JSON: {error}", field) from None


def _closing_quote(text: bytearray) -> int:
    """Position in `text` of the quotation mark that ends a text begun earlier; -1 if there is none."""
    at = text.find(b'"')
    while at >= 0 and backslashes_before(text, at) % 2:
        at = text.find(b'"', at + 1)
    return at
