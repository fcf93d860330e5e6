"""Splits a received byte stream into lines."""

from __future__ import annotations

from pinactors.client.connecting import NotPinactors

LINE_LIMIT = 64 * 1024
"""Most bytes of a line; a packet has at most 8,192."""


class LineSplitter:
    """Splits received pieces into complete lines. A last line without a newline was cut off and is not
    returned."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises `NotPinactors` for a line longer than `LINE_LIMIT`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (*lines, self._rest))) > LINE_LIMIT:
            raise NotPinactors("it sends lines without end")
        return lines
