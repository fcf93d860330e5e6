"""Short-lived tokens of keys. Every function runs inside a transaction of its caller.

A key inside an app can leak; a token is valid for at most an hour, and for one purpose. As for keys, only the
SHA-256 is stored.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass

import peewee

from pinactors.protocol import limit_reached
from pinactors.records.keys import digest_of
from pinactors.records.models import AccessToken, ApiKey

PREFIX = "tok_"
MIN_SECONDS, MAX_SECONDS = 60, 3600

TOKENS_PER_KEY = 10_000
"""Most unexpired tokens of a key."""


@dataclass(frozen=True, slots=True)
class TokenUse:
    """What a token may be used for: uploads of its key's `owner`, or the stream `stream_id` if that is
    set."""

    owner: str
    stream_id: str | None
    expires_at: dt.datetime


def add(
    database: peewee.Database, owner: str, stream_id: str | None, now: dt.datetime, expires_at: dt.datetime
) -> str:
    """Makes a token and returns it; it is not stored. Raises `PinactorsError` (`overloaded`) if the key
    has too many."""
    AccessToken.delete().where(AccessToken.expires_at <= now).execute(database)
    number = int(owner)
    existing_tokens = AccessToken.select(peewee.fn.COUNT(AccessToken.digest)).where(AccessToken.key == number)
    if int(existing_tokens.scalar(database)) >= TOKENS_PER_KEY:
        detail = f"A key may have {TOKENS_PER_KEY} tokens at a time"
        raise limit_reached(detail, float(MIN_SECONDS), "Too many tokens")
    token = PREFIX + secrets.token_urlsafe(32)
    row = {"digest": digest_of(token), "key": number, "stream_id": stream_id, "expires_at": expires_at}
    AccessToken.insert(row).execute(database)
    return token


def use_of(database: peewee.Database, token: str, now: dt.datetime) -> TokenUse | None:
    """What the token may be used for; None if it is unknown or expired, or if its key was revoked."""
    query = (
        AccessToken.select(AccessToken.key, AccessToken.stream_id, AccessToken.expires_at)
        .join(ApiKey)
        .where(
            AccessToken.digest == digest_of(token),
            AccessToken.expires_at > now,
            ApiKey.revoked_at.is_null(),
        )
    )
    row = query.tuples().first(database)
    return None if row is None else TokenUse(str(row[0]), row[1], row[2])
