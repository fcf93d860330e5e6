"""Simple uploads for the benchmarks: the load generator must use less CPU than the server that it
measures."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from pinactors.protocol import View

STAMP = re.compile(rb"@(\d+)@")
"""The stamp in a result of a component that does nothing: the time at which the result existed."""

PIECE_BYTES = 64 * 1024
UNLIMITED: Mapping[str, Any] = {
    "port": 0,
    "log_level": "error",
    "max_sessions": 100_000,
    "max_sessions_per_key": 100_000,
    "rate_per_minute": 100_000_000,
    "max_connections": 100_000,
}

_numbers = itertools.count()


@dataclass(frozen=True)
class ServerProcess:
    """A server under test: its port and its process."""

    port: int
    pid: int

    def resident(self) -> int:
        """Resident bytes of the process with the event loop."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def cpu_seconds(self) -> float:
        """CPU seconds of that process since it started."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def server(
    kind: str, *, spread: float = 0.0, data: Path | None = None, **settings: Any
) -> AsyncIterator[ServerProcess]:
    """Starts `benchmarks.server` and ends it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as folder:
        given = {**UNLIMITED, **settings, "data": str(data or folder)}
        command = [sys.executable, "-m", "benchmarks.server", kind, json.dumps(given), str(spread)]
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
            process = await nursery.start(run)
            line = await process.stdout.receive_some(100)
            if not line:
                raise RuntimeError("the server under test did not start; its message is above")
            try:
                yield ServerProcess(int(line), process.pid)
            finally:
                process.kill()


def free_port() -> int:
    """A port on which nothing listens, for a server that needs its port as an argument."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(images: Mapping[str, bytes], *, stream: bool = True) -> bytes:
    """The bytes of a whole upload request with a unique session id."""
    boundary = secrets.token_hex(12)
    parts = [_part(boundary, "sessionId", f"bench_{os.getpid()}_{next(_numbers)}".encode())]
    parts += [_part(boundary, f"{view}_image", data, f"{view}.jpg") for view, data in images.items()]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    head = (
        "POST /mobile-upload HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
        f"Accept: {'application/x-ndjson' if stream else 'application/json'}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _part(boundary: str, name: str, data: bytes, file: str = "") -> bytes:
    named = f'; filename="{file}"\r\nContent-Type: image/jpeg' if file else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + data + b"\r\n"


def read(pin: Mapping[View, Path]) -> dict[str, bytes]:
    """The contents of the photographs' files, by the view's name."""
    return {str(view): path.read_bytes() for view, path in pin.items()}


async def upload(port: int, images: Mapping[str, bytes], delays: list[float] | None = None) -> float:
    """Uploads and returns the seconds from the first byte sent to the answer's end; appends each stamped
    result's delay in seconds to `delays`.

    Raises `RuntimeError` when the session did not complete.
    """
    began = time.perf_counter()
    tail = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request(images))
        while data := await stream.receive_some(PIECE_BYTES):
            if delays is not None:
                now = time.perf_counter_ns()
                delays.extend((now - int(made)) / 1e9 for made in STAMP.findall(data))
            tail = (tail + data)[-2000:]
    if b"ANALYSIS_COMPLETE" not in tail:
        raise RuntimeError(f"an upload did not complete: {tail!r}")
    return time.perf_counter() - began


async def closed_loop(
    port: int, pins: Sequence[Mapping[str, bytes]], count: int, seconds: float
) -> list[float]:
    """Runs `count` phones that upload `pins` in turn for `seconds`; returns what `upload` returned."""
    took: list[float] = []
    ends = trio.current_time() + seconds

    async def phone(number: int) -> None:
        while trio.current_time() < ends:
            number += 1
            took.append(await upload(port, pins[number % len(pins)]))

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(phone, number)
    return took


async def watch(port: int, images: Mapping[str, bytes], on_line: Callable[[dict[str, Any]], None]) -> int:
    """Uploads, calls `on_line` with every packet when it arrives, and returns the answer's HTTP status.

    A refusal is read even if it arrives while photographs are still being sent. Raises `OSError` or
    `trio.BrokenResourceError` for a connection that ends without an answer.
    """
    received = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_send, stream, request(images))
        while b"\r\n\r\n" not in received:
            data = await stream.receive_some(PIECE_BYTES)
            if not data:
                raise trio.BrokenResourceError("no answer")
            received += data
        head, _, rest = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        while status == 200:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if line.startswith(b"{"):  # other lines are chunk sizes and keep-alives
                    on_line(json.loads(line))
            if not (data := await stream.receive_some(PIECE_BYTES)):
                break
            rest += data
        nursery.cancel_scope.cancel()
    return status


async def follow(port: int, stream_id: str, delays: list[float]) -> None:
    """Reads a stream to its end, and appends each stamped result's delay in seconds."""
    head = f"GET /streams/{stream_id}?offset=-1 HTTP/1.1\r\nHost: bench\r\nAccept: application/x-ndjson\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"{head}Connection: close\r\n\r\n".encode())
        while data := await stream.receive_some(PIECE_BYTES):
            now = time.perf_counter_ns()
            delays.extend((now - int(made)) / 1e9 for made in STAMP.findall(data))


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # refused: the answer has the reason
        await stream.send_all(data)


async def fetch(port: int, path: str) -> str:
    """The body of a GET."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([bytes(data) async for data in stream])
    return answer.partition(b"\r\n\r\n")[2].decode()
