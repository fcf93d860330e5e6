"""Sessions on real worker processes and the real database, and a server process that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.compute.engines import open_compute
from pinactors.compute.pool import Pool
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import Registry, open_registry
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    TIMEOUT_NOTE,
    AuthenticationResult,
    DetailedAnalysis,
    ErrorCode,
    ErrorPacket,
    View,
    decode,
)
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from tests.compute.local.test_processes import cpu_seconds
from tests.pipeline import real_jobs
from tests.pipeline.fakes import final, only, types, watch
from tests.waiting import stopwatch, until

TIMEOUT = 120

RESERVE = 45.0
"""Seconds for basic analysis: half of the deadline, so that it begins in time on a busy machine."""


@asynccontextmanager
async def open_server(
    folder: Path, engine: str = "local", **chosen: Any
) -> AsyncIterator[tuple[Registry, Pool]]:
    settings = Settings(data=folder / "data", workers=2, compute=engine, **chosen)
    records = await Records.open(settings)
    try:
        async with (
            open_compute(settings, real_jobs.warm) as compute,
            open_registry(real_jobs.analysis(folder), compute, records, settings) as registry,
        ):
            yield registry, compute
    finally:
        with trio.CancelScope(shield=True):
            await records.close()


def upload(folder: Path) -> Upload:
    path = folder / "photo"
    path.write_bytes(b"seven b")
    result = Upload("250101120000")
    result.put(View.FRONT, StoredImage(str(path), "abc", 7))
    result.close()
    return result


def leave(registry: Registry, log: PacketLog, seconds: float) -> None:
    """Leaves the session so many seconds until its deadline."""
    session = registry._running.find(log.stream_id)
    assert session is not None
    session._limits.start(seconds)


async def reach_basic_analysis(registry: Registry, folder: Path) -> tuple[PacketLog, int]:
    """Opens a session whose full authenticity does not end, and returns when only the basic reserve is left
    and basic analysis runs: the log, and the process of full analysis."""
    log = await registry.open(upload(folder))
    process = folder / "authenticity.pid"
    await until(process.exists)
    full = process.read_text()
    await log.wait_beyond(3)  # the other components' packets have come
    leave(registry, log, RESERVE)
    await until(lambda: process.read_text() != full)
    return log, int(full)


async def test_the_whole_walk(tmp_path: Path, engine: str) -> None:
    with trio.fail_after(TIMEOUT):
        async with open_server(tmp_path, engine) as (registry, _):
            packets = await watch(await registry.open(upload(tmp_path)))
            assert final(packets).missing == []
            assert only(packets, DetailedAnalysis).details["sum"] == 200 * 200 * 3 * 7
            await until(lambda: not list((tmp_path / "data" / "scratch").glob("run-*/*")))


async def test_cancelling_a_session_frees_its_cpu_within_a_second(tmp_path: Path, engine: str) -> None:
    with trio.fail_after(TIMEOUT):
        (tmp_path / "authenticity.spin").touch()
        async with open_server(tmp_path, engine) as (registry, compute):
            log = await registry.open(upload(tmp_path))
            await until((tmp_path / "authenticity.pid").exists)
            pid = int((tmp_path / "authenticity.pid").read_text())
            assert pid in compute.statistics()["pids"]
            await until(lambda: (cpu_seconds(pid) or 0.0) > 0.1)
            async with stopwatch() as taken:
                await registry.cancel(log.stream_id, "")
                assert taken.seconds < 1
            if engine == "ray":  # Ray kills the process a moment later
                await until(lambda: cpu_seconds(pid) is None)
            assert cpu_seconds(pid) is None
            error = decode(log.packets[-1])
            assert isinstance(error, ErrorPacket)
            assert error.error_code is ErrorCode.CANCELLED
            (tmp_path / "authenticity.spin").unlink()
            assert final(await watch(await registry.open(upload(tmp_path)))).degraded == []


async def test_cancelling_frees_the_cpu_of_what_was_given_up_before(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full analysis has exceeded its time, and still runs in its grace period beside basic analysis."""
    monkeypatch.setattr("pinactors.pipeline.time_limits.JOB_GRACE_SECONDS", RESERVE)
    with trio.fail_after(TIMEOUT):
        (tmp_path / "authenticity.spin").touch()
        async with open_server(tmp_path, engine, basic_reserve=RESERVE) as (registry, compute):
            pids = compute.statistics()["pids"]
            log, full = await reach_basic_analysis(registry, tmp_path)
            assert cpu_seconds(full) is not None
            async with stopwatch() as taken:
                await registry.cancel(log.stream_id, "")
                await until(lambda: all(cpu_seconds(pid) is None for pid in pids))
                assert taken.seconds < 1


