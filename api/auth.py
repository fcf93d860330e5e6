"""Authentication: finds the owner of a request's key, or accepts everybody on an open server."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
import trio
from werkzeug.datastructures import Headers

from pinactors.api.errors import OtherPurpose
from pinactors.protocol import ErrorCode, PinactorsError, none_if_missing
from pinactors.records import Records, RecordsUnavailable
from pinactors.records.tokens import PREFIX as TOKEN_PREFIX
from pinactors.settings import Settings

REMEMBERED_SECONDS = 900.0
"""How long a valid key is accepted while the database is unavailable, even if it was revoked meanwhile."""

REMEMBERED_KEYS = 10_000

log = structlog.get_logger(__name__)

ANYONE = ""
"""Owner id of all sessions on a server without keys."""

UNAUTHORIZED = "Unauthorized"

UPLOADS, ANYTHING = "uploads", "anything"
"""Purposes of a token besides a stream's id; both are shorter than any stream's id."""


def key_of(headers: Headers | Mapping[str, str]) -> str | None:
    """The key or token of a request: `x-api-key`, else `Authorization: Bearer`; header names match in any
    letter case. A header that is empty, or holds one of `MISSING_VALUES`, does not count."""
    for line in _lines(headers, "x-api-key"):
        if none_if_missing(line) is not None:
            return line.strip()
    for line in _lines(headers, "authorization"):
        scheme, *credentials = line.split(maxsplit=1)
        if scheme.lower() == "bearer" and credentials and none_if_missing(credentials[0]) is not None:
            return credentials[0].strip()
    return None


def _lines(headers: Headers | Mapping[str, str], name: str) -> list[str]:
    """The non-empty lines of one header; a client's library may add a line to the client's own."""
    found = headers.getlist(name) if isinstance(headers, Headers) else [headers.get(name, "")]
    return [line for line in found if line.strip()]


async def authenticate(
    headers: Headers | Mapping[str, str], records: Records, purpose: str | None = None
) -> str:
    """Returns the id of the key's owner, `ANYONE` if no key is configured.

    `purpose` is the purpose for which a short-lived token is accepted here: `UPLOADS`, `ANYTHING`, or the id
    of a stream, which tokens for uploads may also read. If it is None, only keys are accepted.

    Raises `PinactorsError` (`unauthorized`) for a missing or unknown key or a token for another purpose. A
    key never appears in a log or a message.
    """
    if not await records.has_keys():
        return ANYONE
    key = key_of(headers)
    if key:
        if key.startswith(TOKEN_PREFIX):
            owner = await _owner_by_token(key, records, purpose)
        else:
            owner = await records.authenticate(key)
        if owner is not None:
            return owner
    raise unauthorized()


async def _owner_by_token(token: str, records: Records, purpose: str | None) -> str | None:
    use = await records.token_use(token)
    if use is None:
        return None
    if purpose is None or (use.stream_id is not None and purpose not in (use.stream_id, ANYTHING)):
        bound = "uploads" if use.stream_id is None else "one stream"
        raise unauthorized(f"This token is for {bound}", OtherPurpose)
    return use.owner


def unauthorized(
    detail: str = "Send a valid key as x-api-key or Authorization: Bearer",
    kind: type[PinactorsError] = PinactorsError,
) -> PinactorsError:
    """The error for a missing or wrong key, or, as `kind` says, for a token of another purpose."""
    return kind(ErrorCode.UNAUTHORIZED, UNAUTHORIZED, detail)


async def authenticate_admin(headers: Headers | Mapping[str, str], records: Records) -> None:
    """Checks that the key has the right to administer, also on an open server. The sender's address is not
    used, because behind a proxy all requests come from the same address.

    Raises `PinactorsError`: `unauthorized` for a missing or unknown key, `forbidden` for a key without the
    right.
    """
    key = key_of(headers)
    if key:
        if await records.is_admin(key):
            return
        if await records.authenticate(key) is not None:
            raise PinactorsError(ErrorCode.FORBIDDEN, "Forbidden", "This key may not administer the server")
    raise unauthorized("An administrator's key is needed; `pinactors keys add NAME --admin` makes one")


class RememberingRecords(Records):
    """Records that still accept recently used keys while the database is unavailable, so that no upload is
    lost."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._closed_server: bool | None = None
        self._mark: Path | None = None
        self._threads = trio.CapacityLimiter(1)
        self._owners: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    async def close_as_before(self, settings: Settings) -> None:
        """Requires keys if the settings do, or if the server has ever had keys: a database that was lost or
        is not mounted must not open the server to everybody. Once there are keys, a marker file in the data
        folder records that; deleting it opens the server again. Raises `OSError`, `RecordsUnavailable`."""
        self._mark = settings.had_keys_file
        marked = await trio.to_thread.run_sync(self._mark.exists, limiter=self._threads)
        if settings.require_keys or marked:
            self._closed_server = True
        if await super().has_keys():
            await self._remember_keys()
        elif settings.require_keys:
            log.warning("keys are required but none is configured: every request is refused")
        elif marked:
            log.warning(
                "no key is configured, but there were keys before: every request is refused",
                reopen_by_deleting=str(self._mark),
            )
        else:
            log.warning("no key is configured: the server is open to everybody")

    async def has_keys(self) -> bool:
        """Whether keys are required. A server that had a key keeps requiring one; an open server asks the
        database each time, so that the first key, which another process creates, takes effect at once."""
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
                log.error("could not remember that there are keys", error=repr(error))

    async def authenticate(self, key: str) -> str | None:
        digest = hashlib.sha256(key.encode(errors="replace")).digest()  # the key itself is not stored
        try:
            owner = await super().authenticate(key)
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
