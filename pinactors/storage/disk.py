"""Blocking file operations, in order, on one thread at a time: the event loop never waits for a disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import outcome
import structlog
import trio

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH_OPERATIONS = 100
"""Operations that share one thread call: a slow disk holds up at most so many before their callers go on."""


class Disk(Protocol):
    """Where operations run; `DiskThread` is one, tests have others."""

    async def run(self, operation: Callable[[], T]) -> T:
        """What `operation` returns or raises. Operations run in the order in which they came."""
        ...


class DiskThread:
    """Operations that wait at the same moment share one thread call: a change of threads costs more than most
    of them. `serve` has to run as long as operations come, also those of tasks that are being cancelled: only
    `close` ends it.

    Bounded by its callers: each waits until its operation is done.
    """

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[_Operation](0)
        self._limiter = trio.CapacityLimiter(1)
        self._serving = trio.CancelScope(shield=True)

    async def run(self, operation: Callable[[], T]) -> T:
        """Cancelled before its turn, the operation does not happen; after that, it does."""
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
                except (
                    RuntimeError
                ) as error:  # no thread can be started: their callers get it, the next may go
                    log.error("disk operations not run", error=repr(error), count=len(batch))
                finally:
                    for each in batch:
                        each.done.set()

    def close(self) -> None:
        """No operation comes any more."""
        self._serving.cancel()


class _Operation:
    """`answer` counts once it is `done`."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.answer: outcome.Outcome[Any] = outcome.Error(OSError("no thread ran it"))
        self.done = trio.Event()


def _run_all(batch: list[_Operation]) -> None:
    for each in batch:
        each.answer = outcome.capture(each.function)
