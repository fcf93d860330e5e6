"""Positions in a session's log as the tokens clients see.

A position counts packets: position n lies after the packet whose `sequence` is n - 1. Its token is that count
in `DIGITS` decimal digits, so tokens sort as strings the way positions do, need no escaping in a URL, and a
client that follows line by line can name the place where it was cut off. The public protocol's reserved words
(`-1`, `now`) can never be tokens.
"""

from __future__ import annotations

import re

DIGITS = 16
_TOKEN = re.compile(rf"[0-9]{{{DIGITS}}}")


def to_token(position: int) -> str:
    """The token of a position (0 or more, below 10 ** `DIGITS`). Raises `ValueError` for any other number."""
    if not 0 <= position < 10**DIGITS:
        raise ValueError(f"no position in a log: {position}")
    return f"{position:0{DIGITS}}"


def to_position(token: str) -> int:
    """The position a token names. Raises `ValueError` for anything `to_token` cannot have made."""
    if not _TOKEN.fullmatch(token):
        raise ValueError("not an offset token")
    return int(token)
