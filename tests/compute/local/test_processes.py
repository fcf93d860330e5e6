"""Real worker processes; few tests, because each of them starts processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.compute import GracePeriod, OutOfMemory, Priority, ScratchFull, SessionCompute
from pinactors.compute.local.processes import open_processes
from pinactors.compute.pool import Pool
from pinactors.protocol import PinactorsError
from pinactors.settings import Settings
from tests.compute import jobs
from tests.waiting import until

TIMEOUT = 120


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Pool]:
    async with open_processes(Settings(data=tmp_path, workers=2, worker_niceness=7), jobs.warm) as compute:
        yield compute


@asynccontextmanager
async def session(
    processes: Pool, name: str = "session", priority: Priority = tuple, grace: GracePeriod = float
) -> AsyncIterator[SessionCompute]:
    """A session, by default with a grace period of zero: jobs that it gives up are killed at once."""
    async with processes.session(name, priority, grace) as compute:
        yield compute


async def run(processes: Pool, function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs one job in a new session."""
    async with session(processes) as compute:
        return await compute.run(function, *arguments)


def cpu_seconds(pid: int) -> float | None:
    """The CPU time in seconds that a process has used; None if the process has ended (or is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_workers_are_warm_and_set_up(processes: Pool) -> None:
    with trio.fail_after(TIMEOUT):
        pids = processes.statistics()["pids"]
        assert len(set(pids)) == 2
        seen = {}
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await run(processes, jobs.nap, 0.1)
                pid, warm = await run(processes, jobs.warmed)
                seen[pid] = warm

            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert set(seen) <= set(pids)
        assert all(seen.values())
        assert await run(processes, jobs.environment) == {
            "niceness": os.nice(0) + 7,
            "threads": "1",
            "opencv": 1,
            "sigint": True,
            "sigterm": True,
        }


async def test_a_worker_killed_while_idle_is_replaced_before_a_job_comes(processes: Pool) -> None:
    with trio.fail_after(TIMEOUT):
        pids = processes.statistics()["pids"]
        os.kill(pids[0], signal.SIGKILL)
        await until(lambda: processes.statistics()["restarts"] == 1)
        await until(lambda: processes.statistics()["workers"] == 2)
        assert pids[0] not in processes.statistics()["pids"]
        for _ in range(4):
            assert (await run(processes, jobs.warmed))[1]


async def test_workers_are_replaced_after_many_jobs_and_no_job_gets_a_cold_one(
    processes: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinactors.compute.local.processes.MAX_JOBS", 5)
    seen: set[int] = set()

    async def ask() -> None:
        for _ in range(10):
            with pytest.raises(PinactorsError):
                await run(processes, jobs.refuse)
            pid, warm = await run(processes, jobs.warmed)
            assert warm
            seen.add(pid)

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        await until(lambda: processes.statistics()["workers"] == 2)
        assert len(seen) >= 7
        assert processes.statistics()["restarts"] in (7, 8)  # by how the 40 jobs were shared


async def test_a_kept_value_reaches_another_job_without_a_copy(processes: Pool, tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        async with session(processes, "a session") as compute:
            handle = await compute.keep(jobs.picture, 500)
            assert handle is not None
            assert handle.decided
            folder = Path(handle.path).parent
            assert folder.name == "a session"
            assert folder.is_relative_to(tmp_path / "scratch")
            name, total, writeable = await compute.run(jobs.look, handle)
            assert (name, total) == ("pin", int(jobs.picture(500).rgb.sum()))
            assert not writeable
            assert await compute.keep(jobs.nothing) is None
        assert not folder.exists()


async def test_workers_die_with_a_killed_server(tmp_path: Path) -> None:
    program = f"""
import trio
from pathlib import Path
from pinactors.compute.pool import Pool
from pinactors.protocol import PinactorsError
from pinactors.compute.local.processes import open_processes
from pinactors.settings import Settings
from tests.compute import jobs

async def main():
    settings = Settings(data=Path({str(tmp_path)!r}), workers=2)
    async with open_processes(settings, jobs.warm) as compute:
        async with trio.open_nursery() as nursery, compute.session("s", tuple, float) as session:
            nursery.start_soon(session.run, jobs.spin, {str(tmp_path / "spinning")!r})
            while not Path({str(tmp_path / "spinning")!r}).exists():
                await trio.sleep(0.01)
            print(*compute.statistics()["pids"], flush=True)
            await trio.sleep_forever()

if __name__ == "__main__":
    trio.run(main)
"""
    script = tmp_path / "server.py"
    script.write_text(program)
    root = Path(__file__).parents[3]
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
            said = b""
            while not said.endswith(b"\n"):
                piece = await server.stdout.receive_some()
                assert piece, "it ended before its workers were there"
                said += piece
            pids = [int(word) for word in said.split()]
            assert len(pids) == 2
            server.kill()
        await until(lambda: all(cpu_seconds(pid) is None for pid in pids))


async def test_scratch_folders_come_and_go(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    stale = scratch / "run-stale"
    stale.mkdir(parents=True)
    (stale / "value").write_bytes(b"x")
    settings = Settings(data=tmp_path, workers=1)
    with trio.fail_after(TIMEOUT):
        async with open_processes(settings, jobs.warm):
            assert not stale.exists()
            (ours,) = scratch.iterdir()
            # Another server on the same data folder does not remove the first one's folder.
            async with open_processes(settings, jobs.warm):
                assert ours.exists()
                assert len(list(scratch.iterdir())) == 2
    assert list(scratch.iterdir()) == []


async def test_a_worker_has_so_much_memory_and_no_more(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, workers=1, worker_memory=512 << 20)
    with trio.fail_after(TIMEOUT):
        async with open_processes(settings, jobs.warm) as compute:
            with pytest.raises(OutOfMemory):
                await run(compute, jobs.allocate, 1 << 30)
            assert await run(compute, jobs.allocate, 1 << 20) == 1 << 20
            assert compute.statistics()["restarts"] == 0


async def test_a_full_disk_is_said_until_a_value_can_be_kept_again(processes: Pool, tmp_path: Path) -> None:
    (scratch,) = (tmp_path / "scratch").iterdir()
    (scratch / "full").write_bytes(b"a file where a session's folder would be")
    with trio.fail_after(TIMEOUT):
        async with session(processes, "full") as compute:
            with pytest.raises(ScratchFull):
                await compute.keep(jobs.picture, 10)
            assert processes.statistics()["scratchFull"]
            await compute.run(jobs.nap, 0.0)
            assert processes.statistics()["scratchFull"]
        async with session(processes, "room") as compute:
            kept = await compute.keep(jobs.picture, 10)
            scratch.rename(tmp_path / "removed")
            with pytest.raises(ScratchFull):
                await compute.fetch(kept)
            await compute.keep(jobs.picture, 10)
        assert not processes.statistics()["scratchFull"]
        assert processes.statistics()["restarts"] == 0
