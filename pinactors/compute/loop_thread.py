"""A trio loop on its own thread, for async functions of components and steps: a function that blocks blocks
only this loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import outcome
import structlog
import trio

CLOSE_SECONDS = 1.0
"""How long closing waits for the loop to end; a blocked loop is then abandoned with its thread."""

log = structlog.get_logger(__name__)


class LoopThread:
    """Runs async functions for tasks of another loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._ended = trio.Event()

    def __repr__(self) -> str:
        return f"<LoopThread {self._name}>"

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns `await function(*arguments)`, run in the thread's loop. Cancellation cancels the function
        without waiting for its end, because it may be blocked. Raises the function's exceptions, and
        `RuntimeError` if the loop has ended."""
        call = _Call(partial(function, *arguments), trio.lowlevel.current_trio_token())
        self._send(partial(self._begin, call))
        try:
            await call.done.wait()
        except trio.Cancelled:
            with suppress(RuntimeError):
                self._send(call.scope.cancel)
            raise
        return call.answer.unwrap()

    async def thread(self, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - `start` calls it
        """Runs the thread until its loop ends, or until cancelled, which abandons a blocked loop."""
        started = partial(trio.lowlevel.current_trio_token().run_sync_soon, task_status.started)
        try:
            await trio.to_thread.run_sync(
                trio.run,
                self._loop,
                started,
                limiter=trio.CapacityLimiter(1),
                abandon_on_cancel=True,
                thread_name=self._name,
            )
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - the boundary of code from other packages
            log.error("loop ended", loop=self._name, error=repr(error))
        finally:
            self._ended.set()

    async def close(self) -> None:
        """Cancels all functions in the loop; returns when the loop has ended, or after `CLOSE_SECONDS`."""
        with suppress(RuntimeError):
            self._send(self._stop)
        with trio.move_on_after(CLOSE_SECONDS, shield=True) as close_scope:
            await self._ended.wait()
        if close_scope.cancelled_caught:
            log.warning("loop is blocked and was abandoned", loop=self._name)

    async def _loop(self, ready: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            self._token, self._nursery = trio.lowlevel.current_trio_token(), nursery
            ready()
            await trio.sleep_forever()

    def _begin(self, call: _Call) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(call.run, name=self._name)

    def _stop(self) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    def _send(self, function: Callable[[], None]) -> None:
        assert self._token is not None
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            raise RuntimeError(f"{self!r} has ended") from None


class _Call:
    """One call of a function. `answer` is valid when `done` is set; `scope` belongs to the thread's loop."""

    def __init__(self, function: Callable[[], Any], caller: trio.lowlevel.TrioToken) -> None:
        self._function, self._caller = function, caller
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.answer: outcome.Outcome[Any] = outcome.Error(RuntimeError("cancelled"))

    async def run(self) -> None:
        """Raises nothing, whatever the function raises: an exception would end the loop and all its calls.

        Also catches what `scope` leaves of an exception group after a cancellation. No `trio.Cancelled` is
        needed outside: only the end of the loop cancels this task from there, and the task ends here.
        """
        try:
            with self.scope:
                self.answer = outcome.Value(await self._function())
        except Exception as error:  # noqa: BLE001 - the function's exception, raised in the caller
            self.answer = outcome.Error(error)
        except BaseException as error:  # noqa: ASYNC103, BLE001 - would end the caller's session or server
            self.answer = outcome.Error(RuntimeError(repr(error)))
        finally:
            with suppress(trio.RunFinishedError):
                self._caller.run_sync_soon(self.done.set)


@asynccontextmanager
async def open_loop_thread(name: str) -> AsyncIterator[LoopThread]:
    loop = LoopThread(name)
    async with trio.open_nursery() as nursery:
        await nursery.start(loop.thread)
        try:
            yield loop
        finally:
            await loop.close()  # noqa: ASYNC102 - shields itself, for seconds at most
            nursery.cancel_scope.cancel()
