"""Session ids, which clients choose, stream ids, which the server draws, and words that name nothing."""

from __future__ import annotations

import datetime as dt
import re
import secrets

from pinactors.protocol.errors import ErrorCode, PinactorsError

SESSION_ID_LIMIT = 128


def new_session_id(now: dt.datetime | None = None) -> str:
    """`YYMMDDHHMMSS`, as the phones make it. A name for the client, never a key."""
    return (now or dt.datetime.now(dt.UTC)).strftime("%y%m%d%H%M%S")


NOTHING = frozenset(
    {"", "null", "undefined", "none", "nil", "nan", "(null)", "<null>", "false", "data:", "data:,"}
)
"""What clients write for a value they have not got: the texts of JavaScript's, Python's, Swift's and
Objective-C's empty values, and the picture of an empty canvas."""


def said(text: str | None) -> str | None:
    """A text as a client wrote it; None for one that stands for nothing (`NOTHING`)."""
    return None if text is None or text.strip().lower() in NOTHING else text


def is_text(text: str) -> bool:
    """Whether it can be stored and sent: JSON may hold half a surrogate pair, no encoding can."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


_SESSION_ID = re.compile(rf"[\x21-\x7e]{{1,{SESSION_ID_LIMIT}}}")


def check_session_id(value: object) -> str:
    """The client's session id, or a new one when it sent none, or a word for none.

    Raises `PinactorsError` (`invalid_format`) unless it is 1 to 128 printable ASCII characters.
    """
    if value is None or (isinstance(value, str) and said(value) is None):
        return new_session_id()
    if not isinstance(value, str) or not _SESSION_ID.fullmatch(value):
        raise PinactorsError(
            ErrorCode.INVALID_FORMAT,
            "Invalid session id",
            f"sessionId must be 1 to {SESSION_ID_LIMIT} printable ASCII characters without spaces",
            field="sessionId",
        )
    return value


def new_stream_id() -> str:
    """192 random bits, URL-safe: the capability that resumes and cancels a session."""
    return secrets.token_urlsafe(24)
