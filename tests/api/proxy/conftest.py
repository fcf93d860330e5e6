"""Masters and proxies in their own processes on 127.0.0.1, and phones that check their answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.api.proxy.app import serve_proxy
from pinactors.settings import Settings
from tests.api.conftest import DEADLINE, running
from tests.api.wire import JSON, PHONE, Answer, Wire, ask, connected, head, json_body, metric

UPLOAD = "/mobile-upload"
NDJSON = {"Accept": "application/x-ndjson"}
LIMIT = 240
"""Seconds that the requests of a test may take."""


class Server:
    """A master or a proxy process. `name` is the name of its data folder, also after a restart."""

    def __init__(self, folder: Path, role: str, name: str, settings: dict[str, Any]) -> None:
        self._folder, self._role, self.name, self._settings = folder, role, name, settings
        self.port = 0

    def start(self) -> None:
        data = self._folder / self.name
        chosen = {"data": str(data), "port": self.port, "log_format": "json", **self._settings}
        command = [sys.executable, "-m", "tests.api.proxy.serving", self._role, json.dumps(chosen)]
        with (self._folder / f"{self.name}.log").open("ab") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)

    def wait_started(self) -> None:
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Kills the process as `kill -9` does, waits for its end and closes its output."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Fleet:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[Server] = []

    def masters(self, count: int, **settings: Any) -> list[Server]:
        chosen = {"workers": 2, "worker_niceness": 0, "deadline": DEADLINE, **settings}
        masters = [Server(self._folder, "master", f"master{number}", chosen) for number in range(count)]
        for master in masters:
            self._servers.append(master)
            master.start()
        for master in masters:
            master.wait_started()
        return masters

    def proxy(self, masters: list[Server], **settings: Any) -> Server:
        """A proxy that opens no session without a master, however long a master takes to answer."""
        chosen = {
            "proxy_masters": " ".join(master.url for master in masters),
            "proxy_health_interval": 0.3,
            "keepalive": LIMIT,
            "deadline": DEADLINE,
            **settings,
        }
        proxy = Server(self._folder, "proxy", "proxy", chosen)
        self._servers.append(proxy)
        proxy.start()
        proxy.wait_started()
        return proxy

    def stop(self) -> None:
        for server in self._servers:
            server.kill()  # if a process ended by itself, its pipe is still open


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.stop()


@asynccontextmanager
async def proxying(data: Path, masters: list[str], **settings: Any) -> AsyncIterator[int]:
    """Runs a proxy in this process, and yields its port."""
    chosen: dict[str, Any] = {"proxy_masters": " ".join(masters), "proxy_health_interval": 60, **settings}
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[int]) -> None:
            await serve_proxy(
                Settings(data=data, port=0, **chosen), shutdown=shutdown, task_status=task_status
            )

        yield await nursery.start(run)
        shutdown.set()


def assert_whole(answer: Answer, session_id: str | None = None) -> None:
    """Asserts that the answer is one complete stream, without gaps and duplicates, with one end."""
    assert answer.status == 200
    assert answer.ended
    packets = answer.packets
    assert [packet["sequence"] for packet in packets] == list(range(len(packets)))
    assert len(set(answer.types)) == len(answer.types)
    assert answer.types[0] == "CONNECTION_ESTABLISHED"
    assert len(packets) == 8, answer.types
    assert answer.types[-1] == "ANALYSIS_COMPLETE", answer.packets[-1]
    assert len({packet["sessionId"] for packet in packets}) == 1
    if session_id is not None:
        assert packets[0]["sessionId"] == session_id


async def upload(port: int, session_id: str, front: bytes = b"PHOTO", **headers: str) -> Answer:
    body = json_body(sessionId=session_id, frontImageData=front)
    return await ask(port, "POST", UPLOAD, body, JSON | PHONE | headers)


async def sessions_of(port: int) -> int:
    count = (await ask(port, "GET", "/health")).json()["sessions"]
    assert isinstance(count, int)
    return count


async def wait_for_sessions(port: int, count: int) -> None:
    while await sessions_of(port) != count:  # noqa: ASYNC110 - no event to wait for
        await trio.sleep(0.02)


async def has_stream(port: int, stream_id: str) -> bool:
    """Whether the server can serve that stream."""
    return (await ask(port, "GET", f"/streams/{stream_id}?offset=now")).status == 200


@asynccontextmanager
async def half_sent(port: int, body: bytes, headers: dict[str, str] | None = None) -> AsyncIterator[Wire]:
    """The connection of a phone that has sent half of its upload; the rest is `body[len(body) // 2 :]`."""
    chosen = JSON | PHONE | (headers or {}) | {"Content-Length": str(len(body))}
    async with connected(port) as wire:
        await wire.send(head("POST", UPLOAD, chosen) + body[: len(body) // 2])
        yield wire


async def wait_for_failures(port: int, task: str, error_logs: Any) -> None:
    while not await metric(port, "pinactors_task_failures_total"):  # noqa: ASYNC110 - its own metric tells
        await trio.sleep(0.02)
    assert error_logs.take("iteration failed")["task"] == task


@dataclass
class Pair:
    master: int
    proxy: int


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with (
        running(tmp_path / "master", max_request_bytes=1 << 20) as master,
        proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"], max_request_bytes=1 << 20) as port,
    ):
        yield Pair(master.port, port)
