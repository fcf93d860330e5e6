"""HTTP as bytes on a socket: the server gets exactly what a test sends, and the whole answer is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import h11
import trio

PHONE = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148"}
JSON = {"Content-Type": "application/json"}
LIMIT = 240
"""Seconds that a request may take."""


@dataclass
class Answer:
    """An HTTP response. `ended`: the message is complete (its length, or its last chunk). `interim`: the
    informational responses before it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    interim: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed

    @property
    def packets(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]

    @property
    def types(self) -> list[str]:
        return [packet["packetType"] for packet in self.packets]


class Wire:
    """One connection. `send` writes bytes unchanged, `answer` reads one whole response."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._parser = h11.Connection(h11.CLIENT)
        self._buffered = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        await self.send(head(method, path, {"Content-Length": str(len(body)), **(headers or {})}) + body)

    async def stream_id(self) -> str:
        """The stream id from the first packet. The bytes read here remain for `answer`."""
        await self.read_until(b'"streamId":"', b'"')
        return self._buffered.partition(b'"streamId":"')[2].partition(b'"')[0].decode()

    async def read_until(self, *marks: bytes) -> None:
        """Reads until all `marks` have come, in this order. The bytes read here remain for `answer`."""
        while not _have_come(self._buffered, marks):
            data = bytes(await self.stream.receive_some(2000))
            assert data, f"the connection ended before {marks} had come"
            self._buffered += data

    async def answer(self, method: str = "GET") -> Answer:
        """The next response, with what was received of it if the connection ends before the response."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        if self._buffered:
            parser.receive_data(self._buffered)
        answer = Answer()
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return answer
            if event is h11.NEED_DATA:
                try:
                    parser.receive_data(await self.stream.receive_some(65536))
                except trio.BrokenResourceError:
                    return answer
            elif isinstance(event, h11.InformationalResponse):
                answer.interim.append((event.status_code, _fields(event)))
            elif isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.headers = _fields(event)
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.ended = True
                self._buffered = parser.trailing_data[0]
                return answer
            elif isinstance(event, h11.ConnectionClosed):
                return answer

    async def is_closed(self) -> bool:
        """Waits until the server closes the connection; False if it sends something instead."""
        try:
            return not await self.stream.receive_some(1)
        except trio.BrokenResourceError:
            return True


def _have_come(received: bytes, marks: Iterable[bytes]) -> bool:
    for mark in marks:
        _, found, received = received.partition(mark)
        if not found:
            return False
    return True


def _fields(event: h11.Response | h11.InformationalResponse) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in event.headers}


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: test",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin1")


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        yield Wire(stream)


async def ask(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """Sends one request on its own connection. A refusal during the request is returned too."""
    with trio.fail_after(LIMIT):
        async with connected(port) as wire:
            with suppress(trio.BrokenResourceError):
                await wire.request(method, path, body, headers)
            return await wire.answer("HEAD" if method == "HEAD" else "GET")


async def is_refused(port: int) -> bool:
    """Whether nobody accepts connections at `port`."""
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return True
    await stream.aclose()
    return False


async def metric(port: int, name: str) -> float:
    """The value of a metric: of the one sample that `name` names with its labels, or without labels the sum
    of all samples. 0 if there is none yet."""
    text = (await ask(port, "GET", "/metrics")).body.decode()
    samples = [line.rpartition(" ") for line in text.splitlines()]
    return sum(float(value) for sample, _, value in samples if name in (sample, sample.partition("{")[0]))


async def has_no_session(port: int) -> bool:
    """Whether no session of the master at `port` is under way."""
    return not await metric(port, "pinactors_live_sessions")


def json_body(**fields: Any) -> bytes:
    """A JSON upload; bytes are encoded as base64."""
    return json.dumps(
        {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in fields.items()
        }
    ).encode()


BOUNDARY = "a-boundary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        + value
        + b"\r\n"
    )


def multipart(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Polls until `condition` is true, for progress of another process, or of another task on disk."""
    with trio.fail_after(LIMIT):
        while not await condition():  # noqa: ASYNC110 - no event to wait for
            await trio.sleep(0.02)
