"""API keys. Every function runs inside a transaction of its caller.

A token is 256 random bits, so its SHA-256 can be neither guessed nor searched for: a slow hash, which
passwords need because people choose them, would only cost every request its time. Looking a digest up by its
index tells a clock nothing about tokens, as nobody can steer a digest.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import peewee

from pinactors.records.models import ApiKey

TOKEN_PREFIX = "pin_"
SECRET_PREFIX = "whsec_"
TOKEN_LIMIT = 128
NAME_LIMIT = 100
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as a list shows it: `prefix` is the start of its token, which itself is stored nowhere. `admin`:
    it may see everybody's analyses and edit the catalogue."""

    id: int
    name: str
    prefix: str
    created_at: dt.datetime
    revoked_at: dt.datetime | None
    webhook: str | None = None
    admin: bool = False


def add(
    database: peewee.Database,
    name: str,
    now: dt.datetime,
    webhook: str | None = None,
    *,
    admin: bool = False,
) -> str:
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = {"name": name, "prefix": token[:_SHOWN], "digest": digest_of(token), "created_at": now}
    more = {"webhook": webhook, "webhook_secret": _new_secret(), "admin": admin}
    ApiKey.insert(row | more).execute(database)
    return token


def check_name(name: str) -> str:
    """Raises `ValueError` unless it is 1 to 100 printable characters."""
    name = name.strip()
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        raise ValueError(f"a key's name is 1 to {NAME_LIMIT} printable characters")
    return name


def may_be_token(token: str) -> bool:
    """Whether it is worth looking up: what is longer, or not ASCII, was never given out."""
    return token.isascii() and len(token) <= TOKEN_LIMIT


def every(database: peewee.Database) -> list[KeyInfo]:
    columns = (
        ApiKey.id,
        ApiKey.name,
        ApiKey.prefix,
        ApiKey.created_at,
        ApiKey.revoked_at,
        ApiKey.webhook,
        ApiKey.admin,
    )
    rows = ApiKey.select(*columns).order_by(ApiKey.id).tuples().execute(database)
    return [KeyInfo(*row) for row in rows]


def revoke(database: peewee.Database, number: int, now: dt.datetime) -> bool:
    active = (ApiKey.id == number) & ApiKey.revoked_at.is_null()
    return bool(ApiKey.update(revoked_at=now).where(active).execute(database))


def set_webhook(database: peewee.Database, number: int, url: str | None) -> bool:
    """False when there is no such key."""
    return bool(ApiKey.update(webhook=url).where(ApiKey.id == number).execute(database))


def webhook_of(database: peewee.Database, owner: str) -> str | None:
    """Where the events of a key's sessions go; None for nowhere, and for uploads without a key."""
    if not owner:
        return None
    found = ApiKey.select(ApiKey.webhook).where(_active(owner)).scalar(database)
    return found or None


def secret_of(database: peewee.Database, owner: str) -> str | None:
    """What signs a key's events, made where an older key has none; None for no key, or a revoked one."""
    if not owner:
        return None
    row = ApiKey.select(ApiKey.webhook_secret).where(_active(owner)).tuples().first(database)
    if row is None:
        return None
    if row[0] is None:
        secret = _new_secret()
        ApiKey.update(webhook_secret=secret).where(_active(owner)).execute(database)
        return secret
    return str(row[0])


def owner_of(database: peewee.Database, token: str) -> str | None:
    number = ApiKey.select(ApiKey.id).where(_means(token)).scalar(database)
    return None if number is None else str(number)


def is_admin(database: peewee.Database, token: str) -> bool:
    return bool(ApiKey.select(ApiKey.admin).where(_means(token)).scalar(database))


def any_known(database: peewee.Database) -> bool:
    return ApiKey.select(ApiKey.id).limit(1).scalar(database) is not None


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _means(token: str) -> Any:
    return (ApiKey.digest == digest_of(token)) & ApiKey.revoked_at.is_null()


def _active(owner: str) -> Any:
    return (ApiKey.id == (int(owner) if owner.isdecimal() else None)) & ApiKey.revoked_at.is_null()


def _new_secret() -> str:
    """As Standard Webhooks writes them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
