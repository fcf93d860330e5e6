"""The key by which an upload finds its master: the same for the same upload, so that it joins itself.

The session id usually stands in an upload's first bytes; reading it there is a hint, nothing depends on
it but the choice among masters, and the master reads the upload properly.
"""

from __future__ import annotations

import hashlib
import re

from pinactors.protocol import SESSION_ID_LIMIT, said

HINT_BYTES = 2048
"""Bytes of an upload that are awaited before a master is chosen (less where it is shorter)."""

_JSON = re.compile(rb'"sessionId"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]{1,%d})"' % SESSION_ID_LIMIT)
_MULTIPART = re.compile(
    rb'name="?sessionId"?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([\x21-\x7e]{1,%d})\r\n' % SESSION_ID_LIMIT
)


def session_id_in(start: bytes) -> str | None:
    """The session id, if it stands in the first bytes of an upload."""
    found = _JSON.search(start) or _MULTIPART.search(start)
    return said(found[1].decode("ascii")) if found else None


def route_of(owner: str, idempotency_key: str | None, session_id: str | None, start: bytes) -> str:
    name = idempotency_key or session_id or hashlib.sha256(start[:HINT_BYTES]).hexdigest()
    return f"{owner}:{name}"
