"""Rules that each engine must keep for jobs, cancellation, grace periods and dead workers: real worker
processes and a real Ray cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from pinactors.compute import SessionCompute, WorkerDied
from pinactors.compute.engines import open_compute
from pinactors.compute.pool import Pool
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from tests.compute import jobs
from tests.compute.local.test_processes import cpu_seconds, run, session
from tests.waiting import until

TIMEOUT = 120


@pytest.fixture
async def processes(tmp_path: Path, engine: str) -> AsyncIterator[Pool]:
    async with open_compute(Settings(data=tmp_path, compute=engine, workers=2), jobs.warm) as compute:
        yield compute


async def test_workers_that_do_not_warm_up_are_no_workers(tmp_path: Path, engine: str) -> None:
    with trio.fail_after(TIMEOUT), pytest.raises(RuntimeError, match="Too large"):
        async with open_compute(Settings(data=tmp_path, compute=engine, workers=1), jobs.refuse):
            pass


async def test_two_workers_work_at_the_same_time(processes: Pool) -> None:
    with trio.fail_after(TIMEOUT):
        pids = []
        async with trio.open_nursery() as nursery:

            async def work() -> None:
                pids.append(await run(processes, jobs.nap, 0.3))

            nursery.start_soon(work)
            nursery.start_soon(work)
        assert len(set(pids)) == 2


async def test_cancelling_ends_the_process_that_works(processes: Pool, engine: str, tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        path = tmp_path / "pid"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, processes, jobs.spin, str(path))
            await until(path.exists)
            pid = int(path.read_text())
            await until(lambda: (cpu_seconds(pid) or 0) > 0.05)  # it really uses the CPU
            nursery.cancel_scope.cancel()
        if engine == "ray":  # Ray reports the cancellation before the process has ended
            await until(lambda: cpu_seconds(pid) is None)
        assert cpu_seconds(pid) is None
        await until(lambda: processes.statistics()["workers"] == 2)  # replaced without a waiting job
        replaced, warm = await run(processes, jobs.warmed)
        assert warm
        assert replaced != pid
        assert processes.statistics()["restarts"] == 1


async def test_a_dead_worker_is_an_error_and_is_replaced(processes: Pool) -> None:
    with trio.fail_after(TIMEOUT):
        before = processes.statistics()["pids"]
        with pytest.raises(WorkerDied):
            await run(processes, jobs.die)
        await until(lambda: processes.statistics()["workers"] == 2)
        after = processes.statistics()["pids"]
        assert len(set(before) & set(after)) == 1
        assert len(set(after)) == 2


async def test_who_is_asked_last_runs_last(processes: Pool, tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        order: list[str] = []
        urgency = {"early": 1.0, "late": 1.0}
        async with trio.open_nursery() as nursery:
            # Only one of the two workers becomes free, so that the jobs run one after the other.
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
                urgency["late"] = 0.0  # as if its reader came back while it waits
                freed.cancel_scope.cancel()
            await until(lambda: len(order) == 2)
            nursery.cancel_scope.cancel()
        assert order == ["late", "early"]


async def test_what_a_value_makes_possible_is_not_overtaken(
    processes: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that needs a value is submitted when the value exists. At that moment another step is queued and
    a worker is free; the job must run before that step."""
    monkeypatch.setattr("pinactors.compute.pool.FREE_DELAY_SECONDS", 0.5)  # a busy machine may be slow
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


async def test_a_job_given_up_may_end_within_its_grace(processes: Pool, tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        pids = set(processes.statistics()["pids"])
        with trio.CancelScope() as scope:
            async with (
                session(processes, "given up", grace=lambda: 60.0) as compute,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(compute.keep, jobs.awaited_picture, str(tmp_path / "begun"))
                await until((tmp_path / "begun").exists)
                began = trio.current_time()
                scope.cancel()
        assert scope.cancelled_caught
        assert processes.statistics()["busy"] == 1
        await until(lambda: trio.current_time() > began + 0.5)
        assert processes.statistics()["busy"] == 1
        (tmp_path / "begun.go").touch()
        await until(lambda: processes.statistics()["busy"] == 0)
        assert set(processes.statistics()["pids"]) == pids
        await until(lambda: not list((tmp_path / "scratch").glob("run-*/*")))  # other threads remove them
        assert 0.5 <= compute.seconds < 60


@pytest.mark.parametrize("stopped", [False, True])
async def test_grace_ends(processes: Pool, tmp_path: Path, stopped: bool) -> None:
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


async def test_a_kept_value_reaches_another_job_without_a_copy(processes: Pool) -> None:
    with trio.fail_after(TIMEOUT):
        async with session(processes) as compute:
            kept = await compute.keep(jobs.picture, 500)
            assert kept.decided
            name, total, writeable = await compute.run(jobs.look, kept)
            assert (name, total) == ("pin", int(jobs.picture(500).rgb.sum()))
            assert not writeable
            assert await compute.keep(jobs.nothing) is None


async def test_a_photograph_is_at_hand_where_the_job_runs(processes: Pool, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"seven b")
    photograph = StoredImage(str(tmp_path / "photo"), "ab" * 32, 7)
    with trio.fail_after(TIMEOUT):
        assert await run(processes, jobs.read, photograph) == (b"seven b", "ab" * 32, 7)
