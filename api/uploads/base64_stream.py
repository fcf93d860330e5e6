"""Base64 photographs, decoded piece by piece, whatever the pieces' borders."""

from __future__ import annotations

import binascii

from pinactors.protocol import ErrorCode, PinactorsError

PREFIX_LIMIT = 256
"""A `data:` URL's head must have ended by then."""

_MARK = b";base64,"
_WHITESPACE = b" \t\r\n"


class Base64Decoder:
    """Strict about letters and padding, lenient about line breaks and a `data:...;base64,` prefix.

    Raises `PinactorsError` (`invalid_format`) naming `field`.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._pending = b""
        self._headless = False
        self._padded = False

    def feed(self, data: bytes | memoryview) -> bytes:
        """The bytes that `data` completes."""
        text = self._pending + bytes(data)
        if not self._headless:
            text = self._behind_prefix(text)
            if not self._headless:
                self._pending = text
                return b""
        if any(character in text for character in _WHITESPACE):
            text = text.translate(None, _WHITESPACE)
        whole = len(text) - len(text) % 4
        self._pending = text[whole:]
        return self._decode(text[:whole])

    def finish(self) -> bytes:
        """What was still held back. Raises when the text ends in the middle."""
        rest = b"" if self._headless else self._decode(self._pending.translate(None, _WHITESPACE))
        if self._headless and self._pending:
            raise self._wrong("its length is not a multiple of four")
        self._pending = b""
        return rest

    def _behind_prefix(self, text: bytes) -> bytes:
        start = text.lstrip(_WHITESPACE)
        if start[:5].lower() != b"data:"[: len(start)]:
            self._headless = True
            return start
        comma = start.find(b",")
        if 0 <= comma <= PREFIX_LIMIT and start[: comma + 1].lower().endswith(_MARK):
            self._headless = True
            return start[comma + 1 :]
        if comma >= 0 or len(start) > PREFIX_LIMIT:
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
        return PinactorsError(
            ErrorCode.INVALID_FORMAT,
            "Invalid base64",
            f"{self._field} is not base64: {reason}",
            field=self._field,
        )
