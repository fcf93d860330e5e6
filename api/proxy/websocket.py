"""`/ws` at the proxy: the same WebSocket protocol as at a master, with the proxy's failover.

The photographs become a multipart upload in the spool, which is relayed while it grows. The master is asked
to send packets early, so that results for the front image arrive while the back image is still being sent.
Another master can restart the session from the spool at any time.
"""

from __future__ import annotations

import json
import secrets

import trio
from quart import Blueprint, websocket

from pinactors.api.http.body import BodyReader
from pinactors.api.proxy.masters import requests, routing
from pinactors.api.proxy.masters.requests import Head
from pinactors.api.proxy.receiving import receive
from pinactors.api.proxy.relay.keys import owner_of
from pinactors.api.proxy.state import Proxy, current_proxy, key_in
from pinactors.api.streams.first_frame import (
    FirstFrame,
    idempotency_key_of,
    invalid,
    receive_first_frame,
    regions_of,
    views_of,
)
from pinactors.api.streams.websocket import (
    Messages,
    close_code,
    drain,
    position_in,
    refuse,
    send_packets,
)
from pinactors.api.uploads.fields import SENT_AS, WEBHOOK_FIELD
from pinactors.api.uploads.mobile_upload import MULTIPART_TYPE
from pinactors.client.uploads import part_head
from pinactors.logs import begin_logged
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import (
    PinactorsError,
    View,
    check_session_id,
    new_session_id,
    new_stream_id,
    none_if_missing,
)

blueprint = Blueprint("proxy websocket", __name__)


@blueprint.websocket("/ws", strict_slashes=False)
async def converse() -> None:
    """Serves one WebSocket. Refuses a wrong key in the header with 401 before the upgrade, as a master
    does."""
    proxy = current_proxy()
    session_id = None
    header_key = key_in(websocket.headers)
    if header_key:  # what a token is for is checked later, with the first frame
        masters = proxy.services.masters.order(owner_of(header_key))
        await requests.check_key(masters, header_key, any_purpose=True)
    try:
        first_frame = await receive_first_frame(proxy.services.settings)
        session_id = first_frame.session_id
        api_key = header_key or key_in({"x-api-key": first_frame.api_key or ""})
        if first_frame.stream_id is None:
            code = await _upload(proxy, first_frame, api_key)
        else:
            found = await proxy.sessions.find(first_frame.stream_id, api_key)
            await _deliver(found, position_in(found, first_frame))
            code = close_code(found)
    except PinactorsError as error:
        await refuse(error, session_id)
    else:
        await websocket.close(code)


async def _deliver(log: PacketLog, position: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, name="websocket receive")
        await send_packets(log, position)
        nursery.cancel_scope.cancel()


async def _upload(proxy: Proxy, first_frame: FirstFrame, api_key: str | None) -> int:
    """Relays the photographs, sends the packets that come back and returns the close code."""
    views = views_of(first_frame)
    session_id = _session_id(first_frame)
    key = idempotency_key_of(first_frame)
    texts = {f"{view}Region": json.dumps(region) for view, region in regions_of(first_frame).items()}
    if first_frame.webhook:
        texts[WEBHOOK_FIELD] = first_frame.webhook
    photographs = PhotographsBody(views, proxy, texts)
    head = Head(
        f"{MULTIPART_TYPE}; boundary={photographs.boundary}",
        None,
        api_key,
        key or new_stream_id(),
        session_id,
        early=True,
        span=begin_logged(proxy.services.tracing, websocket, "upload"),
    )
    route = routing.route_of(owner_of(api_key), key, session_id, b"")
    sent = 0

    async def meanwhile(log: PacketLog) -> None:
        nonlocal sent
        sent = await send_packets(log, 0)

    log = await receive(proxy.sessions, head, route, photographs, meanwhile)
    await _deliver(log, sent)
    return close_code(log, mistaken=photographs.mistaken)


def _session_id(first_frame: FirstFrame) -> str:
    """The client's session id, or a new one that no other upload has: the master takes it for the client's,
    and an upload with the id of another waits until it is complete and compared. Raises `PinactorsError`."""
    if none_if_missing(first_frame.session_id) is None:
        return f"{new_session_id()}_{secrets.token_hex(4)}"
    return check_session_id(first_frame.session_id)


class PhotographsBody:
    """Turns the binary messages into the body of a multipart upload, piece by piece. `texts` are text
    fields by name, which come first."""

    def __init__(self, views: list[View], proxy: Proxy, texts: dict[str, str]) -> None:
        settings = proxy.services.settings
        self.boundary = secrets.token_hex(16)
        self._coming, self._texts = list(views), texts
        self._view: View | None = None
        self._messages = Messages()
        self._reader = BodyReader(self._messages, settings, settings.max_request_bytes)
        self._empty = self._ended = False

    @property
    def mistaken(self) -> bool:
        """Whether another message arrived in place of a photograph."""
        return self._messages.mistaken

    async def chunk(self) -> bytes:
        """Raises `PinactorsError`."""
        if self._view is None:
            return self._next()
        if data := await self._reader.chunk():
            self._empty = False
            return data
        if self._empty:
            raise invalid(f"the {self._view} image is empty", self._view)
        self._view = None
        return b"\r\n" + self._next()

    async def rest(self) -> None:
        await drain()

    def _next(self) -> bytes:
        """Returns the head of the next part; behind the last part the end of the body; after that nothing."""
        if self._texts:
            parts = (part_head(self.boundary, name) + text.encode() for name, text in self._texts.items())
            fields, self._texts = b"".join(part + b"\r\n" for part in parts), {}
            return fields + self._next()
        if self._coming:
            self._view, self._empty = self._coming.pop(0), True
            self._messages.begin(self._view)
            sent_as = f"{SENT_AS}: {self._view}\r\n"
            return part_head(self.boundary, f"{self._view}_image", f"{self._view}.img", sent_as)
        if self._ended:
            return b""
        self._ended = True
        return f"--{self.boundary}--\r\n".encode()
