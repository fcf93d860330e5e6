"""Worker processes for real: kept to few, because each costs start-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.compute import (
    GracePeriod,
    OutOfMemory,
    Priority,
    ScratchFull,
    SessionCompute,
    WorkerDied,
)
from pinactors.compute.processes import Processes, open_processes
from pinactors.compute.worker import FunctionFailed
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from tests.compute import jobs

TIMEOUT = 30


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    async with open_processes(Settings(data=tmp_path, workers=2, worker_niceness=7), jobs.warm) as compute:
        yield compute


@asynccontextmanager
async def session(
    processes: Processes, name: str = "session", priority: Priority = tuple, grace: GracePeriod = float
) -> AsyncIterator[SessionCompute]:
    """One that has no time to give to jobs it gives up."""
    async with processes.session(name, priority, grace) as compute:
        yield compute


async def run(processes: Processes, function: Callable[..., Any], *arguments: Any) -> Any:
    """One job of a session of its own."""
    async with session(processes) as compute:
        return await compute.run(function, *arguments)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - other processes and files do not wake us
        await trio.sleep(0.005)


def cpu_seconds(pid: int) -> float | None:
    """CPU time a process has used, None when it is gone (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_workers_are_warm_and_set_up(processes: Processes) -> None:
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


async def test_workers_that_do_not_warm_up_are_no_workers(tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT), pytest.raises(RuntimeError, match="Too large"):
        async with open_processes(Settings(data=tmp_path, workers=1), jobs.refuse):
            pass


async def test_two_workers_work_at_the_same_time(processes: Processes) -> None:
    with trio.fail_after(TIMEOUT):
        pids = []
        async with trio.open_nursery() as nursery:

            async def work() -> None:
                pids.append(await run(processes, jobs.nap, 0.3))

            nursery.start_soon(work)
            nursery.start_soon(work)
        assert len(set(pids)) == 2


async def test_cancelling_frees_the_cpu_within_a_second(processes: Processes, tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        path = tmp_path / "pid"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, processes, jobs.spin, str(path))
            await until(path.exists)
            pid = int(path.read_text())
            await until(lambda: (cpu_seconds(pid) or 0) > 0.05)  # it really burns
            nursery.cancel_scope.cancel()
            started = time.perf_counter()
        assert cpu_seconds(pid) is None
        assert time.perf_counter() - started < 1
        await until(lambda: processes.statistics()["workers"] == 2)  # replaced with nobody waiting
        replaced, warm = await run(processes, jobs.warmed)
        assert warm
        assert replaced != pid
        assert processes.statistics()["restarts"] == 1


async def test_a_dead_worker_is_an_error_and_is_replaced(processes: Processes) -> None:
    with trio.fail_after(TIMEOUT):
        before = processes.statistics()["pids"]
        with pytest.raises(WorkerDied):
            await run(processes, jobs.die)
        await until(lambda: processes.statistics()["workers"] == 2)
        after = processes.statistics()["pids"]
        assert len(set(before) & set(after)) == 1
        assert len(set(after)) == 2


async def test_a_worker_killed_while_idle_is_replaced_before_a_job_comes(processes: Processes) -> None:
    with trio.fail_after(TIMEOUT):
        pids = processes.statistics()["pids"]
        os.kill(pids[0], signal.SIGKILL)
        await until(lambda: processes.statistics()["restarts"] == 1)
        await until(lambda: processes.statistics()["workers"] == 2)
        assert pids[0] not in processes.statistics()["pids"]
        for _ in range(4):
            assert (await run(processes, jobs.warmed))[1]


async def test_exceptions_come_back_as_they_are(processes: Processes) -> None:
    with trio.fail_after(TIMEOUT):
        with pytest.raises(PinactorsError) as refused:
            await run(processes, jobs.refuse)
        assert (refused.value.code, refused.value.field) == (ErrorCode.TOO_LARGE, "front")
        assert refused.value.retry_after == 2.0
        with pytest.raises(FunctionFailed, match="Awkward: awkward"):
            await run(processes, jobs.awkward)
        with pytest.raises(FunctionFailed, match="SystemExit: 3"):
            await run(processes, jobs.leave)
        assert processes.statistics()["restarts"] == 0
        assert processes.statistics()["workers"] == 2


async def test_a_kept_value_reaches_another_job_without_a_copy(processes: Processes, tmp_path: Path) -> None:
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


async def test_who_is_asked_last_runs_last(processes: Processes, tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        order: list[str] = []
        urgency = {"early": 1.0, "late": 1.0}
        async with trio.open_nursery() as nursery:
            # One of the two workers is freed: the jobs run one after the other.
            async with trio.open_nursery() as freed:
                nursery.start_soon(run, processes, jobs.spin, str(tmp_path / "0"))
                freed.start_soon(run, processes, jobs.spin, str(tmp_path / "1"))
                await until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())

                async def job(name: str) -> None:
                    async with session(processes, name, lambda: (urgency[name],)) as compute:
                        await compute.run(jobs.nap, 0.0)
                    order.append(name)

                nursery.start_soon(job, "early")
                await until(lambda: processes.statistics()["queued"] == 1)
                nursery.start_soon(job, "late")
                await until(lambda: processes.statistics()["queued"] == 2)
                urgency["late"] = 0.0  # its reader came back while it waited
                freed.cancel_scope.cancel()
            await until(lambda: len(order) == 2)
            nursery.cancel_scope.cancel()
        assert order == ["late", "early"]


async def test_what_a_value_makes_possible_is_not_overtaken(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made of a value is asked for once it is there: other steps wait already, and a worker."""
    monkeypatch.setattr("pinactors.compute.processes.HELD_BACK_SECONDS", 0.5)  # a busy machine may be slow
    order: list[str] = []

    async def result(compute: SessionCompute) -> None:
        await compute.keep(jobs.nap, 0.1)
        await compute.run(jobs.nap, 0.0)
        order.append("result")

    async def step(compute: SessionCompute) -> None:
        await compute.keep(jobs.nap, 0.0)
        order.append("step")

    with trio.fail_after(TIMEOUT):
        async with session(processes) as compute, trio.open_nursery() as nursery:
            nursery.start_soon(compute.run, jobs.spin, str(tmp_path / "0"))  # one of the two workers
            await until((tmp_path / "0").exists)
            nursery.start_soon(result, compute)
            await until(lambda: processes.statistics()["busy"] == 2)
            nursery.start_soon(step, compute)
            await until(lambda: len(order) == 2)
            nursery.cancel_scope.cancel()
    assert order == ["result", "step"]


async def test_a_job_given_up_may_end_within_its_grace(processes: Processes, tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        pids = set(processes.statistics()["pids"])
        with trio.move_on_after(0.05) as scope:
            async with session(processes, "given up", grace=lambda: 10.0) as compute:
                await compute.keep(jobs.slow_picture, 0.3)
        assert scope.cancelled_caught
        assert processes.statistics()["busy"] == 1
        await until(lambda: processes.statistics()["busy"] == 0)
        assert set(processes.statistics()["pids"]) == pids
        assert list((tmp_path / "scratch").glob("run-*/*")) == []
        assert 0.3 <= compute.seconds < 5


@pytest.mark.parametrize("stopped", [False, True])
async def test_grace_ends(processes: Processes, tmp_path: Path, stopped: bool) -> None:
    with trio.fail_after(TIMEOUT):
        path = tmp_path / "pid"
        async with session(processes, grace=lambda: 1000.0 if stopped else 0.1) as compute:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(compute.run, jobs.spin, str(path))
                await until(path.exists)
                nursery.cancel_scope.cancel()
            pid = int(path.read_text())
            assert cpu_seconds(pid) is not None
            if stopped:
                compute.stop()
            await until(lambda: cpu_seconds(pid) is None)
        await until(lambda: processes.statistics()["workers"] == 2)


async def test_workers_die_with_a_killed_server(tmp_path: Path) -> None:
    program = f"""
import trio
from pathlib import Path
from pinactors.compute.processes import open_processes
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
            said = b""
            while not said.endswith(b"\n"):
                said += await server.stdout.receive_some()
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
            async with open_processes(
                settings, jobs.warm
            ):  # another process on the same data leaves ours alone
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


async def test_a_full_disk_is_said_until_a_value_can_be_kept_again(
    processes: Processes, tmp_path: Path
) -> None:
    (scratch,) = (tmp_path / "scratch").iterdir()
    (scratch / "full").write_bytes(b"a file where a session's folder would be")
    with trio.fail_after(TIMEOUT):
        async with session(processes, "full") as compute:
            with pytest.raises(ScratchFull):
                await compute.keep(jobs.picture, 10)
            assert processes.statistics()["scratch_full"]
            await compute.run(jobs.nap, 0.0)
            assert processes.statistics()["scratch_full"]
        async with session(processes, "room") as compute:
            await compute.keep(jobs.picture, 10)
        assert not processes.statistics()["scratch_full"]
        assert processes.statistics()["restarts"] == 0
