"""The pool of workers: priorities, grace periods, and the replacement of lost workers, for all engines.

A `Pool` grants waiting jobs to idle workers. An engine implements `Worker`: a process of this machine or a
place in a cluster. The rules for deadlines, cancellations and worker deaths are only here, so that they are
the same for every engine.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import outcome
import structlog
import trio

from pinactors.backoff import Backoff
from pinactors.compute import GracePeriod, Priority, ScratchFull, WorkerDied
from pinactors.compute.job import FunctionFailed, identity
from pinactors.compute.queue import JobQueue, Sender
from pinactors.compute.workers import Worker

WARM_PAUSE = Backoff(0.1, 5.0)
"""Pauses between attempts to warm a worker that dies while warming."""

FREE_DELAY_SECONDS = 0.002
"""How long a worker gets no job after one whose value is kept. The jobs that need the value are submitted in
about half that time; without the pause they would wait behind all jobs that are queued already."""

log = structlog.get_logger(__name__)


class _RunningJob:
    """A job that a worker runs. `answer` is valid when `ended` is set, unless the job was cancelled."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.answer: outcome.Outcome[Any] = outcome.Error(WorkerDied("the workers are closed"))

    def cancel_later(self, seconds: float) -> None:
        """Marks the job as no longer needed and cancels it after `seconds`."""
        self._sender.unwanted.add(self.scope)
        self.scope.deadline = trio.current_time() + seconds

    def end(self, seconds: float, discard: Callable[[Any], None]) -> None:
        self._sender.seconds += seconds
        if self.scope in self._sender.unwanted:
            self._sender.unwanted.remove(self.scope)
            if isinstance(self.answer, outcome.Value):
                discard(self.answer.value)
        self.ended.set()


