"""Worker processes of this machine: warm, replaced when they die, killed when their job is cancelled.

Each worker has a `trio_parallel` context of its own: the one that died is the one that is warmed again, and
no job meets a cold worker while a warm one is idle. Workers come from a fork server that has imported the
analysis once: a replacement costs 0.05 s instead of 0.24 s (measured, without the models that `warm` loads).
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import outcome
import structlog
import trio
import trio_parallel  # type: ignore[import-untyped]

from pinactors.backoff import Backoff
from pinactors.compute import GracePeriod, Handle, Priority, ScratchFull, WorkerDied
from pinactors.compute.queue import JobQueue, Sender
from pinactors.compute.scratch import open_scratch
from pinactors.compute.worker import THREAD_VARIABLES, call, call_and_keep, itself, prepare, warm
from pinactors.settings import Settings

SHUTDOWN_GRACE_SECONDS = 2.0
"""What an idle worker gets to end by itself at shutdown."""

WARM_PAUSE = Backoff(0.1, 5.0)
"""Pauses between attempts to warm a worker that dies while warming."""

HELD_BACK_SECONDS = 0.002
"""For so long is a worker held back once it has a value that is kept: what the value makes possible is asked
for within about half of them, and would else wait behind everything that is waiting already."""

log = structlog.get_logger(__name__)


class _Worker:
    def __init__(self, number: int, context: trio_parallel.WorkerContext) -> None:
        self.number = number
        self.context = context
        self.limiter = trio.CapacityLimiter(1)
        self.pid: int | None = None

    def __repr__(self) -> str:
        return f"<worker {self.number} pid {self.pid}>"

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self.context.run_sync(function, *arguments, kill_on_cancel=True, limiter=self.limiter)


class _RunningJob:
    """A job at a worker. `answer` is there when it is `over`, unless it was cancelled."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.answer: outcome.Outcome[Any] = outcome.Error(WorkerDied("the workers are closed"))

    def disown(self, seconds: float) -> None:
        """Nobody waits for it any more: it has `seconds` left."""
        self._sender.unwanted.add(self.scope)
        self.scope.deadline = trio.current_time() + seconds

    def end(self, seconds: float) -> None:
        self._sender.seconds += seconds
        if self.scope in self._sender.unwanted:
            self._sender.unwanted.remove(self.scope)
            _discard(self.answer)
        self.over.set()


def _discard(answer: outcome.Outcome[Any]) -> None:
    """Removes a value that was kept for nobody, and its folder where its session is gone."""
    value = answer.value if isinstance(answer, outcome.Value) else None
    if isinstance(value, Handle):
        with suppress(OSError):
            os.unlink(value.path)
            os.rmdir(os.path.dirname(value.path))


