"""Escapes of JSON texts that arrive in pieces: of photographs in a JSON body, or in a part of a multipart
body."""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_LONGEST_ESCAPE = 6


class JsonTextDecoder:
    """Decodes base64 that may be a JSON text, in quotation marks and with escapes. Any other text is returned
    unchanged."""

    def __init__(self) -> None:
        self._quoted: bool | None = None
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        """Returns the decoded bytes that `data` completes."""
        if self._quoted is None and (start := data.lstrip()):
            self._quoted = start.startswith(b'"')
            data = start[1:] if self._quoted else data
        if not self._quoted:
            return data
        text = self._pending + data
        if not (cut := unfinished_escape(text)):
            text = text.rstrip()  # white space does not count in base64
            cut = text.endswith(b'"')  # the end, unless more follows
        text, self._pending = text[: len(text) - cut], text[len(text) - cut :]
        return unescaped(text)

    def finish(self) -> bytes:
        """Returns the bytes not returned yet. A text without its last quotation mark gets one that makes it
        no base64."""
        return b'"' + self._pending if self._quoted and self._pending != b'"' else b""


def unescaped(text: bytes) -> bytes:
    """`text` with each escape replaced by what it stands for, in UTF-8. Other backslashes are kept."""
    return _ESCAPE.sub(_character, text) if b"\\" in text else text


def backslashes_before(text: bytes | bytearray, end: int) -> int:
    """Number of consecutive backslashes just before `end`; an odd number escapes the character at `end`."""
    start = end
    while start and text[start - 1] == 0x5C:
        start -= 1
    return end - start


def unfinished_escape(text: bytes) -> int:
    """Number of bytes at the end of `text` that may be the beginning of an escape."""
    cut = text.rfind(b"\\", -_LONGEST_ESCAPE + 1)
    if cut < 0:
        return 0
    if backslashes_before(text, cut + 1) % 2 == 0:  # escaped backslashes
        return 0
    complete = _ESCAPE.match(text, cut)
    return 0 if complete is not None else len(text) - cut


def _character(escape: re.Match[bytes]) -> bytes:
    if escape[1] is not None:
        return chr(int(escape[1], 16)).encode("utf-8", "surrogatepass")
    return _LETTERS.get(escape[2], escape[2])
