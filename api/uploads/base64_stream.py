"""Base64 photographs, decoded piece by piece, whatever the pieces' borders."""

from __future__ import annotations

import binascii
import re

from pinactors.api.uploads.fields import refused
from pinactors.protocol import PinactorsError

PREFIX_LIMIT = 8 * 1024
"""Bytes of a `data:` URL's head: browsers put the file's name there, which may be long."""

NOTHING = frozenset(
    {b"", b"null", b"undefined", b"none", b"nil", b"nan", b"(null)", b"<null>", b"false", b"data:,"}
)
"""What clients write for a photograph they have not got: the texts of JavaScript's, Python's, Swift's and
Objective-C's empty values, and the picture of an empty canvas. None of them is a photograph."""

LONGEST_NOTHING = max(map(len, NOTHING))

_HEAD_END = re.compile(rb";\s*base64\s*,", re.IGNORECASE)
_WHITESPACE = b" \t\r\n\f\v"


def says_nothing(text: bytes) -> bool:
    """Whether a field's whole text stands for no photograph at all."""
    return text.strip(_WHITESPACE).lower() in NOTHING


class Base64Decoder:
    """Strict about letters and padding, lenient about line breaks and a `data:...;base64,` head.

    `absent` says, at the end, that the text stood for no photograph (`NOTHING`). Raises `PinactorsError`
    (`invalid_format`) naming `field`.
    """

    def __init__(self, field: str) -> None:
        self.absent = False
        self._field = field
        self._pending = b""
        self._begun = False
        self._padded = False

    def feed(self, data: bytes | memoryview) -> bytes:
        """The bytes that `data` completes."""
        text = self._pending + bytes(data)
        if not self._begun:
            text = self._behind_head(text)
            if not self._begun:
                self._pending = text
                return b""
        text = _compact(text)
        whole = len(text) - len(text) % 4
        self._pending = text[whole:]
        return self._decode(text[:whole])

    def finish(self) -> bytes:
        """What was still held back. Raises when the text ends in the middle."""
        rest, self._pending = self._pending, b""
        if not self._begun:
            if says_nothing(rest):
                self.absent = True
                return b""
            if rest[:5].lower() == b"data:":
                raise self._wrong("its data: URL is not ;base64,")
            return self._decode(_compact(rest))
        if rest:
            raise self._wrong("its length is not a multiple of four")
        return b""

    def _behind_head(self, text: bytes) -> bytes:
        """The base64 itself, once it is known where that begins; else what has to be seen again."""
        start = text.lstrip(_WHITESPACE)
        if len(start) <= LONGEST_NOTHING:
            return start
        if start[:5].lower() != b"data:":
            self._begun = True
            return start
        if end := _HEAD_END.search(start, 0, PREFIX_LIMIT):
            self._begun = True
            return start[end.end() :]
        if len(start) > PREFIX_LIMIT:
            raise self._wrong("its data: URL is not ;base64,")
        return start

    def _decode(self, text: bytes) -> bytes:
        if not text:
            return b""
        if self._padded:
            raise self._wrong("it goes on behind its padding")
        self._padded = text.endswith(b"=")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise self._wrong(str(error).lower()) from None

    def _wrong(self, reason: str) -> PinactorsError:
        return refused("Invalid base64", f"{self._field} is not base64: {reason}", self._field)


def _compact(text: bytes) -> bytes:
    """`text` without white space."""
    if any(character in text for character in _WHITESPACE):
        return text.translate(None, _WHITESPACE)
    return text