class Processes:
    """A `Compute` on this machine's cores."""

    def __init__(
        self, workers: list[_Worker], warm_up: Callable[[], Any], scratch: Path, nursery: trio.Nursery
    ) -> None:
        self._workers = workers
        self._warm_up = warm_up
        self._scratch = scratch
        self._nursery = nursery
        self._idle: deque[_Worker] = deque()
        self._queue = JobQueue()
        self._busy = 0
        self._restarts = 0
        self._sessions = 0
        self._scratch_full = False

    @asynccontextmanager
    async def session(
        self, name: str, priority: Priority, grace: GracePeriod
    ) -> AsyncIterator[SessionProcesses]:
        self._sessions += 1
        folder = self._scratch / name
        try:
            yield SessionProcesses(self, Sender(self._sessions, priority, grace), str(folder))
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))

    def statistics(self) -> dict[str, Any]:
        """As `Compute.statistics`, and the workers' `pids`."""
        return {
            "workers": self._busy + len(self._idle),
            "busy": self._busy,
            "queued": len(self._queue),
            "restarts": self._restarts,
            "scratch_full": self._scratch_full,
            "pids": [worker.pid for worker in self._workers if worker.pid is not None],
        }

    async def _submit(self, sender: Sender, *work: Any, kept: bool = False) -> Any:
        """One job from queue to answer. A worker that is lost on the way is replaced in the background."""
        job = self._queue.add(sender, kept=kept)
        self._grant()
        try:
            await job.granted.wait()
        except trio.Cancelled:
            if job.worker is None:
                self._queue.discard(sender, job)
            else:  # granted and cancelled at the same moment
                self._free(self._workers[job.worker])
            raise
        assert job.worker is not None
        running = _RunningJob(sender)
        self._nursery.start_soon(self._run_job, running, self._workers[job.worker], kept, work)
        try:
            await running.over.wait()
        except trio.Cancelled:
            seconds = sender.grace()
            running.disown(seconds)
            if seconds <= 0:
                with trio.CancelScope(shield=True):
                    await running.over.wait()
            raise
        return running.answer.unwrap()

    async def _run_job(
        self, running: _RunningJob, worker: _Worker, kept: bool, work: tuple[Any, ...]
    ) -> None:
        """Runs a job in a task of its own, so that it may outlast the call that asked for it."""
        started = trio.current_time()
        lost = True
        try:
            with running.scope:
                running.answer = outcome.Value(await worker.run(*work))
                lost = False
        except trio_parallel.BrokenWorkerError as error:
            died = WorkerDied(f"worker {worker.pid} ended without an answer")
            died.__cause__ = error
            running.answer = outcome.Error(died)
        except Exception as error:  # noqa: BLE001 - the function's own: it is the caller's to handle
            running.answer = outcome.Error(error)
            self._scratch_full = self._scratch_full or isinstance(error, ScratchFull)
            lost = False
        else:
            self._scratch_full = self._scratch_full and not kept
        finally:
            running.end(trio.current_time() - started)
            if lost:
                self._replace(worker)
            elif kept and self._queue:
                self._nursery.start_soon(self._free_soon, worker, name=f"free {worker!r}")
            else:
                self._free(worker)

    async def _free_soon(self, worker: _Worker) -> None:
        await trio.sleep(HELD_BACK_SECONDS)
        self._free(worker)

    def _grant(self) -> None:
        while self._idle and (job := self._queue.pop()):
            worker = self._idle.popleft()
            self._busy += 1
            job.worker = worker.number
            job.granted.set()

    def _free(self, worker: _Worker) -> None:
        self._busy -= 1
        if worker.pid is None:  # it died as the job came, which then met a new and cold process
            self._nursery.start_soon(self._warm_again, worker, name=f"warm {worker!r}")
        else:
            self._idle.appendleft(worker)
            self._grant()

    def _replace(self, worker: _Worker) -> None:
        self._busy -= 1
        self._restarts += 1
        log.info("worker lost", pid=worker.pid, restarts=self._restarts)
        worker.pid = None
        self._nursery.start_soon(self._warm_again, worker, name=f"warm {worker!r}")

    async def _warm_again(self, worker: _Worker) -> None:
        for pause in WARM_PAUSE:
            try:
                await self._warm(worker)
                return
            except Exception as error:  # noqa: BLE001 - whatever warming raises, the pool must get its worker back
                log.error("worker does not warm up", error=repr(error), pause=pause)
                await trio.sleep(pause)

    async def warm_workers(self) -> None:
        """Warms all of them at the same time. Raises `RuntimeError` when one fails."""
        try:
            async with trio.open_nursery() as nursery:
                for worker in self._workers:
                    nursery.start_soon(self._warm, worker, name=f"warm {worker!r}")
        except ExceptionGroup as group:
            raise RuntimeError(f"workers do not warm up: {group.exceptions[0]!r}") from group

    async def _warm(self, worker: _Worker) -> None:
        worker.pid = await worker.run(warm, self._warm_up)
        self._idle.append(worker)
        self._grant()
        self._nursery.start_soon(self._watch, worker, worker.pid, name=f"watch {worker!r}")

    async def _watch(self, worker: _Worker, pid: int) -> None:
        """Replaces a worker that is killed while idle, so that no job pays for it."""
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):  # not Linux, or already gone: the next job will notice
            return
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        if worker.pid != pid:  # replaced already
            return
        if worker in self._idle:
            self._idle.remove(worker)
            self._busy += 1  # until `_replace` takes it back
            self._replace(worker)
        else:
            worker.pid = None


class SessionProcesses:
    """`Processes` as one session sees it: a `SessionCompute`. `folder` is where its values are kept."""

    def __init__(self, processes: Processes, sender: Sender, folder: str) -> None:
        self._processes, self._sender, self._folder = processes, sender, folder

    @property
    def seconds(self) -> float:
        return self._sender.seconds

    def stop(self) -> None:
        for scope in self._sender.unwanted:
            scope.cancel()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._processes._submit(self._sender, call, function, arguments)

    async def fetch(self, value: Any) -> Any:
        return await self.run(itself, value) if isinstance(value, Handle) else value

    async def keep(self, function: Callable[..., Any], *arguments: Any) -> Handle | None:
        handle: Handle | None = await self._processes._submit(
            self._sender, call_and_keep, self._folder, function, arguments, kept=True
        )
        return handle


@asynccontextmanager
async def open_processes(settings: Settings, warm: Callable[[], Any]) -> AsyncIterator[Processes]:
    """`settings.workers` warm worker processes (0: one a core); `warm`, module-level, loads what jobs need.

    Raises `RuntimeError` from whatever `warm` raises when the workers cannot be warmed the first time.
    """
    count = settings.workers or len(os.sched_getaffinity(0))
    for variable in THREAD_VARIABLES:  # the fork server imports numpy before any worker could set them
        os.environ.setdefault(variable, "1")
    multiprocessing.set_forkserver_preload(["pinactors.compute.preload", warm.__module__])
    failure: RuntimeError | None = None
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(open_scratch(settings.scratch_folder))
        contexts = [await stack.enter_async_context(_open_context(settings)) for _ in range(count)]
        workers = [_Worker(number, context) for number, context in enumerate(contexts)]
        async with trio.open_nursery() as nursery:
            processes = Processes(workers, warm, scratch, nursery)
            try:
                await processes.warm_workers()
            except RuntimeError as error:
                failure = error  # raised outside the nursery, which would wrap it in a group
            else:
                yield processes
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _open_context(settings: Settings) -> AsyncIterator[trio_parallel.WorkerContext]:
    try:
        async with trio_parallel.open_worker_context(
            idle_timeout=math.inf,
            init=partial(prepare, settings.worker_niceness, settings.worker_memory),
            grace_period=SHUTDOWN_GRACE_SECONDS,
            worker_type=trio_parallel.WorkerType.FORKSERVER,
        ) as context:
            yield context
    except trio_parallel.BrokenWorkerError as error:  # killed while idle, or slow to go: it is gone now
        log.info("worker ended uncleanly", reason=str(error))
