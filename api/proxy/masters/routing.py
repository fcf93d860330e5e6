"""The routing key that chooses an upload's master. A repeated upload has the same key, so that it reaches the
same master and joins its session.

The session id is usually in an upload's first bytes. The id found there serves only to choose a master, which
then parses the upload properly.
"""

from __future__ import annotations

import hashlib
import re

from pinactors.protocol import SESSION_ID_LIMIT, none_if_missing

HINT_BYTES = 2048
"""Bytes of an upload that are read before a master is chosen (fewer if the upload is shorter)."""

_JSON = re.compile(rb'"sessionId"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]{1,%d})"' % SESSION_ID_LIMIT)
_MULTIPART = re.compile(
    rb'name="?sessionId"?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([\x21-\x7e]{1,%d})\r\n' % SESSION_ID_LIMIT
)


def session_id_in(start: bytes) -> str | None:
    """The session id in an upload's first bytes, None if it is not there."""
    found = _JSON.search(start) or _MULTIPART.search(start)
    return none_if_missing(found[1].decode("ascii")) if found else None


def route_of(owner: str, idempotency_key: str | None, session_id: str | None, start: bytes) -> str:
    name = idempotency_key or session_id or hashlib.sha256(start[:HINT_BYTES]).hexdigest()
    return f"{owner}:{name}"