class Pool:
    """A `Compute` with workers that an engine adds and removes."""

    def __init__(
        self, nursery: trio.Nursery, handle: type[Any], clear: Callable[[str], Awaitable[object]]
    ) -> None:
        """`handle` is the engine's type of handles to kept values; `clear` removes the kept values of a
        session."""
        self.handle = handle
        self._nursery = nursery
        self._clear = clear
        self._workers: list[Worker] = []
        self._idle: deque[Worker] = deque()
        self._queue = JobQueue()
        self._busy = 0
        self._restarts = 0
        self._sessions = 0
        self._scratch_full = False
        self._sessions_by_node: Counter[str] = Counter()  # number of sessions whose values are on each node

    @asynccontextmanager
    async def session(self, name: str, priority: Priority, grace: GracePeriod) -> AsyncIterator[PoolSession]:
        self._sessions += 1
        sender = Sender(self._sessions, priority, grace)
        try:
            yield PoolSession(self, name, sender)
        finally:
            if sender.node is not None:
                self._sessions_by_node[sender.node] -= 1
            if sender.may_keep:
                with trio.CancelScope(shield=True):
                    await self._clear(name)

    def statistics(self) -> dict[str, Any]:
        """As `Compute.statistics`, with the workers' `pids`."""
        return {
            "workers": self._busy + len(self._idle),
            "busy": self._busy,
            "queued": len(self._queue),
            "waiting": self._queue.senders,
            "restarts": self._restarts,
            "scratchFull": self._scratch_full,
            "pids": [worker.pid for worker in self._workers if worker.pid is not None],
        }

    async def start(self, workers: list[Worker]) -> None:
        """Warms the first workers concurrently. Raises `RuntimeError` if one fails."""
        self._workers.extend(workers)
        try:
            async with trio.open_nursery() as nursery:
                for worker in workers:
                    nursery.start_soon(self._warm, worker, name=f"warm {worker!r}")
        except ExceptionGroup as group:
            raise RuntimeError(f"workers do not warm up: {group.exceptions[0]!r}") from group

    def add(self, worker: Worker) -> None:
        """Adds a worker and warms it in the background."""
        self._workers.append(worker)
        self._nursery.start_soon(self._warm_again, worker, name=f"warm {worker!r}")

    def remove(self, worker: Worker) -> None:
        """Removes a worker: it gets no further job. A job that it runs is not interrupted."""
        self._workers.remove(worker)
        worker.pid = None
        if worker in self._idle:
            self._idle.remove(worker)

    async def submit(
        self, sender: Sender, kept: bool, work: Callable[[Worker], Awaitable[Any]], *, early: bool = False
    ) -> Any:
        """Queues a job and returns its answer: `work` is called with the worker that the job was granted.

        A worker that is lost is replaced in the background.
        """
        sender.may_keep = sender.may_keep or kept
        job = self._queue.add(sender, kept=kept, early=early)
        self._grant()
        try:
            await job.granted.wait()
        except trio.Cancelled:
            if job.worker is None:
                self._queue.discard(sender, job)
            else:  # the job was granted a worker at the moment of the cancellation
                self._free(job.worker)
            raise
        assert job.worker is not None
        running = _RunningJob(sender)
        self._nursery.start_soon(self._run_job, running, job.worker, kept, work)
        try:
            await running.ended.wait()
        except trio.Cancelled:
            seconds = sender.grace()
            running.cancel_later(seconds)
            if seconds <= 0:
                with trio.CancelScope(shield=True):
                    await running.ended.wait()
            raise
        try:
            return running.answer.unwrap()
        finally:
            del running  # an error's traceback has this frame

    async def _run_job(
        self, running: _RunningJob, worker: Worker, kept: bool, work: Callable[[Worker], Awaitable[Any]]
    ) -> None:
        """Runs a job in its own task, because it may run longer than the call that submitted it."""
        started = trio.current_time()
        worker_lost = True
        try:
            with running.scope:
                value = await work(worker)
                running.answer = outcome.Value(value)
                worker_lost = False
                if isinstance(value, self.handle):
                    self._scratch_full = False
        except WorkerDied as error:
            running.answer = outcome.Error(error)
        except Exception as error:  # noqa: BLE001 - the function's exception, raised in the caller
            running.answer = outcome.Error(error)
            self._scratch_full = self._scratch_full or isinstance(error, ScratchFull)
            worker_lost = False
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - would end the server, here and in the caller
            running.answer = outcome.Error(FunctionFailed(repr(error)))
            worker_lost = False
        finally:
            running.end(trio.current_time() - started, worker.discard)
            del running  # as above
            if worker_lost:
                self._replace(worker)
            elif kept and self._queue:
                self._nursery.start_soon(self._free_after_delay, worker, name=f"free {worker!r}")
            else:
                self._free(worker)

    async def _free_after_delay(self, worker: Worker) -> None:
        await trio.sleep(FREE_DELAY_SECONDS)
        self._free(worker)

    def _grant(self) -> None:
        while self._idle and (job := self._queue.pop(self._preference())):
            worker = self._choose(job.sender)
            self._idle.remove(worker)
            self._busy += 1
            job.worker = worker
            job.granted.set()

    def _preference(self) -> Callable[[Sender], bool] | None:
        """A preference for senders whose values are on a node with an idle worker, or on no node; None with
        fewer than two nodes. If no sender is preferred, an idle worker runs a job whose values are on another
        node."""
        nodes = {worker.node for worker in self._workers}
        if len(nodes) < 2:
            return None
        idle = {worker.node for worker in self._idle}
        return lambda sender: sender.node in idle or sender.node not in nodes

    def _choose(self, sender: Sender) -> Worker:
        """An idle worker, if possible on the sender's node. A sender whose node is gone, or that has none
        yet, gets the node with the fewest sessions per worker."""
        workers = Counter(worker.node for worker in self._workers)
        if sender.node not in workers:
            idle = {worker.node for worker in self._idle}
            sender.node = min(idle, key=lambda node: self._sessions_by_node[node] / workers[node])
            self._sessions_by_node[sender.node] += 1
        return next((worker for worker in self._idle if worker.node == sender.node), self._idle[0])

    def _free(self, worker: Worker) -> None:
        if worker in self._workers and worker.pid is None:  # its process ended beside the job
            self._replace(worker)
            return
        self._busy -= 1
        if worker in self._workers:  # else it was removed while it was busy
            self._idle.appendleft(worker)
            self._grant()

    def _replace(self, worker: Worker) -> None:
        self._busy -= 1
        self._restarts += 1
        log.info("worker replaced", pid=worker.pid, restarts=self._restarts)
        worker.pid = None
        if worker in self._workers:
            self._nursery.start_soon(self._warm_again, worker, name=f"warm {worker!r}")

    async def _warm_again(self, worker: Worker) -> None:
        for pause in WARM_PAUSE:
            if worker not in self._workers:
                return
            try:
                await self._warm(worker)
                return
            except Exception as error:  # noqa: BLE001 - whatever warming raises, the pool must get its worker back
                log.error("worker does not warm up", error=repr(error), pause=pause)
                await trio.sleep(pause)

    async def _warm(self, worker: Worker) -> None:
        pid = await worker.warm()
        if worker not in self._workers:  # removed while it was warming
            return
        worker.pid = pid
        self._idle.append(worker)
        self._grant()
        self._nursery.start_soon(self._watch, worker, pid, name=f"watch {worker!r}")

    async def _watch(self, worker: Worker, pid: int) -> None:
        """Replaces a worker that is killed while idle, so that no job is delayed by it."""
        if not await worker.wait_gone(pid) or worker.pid != pid:  # undetermined, or replaced already
            return
        if worker in self._idle:
            self._idle.remove(worker)
            self._busy += 1  # until `_replace` takes it back
            self._replace(worker)
        else:
            worker.pid = None


class PoolSession:
    """The jobs of one session: a `SessionCompute`."""

    def __init__(self, pool: Pool, name: str, sender: Sender) -> None:
        self._pool, self._name, self._sender = pool, name, sender

    @property
    def seconds(self) -> float:
        return self._sender.seconds

    def stop(self) -> None:
        for scope in self._sender.unwanted:
            scope.cancel()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._pool.submit(self._sender, False, lambda worker: worker.run(function, arguments))

    async def fetch(self, value: Any) -> Any:
        return await self.run(identity, value) if isinstance(value, self._pool.handle) else value

    async def keep(self, function: Callable[..., Any], *arguments: Any, early: bool = False) -> Any:
        return await self._pool.submit(
            self._sender, True, lambda worker: worker.keep(self._name, function, arguments), early=early
        )
