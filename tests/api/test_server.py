"""A master from its start to its end: accepting connections, turning them away, and stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pinactors.api import server
from pinactors.api.server import serve
from pinactors.pipeline import metrics
from pinactors.settings import Settings
from tests.api.conftest import DEADLINE, Running, launch, running
from tests.api.drawn import Gate
from tests.api.http.small import serving
from tests.api.wire import JSON, LIMIT, PHONE, ask, connected, is_refused, json_body
from tests.conftest import ErrorLogs


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError(23, "Too many open files in system"), "connection not accepted"),
        (RuntimeError("nobody foresaw this"), "iteration failed"),
    ],
)
async def test_accepting_goes_on_when_it_fails_once(
    failure: Exception, said: str, monkeypatch: pytest.MonkeyPatch, error_logs: Any
) -> None:
    accept, calls = trio.SocketListener.accept, []

    async def fails_once(self: trio.SocketListener) -> trio.SocketStream:
        calls.append(1)
        if len(calls) == 1:
            await trio.lowlevel.checkpoint()
            raise failure
        return await accept(self)

    monkeypatch.setattr(trio.SocketListener, "accept", fails_once)
    async with serving() as served:
        assert (await ask(served.port, "GET", "/")).body == b"hello"
    assert error_logs.take(said)


async def test_too_many_connections_are_turned_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TURN_AWAY_SECONDS", LIMIT)
    async with serving(max_connections=2) as served:
        async with connected(served.port), connected(served.port):
            await served.wait_for_connections(2)
            answer = await ask(served.port, "GET", "/")
            assert (answer.status, answer.json()["errorCode"]) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
            async with connected(served.port) as wire:  # one that sends while it is turned away
                for _ in range(40):
                    await wire.send(bytes(8192))
                assert (await wire.answer()).status == 503
        await served.wait_for_connections(0)
        assert (await ask(served.port, "GET", "/")).status == 200


async def test_the_server_may_go_while_nobody_reads() -> None:
    """Plain Hypercorn waits for a client that does not read, as long as it stays connected."""
    async with serving(stalled_reader=60) as served, connected(served.port) as wire:
        await wire.request("GET", "/flood")
        await served.wait_for_connections(1)
        await trio.testing.wait_all_tasks_blocked(0.05)  # the socket's buffers are full
        await served.listener.stop()
        served.listener.abort()
        await served.listener.wait_quiet()


UPLOAD = "/mobile-upload"


class Launched:
    """Servers in their own processes with the same data folder; `stop` kills all of them."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, **settings: Any) -> tuple[subprocess.Popen[str], int]:
        process, port = launch(self._data, deadline=DEADLINE, **settings)
        self._processes.append(process)
        return process, port

    @property
    def log(self) -> str:
        return (self._data.parent / "log").read_text()

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    launched = Launched(tmp_path / "data")
    yield launched
    launched.stop()


async def wait(process: subprocess.Popen[str]) -> int:
    with trio.fail_after(LIMIT):
        return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


async def test_sigterm_lets_the_running_session_finish(launched: Launched, gate: Gate) -> None:
    process, port = launched.start()
    body = json_body(sessionId="t", frontImageData=gate.photograph())
    with trio.fail_after(LIMIT):
        async with connected(port) as wire, connected(port) as idle:
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            await wire.stream_id()
            process.send_signal(signal.SIGTERM)
            assert await idle.is_closed()
            while not await is_refused(port):  # noqa: ASYNC110 - no event to wait for
                await trio.sleep(0.02)
            gate.open()
            answer = await wire.answer()
    assert answer.ended
    assert answer.types[-1] == "ANALYSIS_COMPLETE"
    assert await wait(process) == 0


