"""Worker processes of this machine: kept warm, killed if their job is cancelled, replaced if they die or have
done many jobs.

Each worker has its own `trio_parallel` context: the worker that died is the one that is warmed again, and no
job gets a cold worker while a warm one is idle. Workers are forked from a fork server that has imported the
analysis once: a replacement costs 0.05 s instead of 0.24 s (measured, without the models that `warm` loads).
"""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio
import trio_parallel  # type: ignore[import-untyped]

from pinactors.compute import Handle, WorkerDied
from pinactors.compute.job import call, call_and_keep
from pinactors.compute.local import fork_server
from pinactors.compute.local.worker import prepare, warm
from pinactors.compute.pool import Pool
from pinactors.compute.scratch import open_scratch
from pinactors.protocol import PinactorsError, forget_frames
from pinactors.settings import Settings

SHUTDOWN_GRACE_SECONDS = 2.0
"""How long an idle worker may take to end by itself at shutdown."""

MAX_JOBS = 2000
"""Number of jobs after which a worker's process is replaced: the C library's allocator keeps ever more freed
memory between what is in use. Of 130 MB of a worker 60 were free after some 4,000 broken photographs."""

REMOVING_THREADS = 2
"""Threads that remove sessions' files from the scratch folder."""

log = structlog.get_logger(__name__)


class _Worker:
    """A worker process: a `pool.Worker`."""

    node = ""

    def __init__(
        self,
        number: int,
        context: trio_parallel.WorkerContext,
        warm_up: Callable[[], Any],
        scratch: Path,
        remove: Callable[[str], None],
    ) -> None:
        """`remove` is called with the path of a kept value that is not needed any more."""
        self.pid: int | None = None
        self._jobs = 0  # done by the process
        self._ending: int | None = None  # the id of a process that was told to end
        self._number = number
        self._context = context
        self._warm_up = warm_up
        self._scratch = scratch
        self._remove = remove
        self._limiter = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<worker {self._number} pid {self.pid}>"

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return await self._run_job(call, function, arguments)

    async def keep(self, session: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return await self._run_job(call_and_keep, str(self._scratch / session), function, arguments)

    async def warm(self) -> int:
        if self._ending is not None:
            await self.wait_gone(self._ending)
            self._ending = None
        pid: int = await self._run_in_process(warm, self._warm_up)
        self._jobs = 0
        return pid

    async def _run_job(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            answer = await self._run_in_process(function, *arguments)
        except WorkerDied:
            raise  # there is no process to end
        except Exception:
            self._count_job()
            raise
        self._count_job()
        return answer

    def _count_job(self) -> None:
        """Ends the process if it has done `MAX_JOBS`; the pool then replaces it."""
        self._jobs += 1
        if self._jobs >= MAX_JOBS and self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._ending, self.pid = self.pid, None

    async def _run_in_process(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self._context.run_sync(
                function, *arguments, kill_on_cancel=True, limiter=self._limiter
            )
        except trio_parallel.BrokenWorkerError as error:
            raise WorkerDied(f"worker {self.pid} ended without an answer") from error
        except PinactorsError as error:
            forget_frames(error)  # one of trio-parallel's frames has the error
            raise

    async def wait_gone(self, pid: int) -> bool:
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):  # not Linux, or ended already: the next job then fails and shows it
            return False
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        return True

    def discard(self, value: Any) -> None:
        if isinstance(value, Handle):
            self._remove(value.path)


def _remove_value(path: str) -> None:
    """Removes a kept value, and its folder if that is empty, because its session has ended."""
    with suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))


@asynccontextmanager
async def open_processes(settings: Settings, warm: Callable[[], Any]) -> AsyncIterator[Pool]:
    """Opens a pool of `settings.workers` warm worker processes (0: one per core). `warm`, a module-level
    function, loads what jobs need.

    Raises `RuntimeError` from any exception of `warm` when the workers are warmed for the first time.
    """
    count = settings.workers or len(os.sched_getaffinity(0))
    await trio.to_thread.run_sync(fork_server.begin, [warm.__module__])
    failure: RuntimeError | None = None
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(open_scratch(settings.scratch_folder))
        contexts = [await stack.enter_async_context(_open_context(settings)) for _ in range(count)]
        threads = trio.CapacityLimiter(REMOVING_THREADS)

        async def clear(session: str) -> None:
            await trio.to_thread.run_sync(
                partial(shutil.rmtree, scratch / session, ignore_errors=True), limiter=threads
            )

        async with trio.open_nursery() as nursery:

            def remove(path: str) -> None:
                in_thread = partial(trio.to_thread.run_sync, limiter=threads)
                nursery.start_soon(in_thread, _remove_value, path, name="remove a value")

            workers = [
                _Worker(number, context, warm, scratch, remove) for number, context in enumerate(contexts)
            ]
            processes = Pool(nursery, Handle, clear)
            try:
                await processes.start(list(workers))
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
    except trio_parallel.BrokenWorkerError as error:  # killed while idle or too slow to end; it has ended now
        log.info("worker ended uncleanly", reason=str(error))
