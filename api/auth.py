"""Who is asking: the key's owner, or nobody on an open server."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
import trio
from werkzeug.datastructures import Headers

from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records import Records, RecordsUnavailable
from pinactors.settings import Settings

TOKEN_LIMIT = 512
"""Longest key looked at; ours have 43 characters."""

REMEMBERED_SECONDS = 900.0
"""How long a key that was right stays right while the database is away, even if it is revoked meanwhile."""

REMEMBERED_KEYS = 10_000

log = structlog.get_logger(__name__)

ANYONE = ""
"""Owner of everything on a server without keys."""


def token_of(headers: Headers | Mapping[str, str]) -> str | None:
    """The key of a request: `x-api-key`, else `Authorization: Bearer`; header names match in any letter
    case. An empty header names no key."""
    key = (headers.get("x-api-key") or "").strip()
    if not key:
        scheme, _, credentials = (headers.get("authorization") or "").strip().partition(" ")
        key = credentials.strip() if scheme.lower() == "bearer" else ""
    return key or None


async def authenticate(headers: Headers | Mapping[str, str], records: Records) -> str:
    """The id of the key's owner, `ANYONE` where no key is configured.

    Raises `PinactorsError` (`unauthorized`) for a missing or unknown key; it does not say which, and a key
    never reaches a log or a message.
    """
    if not await records.has_keys():
        return ANYONE
    token = token_of(headers)
    if token and len(token) <= TOKEN_LIMIT:
        owner = await records.authenticate(token)
        if owner is not None:
            return owner
    raise PinactorsError(
        ErrorCode.UNAUTHORIZED, "Unauthorized", "A valid key is needed: x-api-key or Authorization: Bearer"
    )


class RememberingRecords(Records):
    """Records that still know keys while their database is away: no upload is lost for that."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._closed_server: bool | None = None
        self._mark: Path | None = None
        self._owners: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    async def close_as_before(self, settings: Settings) -> None:
        """Closes the server where a key is required, or where it had keys once: a database that was lost or
        is not mounted must not open it to everybody. Once there are keys, a file in the data folder keeps
        that; deleting it opens the server again. Raises `OSError`, `RecordsUnavailable`."""
        self._mark = settings.had_keys_file
        marked = await trio.to_thread.run_sync(self._mark.exists)
        if settings.require_keys or marked:
            self._closed_server = True
        if await super().has_keys():
            await self._remember_keys()
        elif settings.require_keys:
            log.warning("keys are required and none is configured: nobody gets in")
        elif marked:
            log.warning(
                "no key is configured, but there were some: nobody gets in",
                reopen_by_deleting=str(self._mark),
            )
        else:
            log.warning("no key is configured: the server is open to everybody")

    async def has_keys(self) -> bool:
        """A server that had a key stays closed; whether an open one still is, is asked every time: the first
        key, which another process makes, counts at once."""
        if self._closed_server:
            await trio.lowlevel.checkpoint()
            return True
        try:
            if await super().has_keys():
                await self._remember_keys()
            self._closed_server = bool(self._closed_server)
        except RecordsUnavailable:
            if self._closed_server is None:
                raise
        return self._closed_server

    async def _remember_keys(self) -> None:
        self._closed_server = True
        if self._mark is not None:
            try:
                await trio.to_thread.run_sync(self._mark.touch)
            except OSError as error:
                log.error("not kept that there are keys", error=repr(error))

    async def authenticate(self, token: str) -> str | None:
        digest = hashlib.sha256(token.encode(errors="replace")).digest()  # the key itself is kept nowhere
        try:
            owner = await super().authenticate(token)
        except RecordsUnavailable:
            owner, since = self._owners.get(digest, (None, 0.0))
            if owner is None or trio.current_time() - since > REMEMBERED_SECONDS:
                raise
            return owner
        self._owners.pop(digest, None)
        if owner is not None:
            self._owners[digest] = (owner, trio.current_time())
            if len(self._owners) > REMEMBERED_KEYS:
                self._owners.popitem(last=False)
        return owner
