"""Decoder of base64 photographs that arrive in pieces of any size."""

from __future__ import annotations

import binascii
import re

from pinactors.api.uploads.fields import refused
from pinactors.protocol import MISSING_VALUES, PinactorsError, none_if_missing

PREFIX_LIMIT = 8 * 1024
"""Most bytes of a `data:` URL's head: browsers put the file's name there, which may be long."""

LONGEST_MISSING_VALUE = max(map(len, MISSING_VALUES))

HEADS = 2
"""Most `data:` heads of one text: some clients add a head to a text that has one already."""

_HEAD_END = re.compile(rb";\s*base64\s*,", re.IGNORECASE)
_WHITESPACE = b" \t\r\n\f\v"
_FROM_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_LETTERS = re.compile(rb"\s*data:.*|[A-Za-z0-9+/_=\s-]*", re.IGNORECASE | re.DOTALL)


def means_missing(text: bytes) -> bool:
    """Whether a field's whole text means "no photograph"; no photograph is encoded as one of
    `MISSING_VALUES`."""
    return none_if_missing(text.decode("latin-1")) is None


def may_be_base64(start: bytes) -> bool:
    """Whether a text that begins with `start` may be base64. The first eight bytes of a picture of an
    accepted format are not."""
    return _LETTERS.fullmatch(start) is not None


class Base64Decoder:
    """Decodes one base64 text, in the standard or the URL-safe alphabet (RFC 4648, 4 and 5) but not in both,
    with or without padding. Checks letters and padding strictly; accepts line breaks and up to `HEADS`
    `data:...;base64,` heads, also in front of one of `MISSING_VALUES`.

    After `finish`, `absent` is True if the text means "no photograph" (`MISSING_VALUES`). Raises
    `PinactorsError` (`invalid_format`) naming `field`.
    """

    def __init__(self, field: str) -> None:
        self.absent = False
        self._field = field
        self._pending = b""
        self._heads = 0
        self._begun = False
        self._padded = False
        self._standard = self._url_safe = False

    def feed(self, data: bytes | memoryview) -> bytes:
        """Returns the decoded bytes that `data` completes."""
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
        """Returns the bytes not returned yet. Raises `PinactorsError` if the text is incomplete."""
        rest, self._pending = self._pending, b""
        if not self._begun:
            if means_missing(rest):
                self.absent = True
                return b""
            if rest[:5].lower() == b"data:":
                raise self._wrong("its data: URL does not contain ;base64,")
            rest = _compact(rest)
        missing = -len(rest) % 4
        if missing == 3 or (missing and b"=" in rest):
            raise self._wrong("its last group of letters is incomplete")
        return self._decode(rest + b"=" * missing)

    def _behind_head(self, text: bytes) -> bytes:
        """Returns `text` without white space and `data:` heads at its start. Sets `_begun` once the start of
        the base64 is certain; until then the caller keeps the returned text and passes it again with more
        data."""
        start = text.lstrip(_WHITESPACE)
        while start[:5].lower() == b"data:" and (end := _HEAD_END.search(start, 0, PREFIX_LIMIT)):
            self._heads += 1
            if self._heads > HEADS:
                raise self._wrong(f"it begins with more than {HEADS} data: URLs")
            start = start[end.end() :].lstrip(_WHITESPACE)
        if len(start) <= LONGEST_MISSING_VALUE:
            return start
        if start[:5].lower() != b"data:":
            self._begun = True
        elif len(start) > PREFIX_LIMIT:
            raise self._wrong("its data: URL does not contain ;base64,")
        return start

    def _decode(self, text: bytes) -> bytes:
        if not text:
            return b""
        if self._padded:
            raise self._wrong("it continues after its padding (=)")
        self._padded = text.endswith(b"=")
        self._standard = self._standard or b"+" in text or b"/" in text
        self._url_safe = self._url_safe or b"-" in text or b"_" in text
        if self._url_safe:
            if self._standard:
                raise self._wrong("it has letters of both alphabets (+ or /, and - or _)")
            text = text.translate(_FROM_URL_ALPHABET)
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
