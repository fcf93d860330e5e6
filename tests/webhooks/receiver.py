"""A server on loopback that receives events over TLS, with configurable faults."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio
import trustme
from standardwebhooks import Webhook

RESET, SILENCE, REDIRECT = "reset", "silence", "redirect"

Behaviour = int | str
"""The status to answer with, or one of the three names above."""


@dataclass
class Received:
    """One request: its header fields, its raw body, and how it was answered."""

    headers: dict[str, str]
    body: bytes
    answered: Behaviour

    @property
    def event(self) -> dict[str, Any]:
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed

    @property
    def sequence(self) -> int:
        return int(self.event["data"]["sequence"])


@dataclass
class Receiver:
    """The receiver of events. Each request uses the next of `behaviours`; after them all get 200. `paths` are
    the requested paths."""

    authority: trustme.CA
    behaviours: list[Behaviour] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    port: int = 0
    _more: trio.Event = field(default_factory=trio.Event)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/events?of=pins"

    @property
    def taken(self) -> list[Received]:
        """The requests answered with 200."""
        return [one for one in self.received if one.answered == 200]

    def events(self) -> list[str]:
        """The event types of the requests answered with 200, in order."""
        return [one.event["type"] for one in self.taken]

    def check(self, secret: str) -> None:
        """Verifies with the Standard Webhooks library that all requests are signed with `secret`; raises its
        errors."""
        for one in self.received:
            Webhook(secret).verify(one.body, one.headers)

    async def until(self, count: int, *, taken: bool = True) -> None:
        """Waits until `count` requests were answered with 200, or have come if `taken` is false."""
        while len(self.taken if taken else self.received) < count:
            self._more = trio.Event()
            await self._more.wait()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert("localhost").configure_cert(context)
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]

        async def connection(plain: trio.SocketStream) -> None:
            stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
            try:
                await self._connection(stream, plain)
            except (trio.BrokenResourceError, h11.RemoteProtocolError):
                pass  # the client does not trust the certificate, or has left
            finally:
                await trio.aclose_forcefully(plain)  # noqa: ASYNC102 - waits for nothing

        await trio.serve_listeners(connection, listeners, task_status=task_status)

    async def _connection(self, stream: Any, plain: trio.SocketStream) -> None:
        parser = h11.Connection(h11.SERVER)
        request, body = None, b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                parser.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return
        assert request is not None
        behaviour = self.behaviours.pop(0) if self.behaviours else 200
        headers = {name.decode(): value.decode() for name, value in request.headers}
        self.paths.append(request.target.decode())
        self.received.append(Received(headers, body, behaviour))
        self._more.set()
        if behaviour == SILENCE:
            await trio.sleep_forever()
        if behaviour == RESET:
            plain.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: closing resets
            return
        status = 302 if behaviour == REDIRECT else behaviour
        assert isinstance(status, int)
        fields = [("Content-Length", "0"), ("Connection", "close"), ("Location", "/elsewhere")]
        answer = parser.send(h11.Response(status_code=status, headers=fields)) or b""
        await stream.send_all(answer + (parser.send(h11.EndOfMessage()) or b""))


@asynccontextmanager
async def receiving(authority: trustme.CA, behaviours: Sequence[Behaviour] = ()) -> AsyncIterator[Receiver]:
    receiver = Receiver(authority, list(behaviours))
    async with trio.open_nursery() as nursery:
        await nursery.start(receiver.serve)
        yield receiver
        nursery.cancel_scope.cancel()
