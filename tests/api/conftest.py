"""Real servers on real sockets: in this process for one test, or in their own process for many tests."""

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

from pinactors.api import health
from pinactors.api.proxy.masters import fleet
from pinactors.api.server import serve
from pinactors.settings import Settings
from tests.api import drawn
from tests.api.wire import LIMIT

DEADLINE = 600
"""Seconds that a session may take in tests that start processes meanwhile, also on a busy machine."""

STOP_SECONDS = 60
"""Seconds that a server without sessions may take to stop, on a machine that is busy."""


@pytest.fixture(autouse=True)
def _checks_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the checks of `/health` and `/readyz` of servers in this process take as long as a busy disk
    needs, and a proxy wait for them."""
    monkeypatch.setattr(health, "CHECK_SECONDS", LIMIT)
    monkeypatch.setattr(fleet, "HEALTH_SECONDS", LIMIT)


@dataclass(frozen=True)
class Running:
    """A server in this process. Setting `shutdown` stops it as SIGTERM does; `stopped` is set when it has
    ended."""

    port: int
    settings: Settings
    shutdown: trio.Event
    stopped: trio.Event


@asynccontextmanager
async def running(data: Path, **settings: Any) -> AsyncIterator[Running]:
    """Runs the whole server in this process, with one worker and the drawn analysis; `settings` override the
    defaults."""
    chosen = Settings(**{"data": data, "port": 0, "workers": 1, "worker_niceness": 0, **settings})
    shutdown, stopped = trio.Event(), trio.Event()

    async def run(task_status: trio.TaskStatus[int]) -> None:
        await serve(
            chosen,
            analysis=drawn.declare(chosen),
            warm=drawn.warm,
            shutdown=shutdown,
            task_status=task_status,
        )
        stopped.set()

    async with trio.open_nursery() as nursery:
        port = await nursery.start(run)
        yield Running(port, chosen, shutdown, stopped)
        shutdown.set()
        with trio.move_on_after(STOP_SECONDS):
            await stopped.wait()
        assert stopped.is_set(), "the server does not stop"
        nursery.cancel_scope.cancel()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        yield server


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[drawn.Gate]:
    """A gate that is opened at the end of the test at the latest, so that no worker waits any longer."""
    gate = drawn.Gate(tmp_path_factory.mktemp("gate") / "open")
    yield gate
    gate.open()


@dataclass(frozen=True)
class Process:
    port: int
    pid: int
    data: Path


def launch(data: Path, *, analysis: str = "drawn", **settings: Any) -> tuple[subprocess.Popen[str], int]:
    """Starts a server in its own process, and returns the process and the port. The caller ends the
    process. Not to be called in a thread: the server ends with the thread that started it, and trio's threads
    end when they have been idle for ten seconds."""
    # Not the default niceness: beside several other tests, workers would get little of the processor.
    plain = {"port": 0, "workers": 1, "worker_niceness": 0, "log_format": "json"}
    chosen = {"data": str(data), **plain, **settings}
    command = [sys.executable, "-m", "tests.api.serving", json.dumps(chosen), analysis]
    with (data.parent / "log").open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for the whole test run, for tests that do not change its state for others."""
    data = tmp_path_factory.mktemp("shared") / "data"
    process, port = launch(data)
    try:
        yield Process(port, process.pid, data)
    finally:
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
