"""HTTP/1.1 for the client: h11 over a trio stream, with one connection that is kept between requests.

The client uses h11 and not httpx because the server already depends on h11, and because it needs control over
each byte and each close: an early answer must stop an upload, and the sending side must never be closed alone
(servers treat that as a disconnect).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Protocol, Self

import h11
import trio

from pinactors.client.connecting import Broken, Dial, NotPinactors, open_stream, split
from pinactors.protocol import PinactorsError

RECEIVE_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024
"""Bytes of a body written at once."""

UPLOAD_SILENCE = 60.0
"""Seconds that sending one piece of an upload, or waiting for the answer after it, may take: links stall, and
network buffers are large."""

LINE_LIMIT = 64 * 1024
"""Most bytes of a line of a stream; a packet has at most 8,192."""

BODY_LIMIT = 4 << 20
"""Most bytes of an answer that is read as a whole, or that arrives before its request is complete."""

Headers = dict[str, str]


class ArrivingContent(Protocol):
    """Content of a body that is still being written."""

    async def read(self, position: int) -> bytes:
        """Waits for bytes from `position` on and returns some; empty at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: `contents`, in memory, in files or still arriving, one after another. `size` is its
    length in bytes, or None if it is not known yet (the body is then sent in chunks)."""

    content_type: str
    size: int | None
    contents: Sequence[bytes | Path | ArrivingContent]


class Connection:
    """A connection to one server, opened when needed; at most one request at a time.

    `silence` is the number of seconds without a byte after which the connection counts as broken,
    `upload_silence` the same while a body is sent and its answer awaited; `on_activity` is called whenever
    bytes were sent or received. `dial` opens the TCP connection. As a context manager it closes the
    connection.
    """

    def __init__(
        self,
        server: str,
        *,
        silence: float,
        on_activity: Callable[[], None] = lambda: None,
        upload_silence: float = UPLOAD_SILENCE,
        tls: ssl.SSLContext | None = None,
        dial: Dial | None = None,
    ) -> None:
        self._url = split(server)
        self._dial = dial or trio.open_tcp_stream
        self._silence, self._on_activity, self._tls = silence, on_activity, tls
        self._upload_silence = upload_silence
        self._stream: trio.abc.Stream | None = None
        self._protocol = h11.Connection(h11.CLIENT)
        self._ended = False
        self._sent = 0
        self._on_sent: Callable[[int], None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()  # noqa: ASYNC102 - closes at once, waits for nothing

    async def close(self) -> None:
        """Closes the connection immediately, without a handshake; does nothing if there is none."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def request(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: Body | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> HttpAnswer:
        """Sends a request and returns its answer, whose body is still to be read. `on_sent` is called with
        the number of the body's bytes sent so far.

        Raises `Broken`, and `NotPinactors` if the answer is not HTTP.
        """
        head = self._head(method, path, headers, body)
        try:
            if await self._connect() or body is not None:
                return await self._exchange(head, body, on_sent)
            try:
                return await self._exchange(head, None, None)
            except Broken:
                await self.close()  # the server may have closed the kept connection in the meantime
                await self._connect()
                return await self._exchange(head, None, None)
        except BaseException:
            await self.close()  # noqa: ASYNC102 - closes at once, waits for nothing
            raise

    async def converse(
        self,
        path: str,
        headers: Headers,
        body: Body,
        receive: Callable[[HttpAnswer], Awaitable[None]],
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        """Posts `body` while `receive` reads the answer; when `receive` returns, the rest of the body is not
        sent.

        Raises what `receive` raises, and the errors of `request`.
        """
        await self._connect()
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                nonlocal failure
                try:
                    await self._send_contents(body)
                except Broken:
                    pass  # a refusal may have been received; if not, reading the answer raises
                except OSError as error:
                    failure = error
                    nursery.cancel_scope.cancel()

            try:
                await self._send(self._head("POST", path, headers, body))
                self._sent, self._on_sent = 0, on_sent
                nursery.start_soon(send, name="upload")
                await receive(HttpAnswer(self, await self._response(inf)))
            except (Broken, NotPinactors, PinactorsError) as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _connect(self) -> bool:
        """Opens a connection if needed. Returns True for a new connection, False for a kept one."""
        if self._stream is not None and self._protocol.our_state is self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
            return False
        await self.close()
        stream = await open_stream(self._url, self._tls, self._dial)
        self._stream, self._protocol, self._ended = stream, h11.Connection(h11.CLIENT), False
        return True

    async def _exchange(
        self, head: h11.Request, body: Body | None, on_sent: Callable[[int], None] | None
    ) -> HttpAnswer:
        await self._send(head)
        if body is not None:
            await self._send_body(body, on_sent)
        else:
            await self._send(h11.EndOfMessage())
        return HttpAnswer(self, await self._response(self._silence if body is None else self._upload_silence))

    def _head(self, method: str, path: str, headers: Headers, body: Body | None) -> h11.Request:
        fields = [("Host", self._url.netloc.rpartition("@")[2]), *headers.items(), *_entity(body)]
        return h11.Request(
            method=method,
            target=self._url.path.rstrip("/") + path,
            # As servers read them: a proxy passes other bytes than ASCII on as they came.
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in fields],
        )

    async def _response(self, silence: float) -> h11.Response:
        event = await self.event(silence)
        while isinstance(event, h11.InformationalResponse):
            event = await self.event(silence)
        assert isinstance(event, h11.Response)
        return event

    async def _send_body(self, body: Body, on_sent: Callable[[int], None] | None) -> None:
        """Sends the body until it is complete or refused: an answer with an error status ends the upload."""
        self._sent, self._on_sent = 0, on_sent
        unreadable: OSError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            try:
                await self._send_contents(body)
            except Broken:
                pass  # a refusal may have been received; if not, reading the answer raises
            except OSError as error:
                unreadable = error
            nursery.cancel_scope.cancel()
        if unreadable is not None:
            raise unreadable

    async def _send_contents(self, body: Body) -> None:
        """Sends all contents. Raises `Broken`, and `OSError` if a content cannot be read or has another
        length than announced."""
        try:
            for content in body.contents:
                await self._send_content(content)
            await self._send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:  # more or fewer bytes than announced
            raise OSError("a photograph changed while it was being sent") from error

    async def _send_content(self, content: bytes | Path | ArrivingContent) -> None:
        match content:
            case bytes():
                for start in range(0, len(content), PIECE_BYTES):
                    await self._send_piece(content[start : start + PIECE_BYTES])
            case Path():
                async with await trio.open_file(content, "rb") as file:
                    while piece := await file.read(PIECE_BYTES):
                        await self._send_piece(piece)
            case _:
                await self._send_arriving(content)

    async def _send_arriving(self, content: ArrivingContent) -> None:
        position = 0
        while piece := await content.read(position):
            await self._send_piece(piece)
            position += len(piece)

    async def _send_piece(self, piece: bytes) -> None:
        await self._send(h11.Data(data=piece))
        self._sent += len(piece)
        if self._on_sent is not None:
            self._on_sent(self._sent)

    async def _watch(self, sending: trio.CancelScope) -> None:
        """Receives while the body is sent; cancels the sending if the server refuses or closes the
        connection."""
        received = bytearray()
        with suppress(Broken):
            while len(received) < BODY_LIMIT and not _refuses(received):
                data = await self._receive(inf)
                received += data
                self._protocol.receive_data(data)
                if not data:
                    break
        sending.cancel()

    async def _send(self, event: h11.Event) -> None:
        data = self._protocol.send(event)
        assert self._stream is not None
        with trio.move_on_after(self._upload_silence) as scope:
            try:
                await self._stream.send_all(data or b"")
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise Broken("the connection broke while sending") from error
        if scope.cancelled_caught:
            raise Broken("the connection is stuck while sending")
        self._on_activity()

    async def _receive(self, silence: float) -> bytes:
        assert self._stream is not None
        with trio.move_on_after(silence) as scope:
            try:
                data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise Broken("the connection broke") from error
        if scope.cancelled_caught:
            raise Broken(f"the connection was silent for {silence:g} s")
        self._ended = not data
        self._on_activity()
        return data

    async def event(self, silence: float | None = None) -> h11.Event:
        """The answer's next event. Raises `Broken` and `NotPinactors`."""
        while True:
            try:
                event = self._protocol.next_event()
                if isinstance(event, h11.Event):
                    return event
                self._protocol.receive_data(await self._receive(silence or self._silence))
            except h11.RemoteProtocolError as error:
                if self._ended:
                    raise Broken("the connection ended in the middle") from error
                raise NotPinactors(f"its answer is not HTTP: {error}") from error


class HttpAnswer:
    """An answer's head, and its body piece by piece."""

    def __init__(self, connection: Connection, response: h11.Response) -> None:
        self._connection = connection
        self.status: int = response.status_code
        self.headers: Headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers
        }

    async def chunk(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises `Broken`."""
        event = await self._connection.event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def read(self) -> bytes:
        """The whole body. Raises `Broken`, `NotPinactors` (too large)."""
        body = bytearray()
        while data := await self.chunk():
            body += data
            if len(body) > BODY_LIMIT:
                raise NotPinactors("its answer is too large")
        return bytes(body)


def _entity(body: Body | None) -> list[tuple[str, str]]:
    if body is None:
        return []
    framing = ("Transfer-Encoding", "chunked") if body.size is None else ("Content-Length", str(body.size))
    return [("Content-Type", body.content_type), framing]


def _refuses(received: bytearray) -> bool:
    """Whether the received start of the answer contains a status of 300 or more."""
    status = received[9:12]
    return len(status) == 3 and status.isdigit() and int(status) >= 300
