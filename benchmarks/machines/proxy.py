"""The cost of the proxy: the delay it adds to each packet, and its CPU and memory per session.

Everything runs on this machine, the proxy in a separate process. **Delay**: a master whose packets contain
their time of sending (on the system's monotonic clock, which all processes share) answers pairs of uploads,
one directly and one through the proxy, in turn; the difference of each pair's delays is the delay that the
proxy adds. **CPU**: the proxy's CPU time for those sessions, including the uploads. **Memory**: its growth
while so many sessions are held open.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import trio

from benchmarks import phones
from benchmarks.figures import percentile
from pinactors import logs
from pinactors.api.proxy.app import serve_proxy
from pinactors.settings import Settings

PACKET_PAUSE = 0.01
PACKET_BYTES = 2000
UPLOAD_BYTES = 300_000
"""Bytes of three photographs as phones send them, 100 kB each."""

KINDS = (
    "PROCESSING_STARTED",
    *("PROBE_ONE", "PROBE_TWO", "PROBE_THREE", "PROBE_FOUR", "PROBE_FIVE"),
)


def packet(kind: str, sequence: int, **fields: Any) -> bytes:
    body = {
        "packetType": kind,
        "sessionId": "b",
        "timestamp": "",
        "sequence": sequence,
        "message": "",
        **fields,
    }
    body["sentAt"] = time.monotonic()
    body["filler"] = "x" * (PACKET_BYTES - len(json.dumps(body)))
    return json.dumps(body).encode() + b"\n"


async def master(stream: trio.SocketStream, held: list[trio.Event]) -> None:
    """Reads an upload and answers with packets that contain their time of sending.

    An upload whose session id is `held` gets the first two packets, and the rest when the event in `held` is
    set.
    """
    parser = h11.Connection(h11.SERVER)
    target, holding = b"", False
    async with stream:
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                target = event.target
                holding = dict(event.headers).get(b"x-session-id") == b"held"
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                return

        async def say(event: h11.Event) -> None:
            await stream.send_all(parser.send(event) or b"")

        if target == b"/health":
            headers = [("Content-Length", "15")]
            await say(h11.Response(status_code=200, headers=headers))
            await say(h11.Data(data=b'{"status":"ok"}'))
            await say(h11.EndOfMessage())
            return
        headers = [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]
        await say(h11.Response(status_code=200, headers=headers))
        name = os.urandom(12).hex()
        await say(h11.Data(data=packet("CONNECTION_ESTABLISHED", 0, streamId=name, deadlineMs=90_000)))
        for sequence, kind in enumerate(KINDS, 1):
            await trio.sleep(PACKET_PAUSE)
            await say(h11.Data(data=packet(kind, sequence)))
            if holding and sequence == 1:
                await held[0].wait()
        last = {
            "success": True,
            "complete": True,
            "id": 1,
            "processingTime": 1,
            "degraded": [],
            "missing": [],
        }
        await say(h11.Data(data=packet("ANALYSIS_COMPLETE", len(KINDS) + 1, **last)))
        await say(h11.EndOfMessage())


async def upload(port: int, delays: list[float], seen: trio.Event | None = None, name: str = "b") -> None:
    """One upload; appends each packet's delay to `delays`, in seconds from the master's write to the arrival
    here."""
    body = os.urandom(UPLOAD_BYTES)
    head = (
        "POST /mobile-upload HTTP/1.1\r\nHost: b\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Accept: application/x-ndjson\r\nx-session-id: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "b")]))
    parser.send(h11.EndOfMessage())
    rest = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(head.encode() + body)
        while True:  # noqa: ASYNC913 - every round waits
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Data):
                now = time.monotonic()
                *lines, rest = (rest + bytes(event.data)).split(b"\n")
                delays += [now - json.loads(line)["sentAt"] for line in lines if line]
                if seen is not None and len(delays) >= 2:
                    seen.set()
            elif isinstance(event, h11.EndOfMessage):
                return


@asynccontextmanager
async def proxy_of(masters: str) -> AsyncIterator[phones.ServerProcess]:
    """Starts a proxy in a separate process."""
    with tempfile.TemporaryDirectory() as data:
        settings = {"data": data, "port": 0, "proxy_masters": masters, "log_level": "warning"}
        command = [sys.executable, "-m", "benchmarks.machines.proxy", json.dumps(settings)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - at once
        try:
            assert process.stdout is not None
            port = int(await trio.to_thread.run_sync(process.stdout.readline))
            yield phones.ServerProcess(port, process.pid)
        finally:
            process.kill()
            process.wait()


async def measure(sessions: int, held_sessions: int, note: Any) -> dict[str, float]:
    held = [trio.Event()]
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, partial(master, held=held), 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        direct_port = listeners[0].socket.getsockname()[1]
        async with proxy_of(f"http://127.0.0.1:{direct_port}") as proxy:
            note("warming up")
            for _ in range(10):
                await upload(proxy.port, [])
            added: list[float] = []
            direct: list[float] = []
            relayed: list[float] = []
            before = proxy.cpu_seconds()
            for number in range(sessions):
                pair: dict[int, list[float]] = {direct_port: [], proxy.port: []}
                for one in (direct_port, proxy.port) if number % 2 else (proxy.port, direct_port):
                    await upload(one, pair[one])
                direct += pair[direct_port]
                relayed += pair[proxy.port]
                added += [b - a for a, b in zip(pair[direct_port], pair[proxy.port], strict=True)]
                if (number + 1) % 20 == 0:
                    median = 1e3 * statistics.median(added)
                    note(f"{number + 1} of {sessions} pairs, median added {median:.2f} ms")
            after, idle = proxy.cpu_seconds(), proxy.resident()
            note(f"holding {held_sessions} sessions open")
            async with trio.open_nursery() as nursery_of_held:
                for _ in range(held_sessions):  # one after another, so that no upload in transit is measured
                    seen = trio.Event()
                    nursery_of_held.start_soon(upload, proxy.port, [], seen, "held")
                    await seen.wait()
                full = proxy.resident()
                held[0].set()
        nursery.cancel_scope.cancel()
    return {
        "sessions": sessions,
        "packets": len(added),
        "added_ms_median": 1e3 * statistics.median(added),
        "added_ms_p99": 1e3 * percentile(added, 99),
        "direct_ms_median": 1e3 * statistics.median(direct),
        "direct_ms_p99": 1e3 * percentile(direct, 99),
        "relayed_ms_median": 1e3 * statistics.median(relayed),
        "relayed_ms_p99": 1e3 * percentile(relayed, 99),
        "cpu_ms_per_session": 1e3 * (after - before) / sessions,
        "memory_kb_per_session": (full - idle) / 1e3 / held_sessions,
        "memory_mb_idle": idle / 1e6,
    }


async def serve(text: str) -> None:
    """Runs a proxy in this process, with settings in JSON; prints its port."""
    settings = Settings(**json.loads(text))
    logs.configure(settings)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_proxy, settings)
        print(port, flush=True)


if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
