"""API keys. Every function runs inside a transaction of its caller.

A token is 256 random bits, so its SHA-256 can be neither guessed nor searched for: a slow hash, which
passwords need because people choose them, would only cost every request its time. Looking a digest up by its
index tells a clock nothing about tokens, as nobody can steer a digest.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass

import peewee

from pinactors.records.models import ApiKey

TOKEN_PREFIX = "pin_"
TOKEN_LIMIT = 128
NAME_LIMIT = 100
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as a list shows it: `prefix` is the start of its token, which itself is stored nowhere."""

    id: int
    name: str
    prefix: str
    created_at: dt.datetime
    revoked_at: dt.datetime | None


def add(database: peewee.Database, name: str, now: dt.datetime) -> str:
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    ApiKey.insert(name=name, prefix=token[:_SHOWN], digest=_digest(token), created_at=now).execute(database)
    return token


def check_name(name: str) -> str:
    """Raises `ValueError` unless it is 1 to 100 printable characters."""
    name = name.strip()
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        raise ValueError(f"a key's name is 1 to {NAME_LIMIT} printable characters")
    return name


def every(database: peewee.Database) -> list[KeyInfo]:
    columns = (ApiKey.id, ApiKey.name, ApiKey.prefix, ApiKey.created_at, ApiKey.revoked_at)
    rows = ApiKey.select(*columns).order_by(ApiKey.id).tuples().execute(database)
    return [KeyInfo(*row) for row in rows]


def revoke(database: peewee.Database, number: int, now: dt.datetime) -> bool:
    active = (ApiKey.id == number) & ApiKey.revoked_at.is_null()
    return bool(ApiKey.update(revoked_at=now).where(active).execute(database))


def owner_of(database: peewee.Database, token: str) -> str | None:
    active = (ApiKey.digest == _digest(token)) & ApiKey.revoked_at.is_null()
    number = ApiKey.select(ApiKey.id).where(active).scalar(database)
    return None if number is None else str(number)


def any_known(database: peewee.Database) -> bool:
    return ApiKey.select(ApiKey.id).limit(1).scalar(database) is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
