"""Worker processes of this machine: warm, replaced when they die, killed when their job is cancelled.

Each worker has a `trio_parallel` context of its own: the one that died is the one that is warmed again, and
no job meets a cold worker while a warm one is idle. Workers come from a fork server that has imported the
analysis once: a replacement costs 0.05 s instead of 0.24 s (measured, without the models that `warm` loads).
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
import trio
import trio_parallel  # type: ignore[import-untyped]

from pinactors.compute import Handle, WorkerDied
from pinactors.compute.queue import JobQueue, Priority, Sender
from pinactors.compute.worker import THREAD_VARIABLES, call, call_and_keep, prepare, warm
from pinactors.settings import Settings

GRACE = 2.0
"""Seconds an idle worker gets to end by itself at shutdown."""

WARM_PAUSE, WARM_PAUSE_LIMIT = 0.1, 5.0
"""Seconds between attempts to warm a worker that dies while warming: doubled up to the limit."""

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


class Processes:
    """A `Compute` on this machine's cores."""

    def __init__(self, workers: list[_Worker], warm_up: Callable[[], Any], nursery: trio.Nursery) -> None:
        self._workers = workers
        self._warm_up = warm_up
        self._nursery = nursery
        self._idle: deque[_Worker] = deque()
        self._queue = JobQueue()
        self._busy = 0
        self._restarts = 0
        self._senders = 0
        self._anyone = Sender(0, _at_once)

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._submit(self._anyone, call, function, arguments)

    async def keep(self, folder: str, function: Callable[..., Any], *arguments: Any) -> Handle | None:
        handle: Handle | None = await self._submit(self._anyone, call_and_keep, folder, function, arguments)
        return handle

    def prioritised(self, priority: Priority) -> Prioritised:
        """This compute for one sender of jobs, who is asked for its priority whenever a worker is free."""
        self._senders += 1
        return Prioritised(self, Sender(self._senders, priority))

    def statistics(self) -> dict[str, Any]:
        """`workers` ready or busy, `busy`, `queued` jobs, `restarts` so far, `pids`."""
        return {
            "workers": self._busy + len(self._idle),
            "busy": self._busy,
            "queued": len(self._queue),
            "restarts": self._restarts,
            "pids": [worker.pid for worker in self._workers if worker.pid is not None],
        }

    async def _submit(self, sender: Sender, *work: Any) -> Any:
        """One job from queue to answer. A worker that is lost on the way is replaced in the background."""
        job = self._queue.add(sender)
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
        started = trio.current_time()
        try:
            return await self._occupy(self._workers[job.worker], *work)
        finally:
            sender.seconds += trio.current_time() - started

    async def _occupy(self, worker: _Worker, *work: Any) -> Any:
        lost = True
        try:
            answer = await worker.run(*work)
            lost = False
            return answer
        except trio_parallel.BrokenWorkerError as error:
            raise WorkerDied(f"worker {worker.pid} ended without an answer") from error
        except Exception:
            lost = False  # the function's own
            raise
        finally:
            if lost:
                self._replace(worker)
            else:
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
        pause = WARM_PAUSE
        while worker.pid is None:
            try:
                await self._warm(worker)
            except Exception as error:  # noqa: BLE001 - whatever warming raises, the pool must get its worker back
                log.error("worker does not warm up", error=repr(error), pause=pause)
                await trio.sleep(pause)
                pause = min(2 * pause, WARM_PAUSE_LIMIT)

    async def warm_workers(self) -> None:
        """Warms all of them at the same time. Raises what the first failing one raised."""
        try:
            async with trio.open_nursery() as nursery:
                for worker in self._workers:
                    nursery.start_soon(self._warm, worker, name=f"warm {worker!r}")
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

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


class Prioritised:
    """A view of `Processes` for one sender of jobs; `seconds` is what its jobs have cost the workers."""

    def __init__(self, processes: Processes, sender: Sender) -> None:
        self._processes, self._sender = processes, sender

    @property
    def seconds(self) -> float:
        return self._sender.seconds

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._processes._submit(self._sender, call, function, arguments)

    async def keep(self, folder: str, function: Callable[..., Any], *arguments: Any) -> Handle | None:
        handle: Handle | None = await self._processes._submit(
            self._sender, call_and_keep, folder, function, arguments
        )
        return handle


def _at_once() -> float:
    return 0.0


@asynccontextmanager
async def open_processes(settings: Settings, warm: Callable[[], Any]) -> AsyncIterator[Processes]:
    """`settings.workers` warm worker processes (0: one a core); `warm`, module-level, loads what jobs need.

    Raises whatever `warm` raises when the workers cannot be warmed the first time.
    """
    count = settings.workers or len(os.sched_getaffinity(0))
    for variable in THREAD_VARIABLES:  # the fork server imports numpy before any worker could set them
        os.environ.setdefault(variable, "1")
    multiprocessing.set_forkserver_preload(["pinactors.compute.preload", warm.__module__])
    async with AsyncExitStack() as stack:
        contexts = [await stack.enter_async_context(_open_context(settings)) for _ in range(count)]
        workers = [_Worker(number, context) for number, context in enumerate(contexts)]
        async with trio.open_nursery() as nursery:
            processes = Processes(workers, warm, nursery)
            await processes.warm_workers()
            yield processes
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_context(settings: Settings) -> AsyncIterator[trio_parallel.WorkerContext]:
    try:
        async with trio_parallel.open_worker_context(
            idle_timeout=math.inf,
            init=functools.partial(prepare, settings.worker_niceness),
            grace_period=GRACE,
            worker_type=trio_parallel.WorkerType.FORKSERVER,
        ) as context:
            yield context
    except trio_parallel.BrokenWorkerError as error:  # killed while idle, or slow to go: it is gone now
        log.info("worker ended uncleanly", reason=str(error))