async def test_a_second_signal_ends_everything_and_the_next_process_goes_on(
    launched: Launched, gate: Gate
) -> None:
    process, port = launched.start()
    body = json_body(sessionId="t2", frontImageData=gate.photograph())
    with trio.fail_after(LIMIT):
        async with connected(port) as wire:
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            stream_id = await wire.stream_id()
            process.send_signal(signal.SIGTERM)
            while not await is_refused(port):  # noqa: ASYNC110 - no event to wait for
                await trio.sleep(0.05)
            process.send_signal(signal.SIGINT)
            await wait(process)
    _, port = launched.start()
    assert "session adopted" in launched.log, "it waited for the session"
    gate.open()
    headers = {"Accept": "application/x-ndjson"}
    answer = await ask(port, "GET", f"/streams/{stream_id}", headers=headers)
    assert answer.types[0] == "CONNECTION_ESTABLISHED"
    assert answer.types[-1] == "ANALYSIS_COMPLETE"
    assert [packet["sequence"] for packet in answer.packets] == list(range(len(answer.packets)))


async def test_a_killed_server_loses_no_session(launched: Launched, gate: Gate) -> None:
    process, port = launched.start()
    body = json_body(sessionId="k9", frontImageData=gate.photograph())
    with trio.fail_after(LIMIT):
        async with connected(port) as wire:
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            stream_id = await wire.stream_id()
    os.kill(process.pid, signal.SIGKILL)
    await wait(process)
    _, port = launched.start()
    gate.open()
    again = await ask(port, "POST", UPLOAD, body, JSON | PHONE)
    assert again.types[-1] == "ANALYSIS_COMPLETE"
    assert again.packets[0]["streamId"] == stream_id, "the same upload again joins"


async def test_sessions_longer_than_the_grace_are_cut(launched: Launched, gate: Gate) -> None:
    process, port = launched.start(graceful_shutdown=0.5)
    with trio.fail_after(LIMIT):
        async with connected(port) as wire:
            body = json_body(sessionId="g", frontImageData=gate.photograph())
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            await wire.stream_id()
            process.send_signal(signal.SIGTERM)
            await wait(process)
    assert '"session ended"' not in launched.log


async def test_a_port_that_is_taken_is_a_plain_error(server: Running, tmp_path: Path) -> None:
    """The error comes before workers are started."""
    taken = Settings(data=tmp_path / "other", port=server.port)
    with pytest.raises(OSError, match="is taken"):
        await serve(taken)
    assert not taken.data.exists()


async def test_a_client_that_does_not_read_holds_nothing_up(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel holds the data that the client has not read, so that the server need not wait for it."""
    monkeypatch.setattr("pinactors.api.server.FLUSH_SECONDS", 10 * LIMIT)
    with trio.fail_after(LIMIT):
        async with connected(server.port) as wire, connected(server.port):
            body = json_body(sessionId="s", frontImageData=b"PHOTO")
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            await trio.testing.wait_all_tasks_blocked(0.2)
            server.shutdown.set()
            await server.stopped.wait()
            assert (await wire.answer()).ended


HELD_UP_SECONDS = 3.0
"""A stall of the event loop that is longer than those of a busy machine."""


async def test_its_own_start_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    """A long step is not reported as a stall before the server listens, but after that."""
    create = server.create_app

    def slowly(*arguments: Any, **named: Any) -> Any:
        time.sleep(HELD_UP_SECONDS + 0.2)
        return create(*arguments, **named)

    monkeypatch.setattr(server, "create_app", slowly)
    monkeypatch.setattr(metrics, "LOGGED_STALL_SECONDS", HELD_UP_SECONDS)
    async with running(tmp_path) as started:
        assert (await ask(started.port, "GET", "/livez")).status == 200
        assert not [entry for entry in error_logs.entries if entry["event"] == "event loop held up"]
        time.sleep(HELD_UP_SECONDS + 0.2)  # noqa: ASYNC251 - holds the loop up
        await ask(started.port, "GET", "/livez")
    assert [entry for entry in error_logs.entries if entry["event"] == "event loop held up"]
