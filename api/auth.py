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

from pinactors.protocol import ErrorCode, PinactorsError, said
from pinactors.records import Records, RecordsUnavailable
from pinactors.records.tokens import PREFIX as TOKEN_PREFIX
from pinactors.settings import Settings

TOKEN_LIMIT = 512
"""Longest key looked at; ours have 43 characters."""

REMEMBERED_SECONDS = 900.0
"""How long a key that was right stays right while the database is away, even if it is revoked meanwhile."""

REMEMBERED_KEYS = 10_000

log = structlog.get_logger(__name__)

ANYONE = ""
"""Owner of everything on a server without keys."""

UPLOADS, ANYTHING = "uploads", "anything"
"""What a token may be used for; both are shorter than any stream's id."""


def token_of(headers: Headers | Mapping[str, str]) -> str | None:
    """The key of a request: `x-api-key`, else `Authorization: Bearer`; header names match in any letter
    case. A header that is empty, or holds a word for nothing, names no key."""
    for line in _lines(headers, "x-api-key"):
        if said(line) is not None:
            return line.strip()
    for line in _lines(headers, "authorization"):
        scheme, *credentials = line.split(maxsplit=1)
        if scheme.lower() == "bearer" and credentials and said(credentials[0]) is not None:
            return credentials[0].strip()
    return None


def _lines(headers: Headers | Mapping[str, str], name: str) -> list[str]:
    """The lines of one header that are not empty: a client's library may add its own to the client's."""
    found = headers.getlist(name) if isinstance(headers, Headers) else [headers.get(name, "")]
    return [line for line in found if line.strip()]


async def authenticate(
    headers: Headers | Mapping[str, str], records: Records, purpose: str | None = None
) -> str:
    """The id of the key's owner, `ANYONE` where no key is configured.

    `purpose` is what a short-lived token may be used for here: `UPLOADS`, the id of a stream, which a token
    for uploads may read as well, or `ANYTHING`; without one only keys count.

    Raises `PinactorsError` (`unauthorized`) for a missing or unknown key, or a token that is for something
    else; a key never reaches a log or a message.
    """
    if not await records.has_keys():
        return ANYONE
    token = token_of(headers)
    if token and len(token) <= TOKEN_LIMIT:
        if token.startswith(TOKEN_PREFIX):
            owner = await _owner_by_token(token, records, purpose)
        else:
            owner = await records.authenticate(token)
        if owner is not None:
            return owner
    raise unauthorized()


async def _owner_by_token(token: str, records: Records, purpose: str | None) -> str | None:
    use = await records.token_use(token)
    if use is None:
        return None
    if purpose is None or (use.stream_id is not None and purpose not in (use.stream_id, ANYTHING)):
        bound = "uploads" if use.stream_id is None else "another stream"
        raise unauthorized(f"This token is for {bound}")
    return use.owner


def unauthorized(
    detail: str = "A valid key is needed: x-api-key or Authorization: Bearer",
) -> PinactorsError:
    """The refusal of whoever has no key, or the wrong one."""
    return PinactorsError(ErrorCode.UNAUTHORIZED, "Unauthorized", detail)


async def authenticate_admin(headers: Headers | Mapping[str, str], records: Records) -> None:
    """Passes only for a key that has the right, also on a server that is open to everybody: who may edit the
    catalogue is never told by the address a request comes from, which behind a proxy is everybody's.

    Raises `PinactorsError`: `unauthorized` for a missing or unknown key, `forbidden` for one without it.
    """
    token = token_of(headers)
    if token and len(token) <= TOKEN_LIMIT:
        if await records.is_admin(token):
            return
        if await records.authenticate(token) is not None:
            raise PinactorsError(ErrorCode.FORBIDDEN, "Forbidden", "This key has not the right to administer")
    raise unauthorized(
        "A key with the right to administer is needed; `pinactors keys add NAME --admin` makes one"
    )


class RememberingRecords(Records):
    """Records that still know keys while their database is away: no upload is lost for that."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._closed_server: bool | None = None
        self._mark: Path | None = None
        self._threads = trio.CapacityLimiter(1)
        self._owners: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    async def close_as_before(self, settings: Settings) -> None:
        """Closes the server where a key is required, or where it had keys once: a database that was lost or
        is not mounted must not open it to everybody. Once there are keys, a file in the data folder keeps
        that; deleting it opens the server again. Raises `OSError`, `RecordsUnavailable`."""
        self._mark = settings.had_keys_file
        marked = await trio.to_thread.run_sync(self._mark.exists, limiter=self._threads)
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
                await trio.to_thread.run_sync(self._mark.touch, limiter=self._threads)
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
