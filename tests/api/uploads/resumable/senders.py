"""Clients of resumable uploads for tests: they send single requests, and can cut them at a given byte."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.api.conftest import launch
from tests.api.wire import LIMIT, MULTIPART, Answer, Wire, ask, connected, head, multipart, part, until

FRONT, BACK = b"PHOTO front", b"PHOTO of the back"
NDJSON = {"Accept": "application/x-ndjson"}
PARTIAL = {"Content-Type": "application/partial-upload"}


def body_of(session_id: str, *, back: bytes = b"PHOTO back") -> bytes:
    return multipart(
        [
            part("sessionId", session_id.encode()),
            part("front_image", b"PHOTO of " + session_id.encode(), "f"),
            part("back_image", back, "b"),
        ]
    )


def said(version: str, *, complete: bool) -> dict[str, str]:
    """The header fields, in the given version of the draft, that tell whether a body completes the upload."""
    if version == "3":
        return {"Upload-Draft-Interop-Version": version, "Upload-Incomplete": "?0" if complete else "?1"}
    named = {"Upload-Draft-Interop-Version": version} if version else {}
    return {**named, "Upload-Complete": "?1" if complete else "?0"}


@dataclass
class Draft:
    """A client of the IETF draft at one server."""

    port: int
    version: str = "8"
    path: str = "/mobile-upload"
    headers: dict[str, str] = field(default_factory=dict)

    async def create(self, body: bytes = b"", **more: str) -> Answer:
        fields = {**MULTIPART, **NDJSON, **self.headers, **said(self.version, complete=False), **more}
        return await ask(self.port, "POST", self.path, body, fields)

    async def append(self, url: str, offset: int, body: bytes, *, complete: bool, **more: str) -> Answer:
        return await ask(self.port, "PATCH", url, body, {**self._appending(offset, complete), **more})

    async def append_cut(self, url: str, offset: int, body: bytes, cut: int) -> None:
        """Announces all of `body`, sends `cut` bytes of it and resets the connection."""
        fields = {**self._appending(offset, True), "Content-Length": str(len(body))}
        async with connected(self.port) as wire:
            await wire.send(head("PATCH", url, fields) + body[:cut])
            reset(wire)

    async def ask(self, url: str, method: str = "HEAD", **more: str) -> Answer:
        version = {"Upload-Draft-Interop-Version": self.version} if self.version else {}
        return await ask(self.port, method, url, b"", {**self.headers, **version, **more})

    async def offset(self, url: str) -> int:
        answer = await self.ask(url)
        assert answer.status == 204, answer
        return int(answer.headers["upload-offset"])

    def _appending(self, offset: int, complete: bool) -> dict[str, str]:
        kind = PARTIAL if self.version not in ("3", "5") else {}
        return {
            **kind,
            **NDJSON,
            **self.headers,
            **said(self.version, complete=complete),
            "Upload-Offset": str(offset),
        }


async def is_kept(data: Path, text: bytes) -> bool:
    """Whether a session's log on disk contains `text`. The metrics do not tell: they count a result before it
    is stored."""

    def look() -> bool:
        return any(text in path.read_bytes() for path in data.rglob("*.journal"))

    return await trio.to_thread.run_sync(look)


def reset(wire: Wire) -> None:
    """Closes the connection at once with a reset, as it ends for a server behind a tunnel."""
    wire.stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.stream.socket.close()


def comparable(packets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The packets without the fields that differ between sessions, sorted by type: equal for equal
    photographs."""
    own = {
        "sessionId",
        "streamId",
        "timestamp",
        "sequence",
        "id",
        "processingTime",
        "streamUrl",
        "cancelUrl",
        "statusUrl",
    }
    rest = [{name: value for name, value in packet.items() if name not in own} for packet in packets]
    return sorted(rest, key=lambda packet: str(packet["packetType"]))


def is_whole(packets: list[Mapping[str, Any]]) -> bool:
    numbers = [packet["sequence"] for packet in packets]
    return numbers == list(range(len(packets))) and packets[-1]["packetType"] == "ANALYSIS_COMPLETE"


def metadata(**values: str) -> str:
    """The value of the tus header `Upload-Metadata`."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


@dataclass
class Tus:
    """A client of tus 1.0 at one server."""

    port: int
    path: str = "/uploads/"
    headers: dict[str, str] = field(default_factory=dict)

    async def create(self, length: int, **values: str) -> Answer:
        fields = {"Upload-Length": str(length), "Upload-Metadata": metadata(**values)}
        return await ask(self.port, "POST", self.path, b"", {**self._fields, **fields})

    async def append(self, url: str, offset: int, content: bytes, **more: str) -> Answer:
        return await ask(self.port, "PATCH", url, content, {**self._appending(offset), **more})

    async def append_cut(self, url: str, offset: int, content: bytes, cut: int, **more: str) -> None:
        """Announces all of `content`, sends `cut` bytes of it and resets the connection."""
        fields = {**self._appending(offset), "Content-Length": str(len(content)), **more}
        async with connected(self.port) as wire:
            await wire.send(head("PATCH", url, fields) + content[:cut])
            reset(wire)

    @asynccontextmanager
    async def appending_without_end(self, url: str, content: bytes, data: Path) -> AsyncIterator[Wire]:
        """A request that has sent all of `content`, of which the server has stored the last byte in `data`,
        but has not ended yet: more could follow."""
        async with connected(self.port) as wire:
            fields = {**self._appending(0), "Transfer-Encoding": "chunked"}
            await wire.send(head("PATCH", url, fields) + b"%x\r\n%b\r\n" % (len(content), content))
            stored = data / "uploads" / f"{url.rpartition('/')[2]}.bytes"
            with trio.fail_after(LIMIT):
                while stored.stat().st_size < len(content):  # noqa: ASYNC110 - no event on a disk
                    await trio.sleep(0.02)
            yield wire

    async def ask(self, url: str, method: str = "HEAD") -> Answer:
        return await ask(self.port, method, url, b"", self._fields)

    async def send(self, content: bytes, **values: str) -> str:
        """Creates an upload and sends all of it; returns the stream's URL."""
        created = await self.create(len(content), **values)
        assert created.status == 201, created
        answer = await self.append(created.headers["location"], 0, content)
        assert answer.status == 204, answer
        return answer.headers["stream-location"]

    async def packets(self, stream: str) -> list[dict[str, Any]]:
        return (await ask(self.port, "GET", stream, b"", {**self.headers, **NDJSON})).packets

    @property
    def _fields(self) -> dict[str, str]:
        return {"Tus-Resumable": "1.0.0", **self.headers}

    def _appending(self, offset: int) -> dict[str, str]:
        kind = {"Content-Type": "application/offset+octet-stream"}
        return {**self._fields, **kind, "Upload-Offset": str(offset)}


async def leave_half_sent(
    data: Path, stored: Callable[[], Awaitable[object]], **settings: Any
) -> tuple[str, str]:
    """Sends `FRONT` and seven bytes of `BACK` to a server that is killed as soon as `stored()` is true;
    returns the URLs of the stream and of the upload of the back."""
    process, port = launch(data, **settings)
    try:
        client = Tus(port)
        stream = await client.send(FRONT, sessionId="a", view="front")
        back = await client.create(len(BACK), sessionId="a", view="back", complete="true")
        url = back.headers["location"]
        await client.append(url, 0, BACK[:7])
        await until(stored)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    return stream, url
