"""Lines of a stream, put together from the pieces in which it arrives."""

from __future__ import annotations

from pinactors.client.connecting import NotPinactors

LINE_LIMIT = 64 * 1024
"""Bytes of a line; a packet has at most 8,192."""


class Lines:
    """Splits what arrives into whole lines; a last one without its newline was cut off and stays in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Raises `NotPinactors` for a line over `LINE_LIMIT`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (*lines, self._rest))) > LINE_LIMIT:
            raise NotPinactors("it sends lines without end")
        return lines
