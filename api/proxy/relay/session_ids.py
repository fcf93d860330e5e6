"""The session id of an upload in the spool, read as a master would read it."""

from __future__ import annotations

import trio

from pinactors.api.proxy.masters.requests import Head
from pinactors.api.proxy.relay.spool import Spool
from pinactors.api.uploads.mobile_upload import parser_of
from pinactors.api.uploads.multipart import boundary_of
from pinactors.protocol import check_session_id


async def session_id_of(head: Head, spool: Spool, disk: trio.CapacityLimiter) -> str:
    """The id that the body names, otherwise the header, otherwise a new one. Reads no further than to the
    body's id, and only bytes that have arrived.

    Raises `PinactorsError` for an id or a body that a master refuses, and `OSError`.
    """
    found = None
    if not head.early:  # with `early`, a master opens the session before it reads the body
        kind = head.content_type.partition(";")[0].strip().lower()
        parser = parser_of(kind, boundary_of(head.content_type))(None)
        position = 0
        while parser.session_id is None and (data := await spool.piece(position)):
            await trio.to_thread.run_sync(parser.feed, data, limiter=disk)
            position += len(data)
        found = parser.session_id
    await trio.lowlevel.checkpoint()
    return check_session_id(found or head.session_id)
