"""Offsets: positions in a session's log, in the form that clients receive and send.

A position counts packets: position n is after the packet whose `sequence` is n - 1. Its offset is that count
in `DIGITS` decimal digits. Offsets therefore sort as strings in the order of their positions, need no
escaping in a URL, and a client that counts packets can make the offset of the position where its connection
broke. The protocol's reserved words (`-1`, `now`) are never offsets.
"""

from __future__ import annotations

import re

DIGITS = 16
_OFFSET = re.compile(rf"[0-9]{{{DIGITS}}}")


def to_offset(position: int) -> str:
    """The offset of a position (0 or more, below 10 ** `DIGITS`). Raises `ValueError` for any other
    number."""
    if not 0 <= position < 10**DIGITS:
        raise ValueError(f"no position in a log: {position}")
    return f"{position:0{DIGITS}}"


def to_position(offset: str) -> int:
    """The position of an offset. Raises `ValueError` for any text that `to_offset` does not return."""
    if not _OFFSET.fullmatch(offset):
        raise ValueError("not an offset")
    return int(offset)
