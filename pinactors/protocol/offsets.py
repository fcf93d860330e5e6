"""Offset tokens: positions in a session's log, in the form that clients receive and send.

A position counts packets: position n is after the packet whose `sequence` is n - 1. Its token is that count
in `DIGITS` decimal digits. Tokens therefore sort as strings in the order of their positions, need no escaping
in a URL, and a client that counts packets can make the token of the position where its connection broke. The
protocol's reserved words (`-1`, `now`) are never tokens.
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
    """The position of a token. Raises `ValueError` for any text that `to_token` does not return."""
    if not _TOKEN.fullmatch(token):
        raise ValueError("not an offset token")
    return int(token)
