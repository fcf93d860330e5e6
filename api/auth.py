"""Who is asking: the key's owner, or nobody on an open server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers

from pinactors.protocol import ErrorCode, PinactorsError

if TYPE_CHECKING:
    from pinactors.records import Records

TOKEN_LIMIT = 512
"""Longest key looked at; ours have 43 characters."""

ANYONE = ""
"""Owner of everything on a server without keys."""


def token_of(headers: Headers | Mapping[str, str]) -> str | None:
    """The key of a request: `x-api-key`, else `Authorization: Bearer`; header names match in any letter
    case."""
    key = headers.get("x-api-key")
    if key is None:
        scheme, _, credentials = (headers.get("authorization") or "").partition(" ")
        key = credentials if scheme.lower() == "bearer" else None
    return key.strip() if key else None


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
