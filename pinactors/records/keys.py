"""API keys. Every function runs inside a transaction of its caller.

A key has 256 random bits, so that it cannot be found from its SHA-256 by search. A slow hash, which passwords
need because people choose them, would only make every request slower. The duration of the index look-up
reveals nothing about keys, because a client cannot choose the digest of what it sends.
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

PREFIX = "pin_"
SECRET_PREFIX = "whsec_"
TEXT_LIMIT = 128
"""Most characters of a text that is looked up; keys and tokens have 47."""
NAME_LIMIT = 100
_PREFIX_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as shown in lists. `prefix` is its start; the whole key is not stored. An `admin` key may see the
    analyses of all keys and edit the catalogue."""

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
    key = PREFIX + secrets.token_urlsafe(32)
    row = {"name": name, "prefix": key[:_PREFIX_CHARACTERS], "digest": digest_of(key), "created_at": now}
    other_columns = {"webhook": webhook, "webhook_secret": _new_secret(), "admin": admin}
    ApiKey.insert(row | other_columns).execute(database)
    return key


def check_name(name: str) -> str:
    """The name without surrounding white space. Raises `ValueError` unless it has 1 to 100 printable
    characters."""
    name = name.strip()
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        raise ValueError(f"a key's name is 1 to {NAME_LIMIT} printable characters")
    return name


def may_be_valid(text: str) -> bool:
    """Whether the text can be a key or a token: none was ever issued that is longer or not ASCII, so no
    look-up is needed."""
    return text.isascii() and len(text) <= TEXT_LIMIT


def list_all(database: peewee.Database) -> list[KeyInfo]:
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
    """Sets the URL for a key's events. Returns False if there is no such key."""
    return bool(ApiKey.update(webhook=url).where(ApiKey.id == number).execute(database))


def webhook_of(database: peewee.Database, owner: str) -> str | None:
    """The URL for the events of a key's sessions; None if the key has none, and for uploads without a key."""
    if not owner:
        return None
    found = ApiKey.select(ApiKey.webhook).where(_active(owner)).scalar(database)
    return found or None


def secret_of(database: peewee.Database, owner: str) -> str | None:
    """The secret that signs a key's events; made now if an older key has none. None without a key or for a
    revoked one."""
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


def owner_of(database: peewee.Database, key: str) -> str | None:
    number = ApiKey.select(ApiKey.id).where(_is_active_key(key)).scalar(database)
    return None if number is None else str(number)


def is_admin(database: peewee.Database, key: str) -> bool:
    return bool(ApiKey.select(ApiKey.admin).where(_is_active_key(key)).scalar(database))


def any_known(database: peewee.Database) -> bool:
    return ApiKey.select(ApiKey.id).limit(1).scalar(database) is not None


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_active_key(key: str) -> Any:
    return (ApiKey.digest == digest_of(key)) & ApiKey.revoked_at.is_null()


def _active(owner: str) -> Any:
    return (ApiKey.id == (int(owner) if owner.isdecimal() else None)) & ApiKey.revoked_at.is_null()


def _new_secret() -> str:
    """A new secret in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
