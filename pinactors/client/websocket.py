"""The WebSocket transport: packets are received while photographs are still being sent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from pinactors.client.connecting import CONNECT_SECONDS, Broken, NotPinactors, open_stream, split
from pinactors.client.follower import FollowedSession, OnPacket, Progress
from pinactors.client.transports import Server, raise_refusal
from pinactors.client.uploads import UploadContent, read_whole
from pinactors.protocol import PACKET_LIMIT, PinactorsError
from pinactors.protocol.offsets import to_offset

MESSAGE_QUEUE = 16
"""Received packets that may wait for a slow caller; a session has fewer, so that a full queue never blocks a
pong."""

CLOSE_SECONDS = 1.0
"""Most seconds that the closing handshake may take."""


class WebSocketTransport:
    def __init__(
        self,
        server: Server,
        photographs: UploadContent | None,
        on_activity: Callable[[], None],
        progress: Progress | None,
    ) -> None:
        self._server, self._photographs = server, photographs
        self._on_activity, self._progress = on_activity, progress
        self._url = split(server.url)

    async def upload(self, session: FollowedSession, on_packet: OnPacket) -> None:
        photographs = self._photographs
        assert photographs is not None
        first_frame = {
            "sessionId": photographs.session_id,
            "images": photographs.views,
            "idempotencyKey": photographs.idempotency_key,
            "webhook": photographs.webhook,
        }
        contents = [await read_whole(photographs.images[view]) for view in photographs.views]
        await self._converse(
            Conversation(self._server, first_frame, contents, session, on_packet, self._progress)
        )

    async def follow(self, stream_id: str, position: int, on_packet: OnPacket) -> None:
        first_frame = {"streamId": stream_id, "offset": to_offset(position)}
        await self._converse(Conversation(self._server, first_frame, [], FollowedSession(), on_packet, None))

    async def _converse(self, conversation: Conversation) -> None:
        conversation.on_activity = self._on_activity
        # We open and close the stream: trio-websocket does not close one that the server closed first.
        stream = await open_stream(self._url)
        try:
            await conversation.run(
                stream, self._url.netloc.rpartition("@")[2], self._url.path.rstrip("/") + "/ws"
            )
        except* ConnectionRejected as rejections:
            [rejection] = rejections.exceptions
            assert isinstance(rejection, ConnectionRejected)
            pairs = rejection.headers or ()
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
            conversation.failure = _refusal_error(rejection.status_code, headers, rejection.body or b"")
        except* LocalProtocolError as errors:
            # A ping arrived after our close frame was sent: trio-websocket answers it, which wsproto refuses.
            if not conversation.received_all:
                conversation.failure = Broken(f"the WebSocket broke: {errors.exceptions[0]}")
        finally:
            await trio.aclose_forcefully(stream)
        if conversation.failure is not None:
            raise conversation.failure


class Conversation:
    """One WebSocket connection. An error is stored in `failure`, so that no exception group has to be
    unpacked.

    `received_all` is True when receiving has ended and only the closing handshake remains.
    """

    def __init__(
        self,
        server: Server,
        first_frame: dict[str, Any],
        contents: list[bytes],
        session: FollowedSession,
        on_packet: OnPacket,
        progress: Progress | None,
    ) -> None:
        self._server, self._first_frame, self._contents = server, first_frame, contents
        self._session, self._on_packet, self._progress = session, on_packet, progress
        self.on_activity: Callable[[], None] = lambda: None
        self.failure: Exception | None = None
        self.received_all = False

    async def run(self, stream: trio.abc.Stream, host: str, path: str) -> None:
        """Opens the WebSocket, sends and receives; returns after the terminal packet or when the connection
        ended."""
        headers = [(name.encode(), value.encode()) for name, value in self._server.headers().items()]
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(CONNECT_SECONDS) as scope:
                socket = await wrap_client_stream(
                    nursery,
                    EndNotifyingStream(stream, scope.cancel),  # type: ignore[arg-type]  # any stream works
                    host,
                    path,
                    extra_headers=headers,
                    message_queue_size=MESSAGE_QUEUE,
                    max_message_size=2 * PACKET_LIMIT,
                )
            if scope.cancelled_caught:
                self.failure = Broken("the WebSocket does not open")
            else:
                nursery.start_soon(self._send, socket, nursery.cancel_scope)
                await self._receive(socket)
                self.received_all = True
                with trio.move_on_after(CLOSE_SECONDS):
                    await socket.aclose()
            nursery.cancel_scope.cancel()

    async def _send(self, socket: WebSocketConnection, exchange_scope: trio.CancelScope) -> None:
        """Sends the photographs, then pings; ends the conversation if a ping is not answered in time."""
        sent, total = 0, sum(map(len, self._contents))
        with suppress(ConnectionClosed):  # the receiving task records the reason
            await socket.send_message(msgspec.json.encode(self._first_frame).decode())
            for content in self._contents:
                await socket.send_message(content)
                sent += len(content)
                self.on_activity()
                if self._progress is not None:
                    self._progress(sent, total)
            self._session.complete = True
            while True:
                with trio.move_on_after(self._server.silence) as scope:
                    await socket.ping()
                if scope.cancelled_caught:
                    self.failure = Broken("the WebSocket is silent")
                    exchange_scope.cancel()
                    return
                self.on_activity()
                await trio.sleep(self._server.silence / 3)

    async def _receive(self, socket: WebSocketConnection) -> None:
        try:
            more_wanted = True
            while more_wanted:
                message = await socket.get_message()
                self.on_activity()
                more_wanted = await self._on_packet(message.encode() if isinstance(message, str) else message)
        except ConnectionClosed as error:
            self.failure = Broken(f"the WebSocket closed: {error.reason}")
        except (Broken, PinactorsError, NotPinactors) as error:
            self.failure = error


class EndNotifyingStream(trio.abc.Stream):
    """A stream that forwards all calls and calls `on_end` when the other side has ended. It is needed because
    trio-websocket waits for ever if the connection ends before the answer to its handshake.
    """

    def __init__(self, stream: trio.abc.Stream, on_end: Callable[[], None]) -> None:
        self._stream, self._on_end = stream, on_end

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._on_end()
            raise
        if not data:
            self._on_end()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _refusal_error(status: int, headers: dict[str, str], body: bytes) -> Exception:
    try:
        raise_refusal(status, headers, body)
    except (Broken, PinactorsError, NotPinactors) as error:
        return error