async def test_the_deadline_frees_the_cpu(tmp_path: Path, engine: str) -> None:
    """Full analysis runs until the basic reserve begins, and basic analysis until the deadline."""
    with trio.fail_after(TIMEOUT):
        (tmp_path / "authenticity.spin").touch()
        async with open_server(tmp_path, engine, basic_reserve=RESERVE) as (registry, compute):
            pids = compute.statistics()["pids"]
            log, _ = await reach_basic_analysis(registry, tmp_path)
            leave(registry, log, 0.1)
            packets = await watch(log)
            assert only(packets, AuthenticationResult).note == TIMEOUT_NOTE
            assert final(packets).missing == []
            await until(lambda: all(cpu_seconds(pid) is None for pid in pids))
            await until(lambda: compute.statistics()["busy"] == 0)
            await until(lambda: compute.statistics()["workers"] == 2)


@pytest.mark.parametrize("name", ["front", "authenticity"])
async def test_a_worker_killed_at_work_is_replaced_and_the_work_repeated(
    tmp_path: Path, engine: str, name: str
) -> None:
    with trio.fail_after(TIMEOUT):
        for number in range(2):
            (tmp_path / f"{name}.die{number}").touch()
        async with open_server(tmp_path, engine) as (registry, compute):
            packets = await watch(await registry.open(upload(tmp_path)))
            assert (final(packets).degraded, final(packets).missing) == ([], [])
            assert compute.statistics()["restarts"] == 2


async def test_a_killed_server_loses_no_delivered_packet(tmp_path: Path) -> None:
    """The server is killed with SIGKILL during a session. The next process continues the stream after the
    same bytes that were delivered."""
    program = f"""
import structlog, sys, trio
from pathlib import Path
from typing import Any
from tests.pipeline.test_real import open_server, upload

async def main():
    folder = Path({str(tmp_path)!r})
    async with open_server(folder) as (registry, compute):
        log = await registry.open(upload(folder))
        sent = 0
        with log.watching():
            while True:
                await log.wait_beyond(sent)
                sys.stdout.buffer.write(b"".join(b"%s\\n" % packet for packet in log.packets[sent:]))
                sys.stdout.buffer.flush()
                sent = len(log.packets)

if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main)
"""
    script = tmp_path / "server.py"
    script.write_text(program)
    (tmp_path / "authenticity.spin").touch()
    root = Path(__file__).parents[2]
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            run = partial(
                trio.run_process,
                [sys.executable, str(script)],
                env={**os.environ, "PYTHONPATH": str(root)},
                stdout=subprocess.PIPE,
                check=False,
            )
            server = await nursery.start(run)
            assert server.stdout is not None
            delivered = b""
            while delivered.count(b"\n") < 4 or not delivered.endswith(b"\n"):
                delivered += await server.stdout.receive_some()
            await until((tmp_path / "authenticity.pid").exists)
            server.kill()
        before = delivered.split(b"\n")[:-1]
        assert b"AUTHENTICATION_RESULT" not in delivered
        pid = int((tmp_path / "authenticity.pid").read_text())
        await until(lambda: cpu_seconds(pid) is None)
        (tmp_path / "authenticity.spin").unlink()
        stream_id = decode(before[0]).stream_id  # type: ignore[attr-defined]
        async with open_server(tmp_path) as (registry, _):
            log = await registry.find(stream_id, "")
            packets = await watch(log)
            assert log.packets[: len(before)] == before
            assert [packet.sequence for packet in packets] == list(range(len(packets)))
            assert len(set(types(packets))) == len(packets) == 6
            assert final(packets).id == 1
