"""Session ids, which clients choose, stream ids, which the server draws at random, and the words that clients
send for a missing value."""

from __future__ import annotations

import datetime as dt
import re
import secrets

from pinactors.protocol.errors import ErrorCode, PinactorsError

SESSION_ID_LIMIT = 128


def new_session_id() -> str:
    """A session id `YYMMDDHHMMSS`, as the phones make it. It is a name for the client and never a key."""
    return dt.datetime.now(dt.UTC).strftime("%y%m%d%H%M%S")


MISSING_VALUES = frozenset(
    {"", "null", "undefined", "none", "nil", "nan", "(null)", "<null>", "false", "data:", "data:,"}
)
"""Texts that clients send for a missing value: the empty values of JavaScript, Python, Swift and Objective-C,
and the data URL of an empty canvas."""


def none_if_missing(text: str | None) -> str | None:
    """`text` unchanged; None if it stands for a missing value (`MISSING_VALUES`)."""
    return None if text is None or text.strip().lower() in MISSING_VALUES else text


def is_text(text: str) -> bool:
    """Whether `text` can be stored and sent: JSON can contain half a surrogate pair, which no encoding
    can represent, and NUL, which PostgreSQL does not store."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


_SESSION_ID = re.compile(rf"[\x21-\x7e]{{1,{SESSION_ID_LIMIT}}}")


def check_session_id(value: object, field: str = "sessionId") -> str:
    """The client's session id, or a new one if it sent none, or a word for a missing value.

    Raises `PinactorsError` (`invalid_format`), naming `field`, unless it is 1 to 128 printable ASCII
    characters.
    """
    if value is None or (isinstance(value, str) and none_if_missing(value) is None):
        return new_session_id()
    if not isinstance(value, str) or not _SESSION_ID.fullmatch(value):
        raise PinactorsError(
            ErrorCode.INVALID_FORMAT,
            "Invalid session id",
            f"{field} must be 1 to {SESSION_ID_LIMIT} printable ASCII characters without spaces",
            field=field,
        )
    return value


def new_stream_id() -> str:
    """A new stream id: 192 random bits, URL-safe. Whoever has it can resume and cancel the session."""
    return secrets.token_urlsafe(24)


_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")


def is_stream_id(text: str) -> bool:
    """Whether `text` has the form of a stream id, which becomes a file's name and part of a URL. A client may
    ask for any other text."""
    return _STREAM_ID.fullmatch(text) is not None
