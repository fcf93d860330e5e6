"""Lines: of a byte stream as it arrives, and the first one of an error's text."""

from __future__ import annotations


class LineSplitter:
    """Splits received pieces into complete lines of at most `limit` bytes. A last line without a newline was
    cut off and is not returned. `error` makes the exception for a longer line."""

    def __init__(self, limit: int, error: type[Exception]) -> None:
        self._limit, self._error = limit, error
        self._rest = b""

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """The lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (*lines, self._rest))) > self._limit:
            raise self._error(f"it sends a line of more than {self._limit} bytes")
        return lines


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the error's type if it has no text."""
    return next(iter(str(error).splitlines()), type(error).__name__)
