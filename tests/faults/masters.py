"""Three master processes on one PostgreSQL, and phones that continue their streams at any master."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.api.drawn import Gate
from tests.api.wire import MULTIPART, PHONE, connected, multipart, part
from tests.postgres_server import empty_database

WORKERS = 4
SILENCE = 8.0
"""Seconds without a byte after which a phone gives up a connection: keep-alives come every five seconds."""

NDJSON = {"Accept": "application/x-ndjson"}


@dataclass
class Relay:
    """A TCP relay in front of PostgreSQL's Unix socket. While `cut` is true it forwards nothing and closes
    nothing, like a broken network."""

    socket: str
    cut: bool = False
    port: int = 0

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._connection, listeners)
            task_status.started()

    async def _connection(self, near: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            async with near, await trio.open_unix_socket(self.socket) as far, trio.open_nursery() as nursery:
                for source, target in ((near, far), (far, near)):
                    nursery.start_soon(self._pass_on, source, target, nursery.cancel_scope)

    async def _pass_on(
        self, source: trio.SocketStream, target: trio.SocketStream, over: trio.CancelScope
    ) -> None:
        with suppress(trio.BrokenResourceError):
            while data := await source.receive_some():
                while self.cut:  # noqa: ASYNC110 - a flag that the test sets, no event
                    await trio.sleep(0.05)
                await target.send_all(data)
        over.cancel()


@dataclass
class Masters:
    """The master processes by name, with the same `settings`. Phones try those in `ports` one after the
    other."""

    folder: Path
    urls: dict[str, str]
    settings: dict[str, Any]
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        settings = {
            "data": str(self.folder / name / "data"),
            "database_url": self.urls[name.rstrip("'")],
            "storage": f"file:{self.folder / 'shared'}",
            "workers": WORKERS,
            **self.settings,
            "port": 0,
            "log_format": "json",
        }
        # The process is not started in a thread, because a server ends with the thread that started it. Its
        # port is read in a thread.
        process = self._launch(
            name, [sys.executable, "-m", "tests.api.serving", json.dumps(settings), "drawn"]
        )
        self.processes[name] = process
        assert process.stdout is not None
        self.ports[name] = int(await trio.to_thread.run_sync(process.stdout.readline))

    def _launch(self, name: str, command: list[str]) -> subprocess.Popen[str]:
        (self.folder / name).mkdir(exist_ok=True)
        with (self.folder / name / "log").open("ab") as errors:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@asynccontextmanager
async def three_masters(
    folder: Path, socket_folder: Path, **settings: Any
) -> AsyncIterator[tuple[Masters, Relay]]:
    url = empty_database(socket_folder)
    relay = Relay(str(socket_folder / ".s.PGSQL.5432"))
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.serve)
        database = url.split("///")[1].partition("?")[0]
        through = f"postgresql://tester@127.0.0.1:{relay.port}/{database}?sslmode=disable"
        masters = Masters(folder, {"killed": url, "cut": through, "restarted": url}, settings)
        try:
            for name in masters.urls:
                await masters.start(name)
            yield masters, relay
        finally:
            masters.end()
            nursery.cancel_scope.cancel()


@dataclass
class Phone:
    """A phone that uploads to one master and reads its stream to the end at any master, always from the
    start: the packets that it already has must be the same again."""

    number: int
    masters: Masters
    packets: list[bytes] = field(default_factory=list)
    stream_id: str = ""
    reconnects: int = 0

    @property
    def ended(self) -> bool:
        last = self.packets[-1] if self.packets else b""
        return b"ANALYSIS_COMPLETE" in last or b'"ERROR"' in last

    async def run(self, work: float | Gate) -> None:
        """The analysis takes `work` seconds, or until the gate is open."""
        front = work.photograph() if isinstance(work, Gate) else f"SLEEP {work} {self.number}".encode()
        name = list(self.masters.ports)[self.number % len(self.masters.ports)]
        body = multipart(
            [
                part("sessionId", f"session-{self.number}".encode()),
                part("front_image", front, "front.jpg"),
            ]
        )
        await self._read(self.masters.ports[name], "POST", "/mobile-upload", body, {**PHONE, **MULTIPART})
        while not self.ended:
            self.reconnects += 1
            ports = list(self.masters.ports.values())
            port = ports[self.reconnects % len(ports)]
            await trio.sleep(0.2)
            with trio.move_on_after(SILENCE):
                await self._read(port, "GET", f"/streams/{self.stream_id}?offset=-1", b"", NDJSON)

    async def _read(self, port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            async with connected(port) as wire:
                await wire.request(method, path, body, headers)
                if not self.stream_id:
                    self.stream_id = await wire.stream_id()
                answer = await wire.answer()
                if answer.status == 200:
                    self._take([line for line in answer.body.split(b"\n")[:-1] if line.strip()])

    def _take(self, lines: list[bytes]) -> None:
        lines = [line.rstrip() for line in lines]
        count = min(len(lines), len(self.packets))
        assert lines[:count] == self.packets[:count], "what was read before has changed"
        self.packets += lines[count:]


def complete(url: str) -> int:
    """The number of uploads whose log says that they are complete. If a master is killed earlier, the upload
    counts as interrupted, and the session ends with that error."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM log_entry WHERE kind = 'M' AND body LIKE '%UploadComplete%'::bytea"
        return int(connection.execute(query).fetchone()[0])


def check(phones: list[Phone], url: str) -> None:
    """Asserts that each phone's session has one record, with the packets that the phone received."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT stream_id, array_agg(body ORDER BY sequence) FROM analysis "
            "JOIN packet ON packet.analysis_id = analysis.id GROUP BY analysis.id"
        ).fetchall()
    recorded = {stream_id: [bytes(body) for body in bodies] for stream_id, bodies in rows}
    assert len(rows) == len(recorded) == len(phones)
    for phone in phones:
        decoded = [json.loads(packet) for packet in phone.packets]
        assert [packet["sequence"] for packet in decoded] == list(range(8)), decoded
        assert len({packet["packetType"] for packet in decoded}) == 8
        assert decoded[-1]["packetType"] == "ANALYSIS_COMPLETE"
        assert [packet.rstrip() for packet in recorded[phone.stream_id]] == phone.packets
