"""Runs blocking file operations in order, on one thread, so that the event loop never waits for a disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import outcome
import structlog
import trio

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH_OPERATIONS = 100
"""Operations that share one thread call, at most: their callers wait until all of them are done."""


class Disk(Protocol):
    """Runs file operations; `DiskThread` is the implementation, and tests have others."""

    async def run(self, operation: Callable[[], T]) -> T:
        """Returns or raises what `operation` does. Operations run in the order of the calls."""
        ...


class DiskThread:
    """A `Disk` on a worker thread.

    Operations that wait at the same moment share one thread call, because a change of threads costs more than
    most operations. `serve` has to run while there are callers, and tasks that are being cancelled may call
    too: only `close` ends it.

    The queue needs no bound of its own: each caller waits until its operation is done.
    """

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[_Operation](0)
        self._limiter = trio.CapacityLimiter(1)
        self._serving = trio.CancelScope(shield=True)

    async def run(self, operation: Callable[[], T]) -> T:
        """If the caller is cancelled before the operation starts, the operation does not run; later, it runs
        to its end."""
        waiting = _Operation(operation)
        await self._sender.send(waiting)
        with trio.CancelScope(shield=True):
            await waiting.done.wait()
        value: T = waiting.answer.unwrap()
        return value

    async def serve(self) -> None:
        """Runs operations until `close`."""
        with self._serving:
            while True:
                batch = [await self._receiver.receive()]
                while len(batch) < BATCH_OPERATIONS and self._receiver.statistics().tasks_waiting_send:
                    batch.append(self._receiver.receive_nowait())
                try:
                    await trio.to_thread.run_sync(_run_all, batch, limiter=self._limiter)
                except RuntimeError as error:
                    # No thread can be started. The callers of this batch get an error; later batches may run.
                    log.error("disk operations not run", error=repr(error), count=len(batch))
                finally:
                    for operation in batch:
                        operation.done.set()

    def close(self) -> None:
        """Ends `serve`. To be called when no more operations come."""
        self._serving.cancel()


class _Operation:
    """A function to run; `answer` is its outcome and is valid when `done` is set."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.answer: outcome.Outcome[Any] = outcome.Error(OSError("no thread ran it"))
        self.done = trio.Event()


def _run_all(batch: list[_Operation]) -> None:
    for operation in batch:
        operation.answer = outcome.capture(operation.function)
