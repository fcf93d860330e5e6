"""Calls that wait for a thread at the same moment share the next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import outcome
import trio

MOST = 100
"""Calls that share one thread, and where they write one transaction: some tens of milliseconds of it."""


class _Call:
    """Its `task` sleeps until it has its `answer`, or has to lead."""

    __slots__ = ("answer", "function", "task")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.task = trio.lowlevel.current_task()
        self.answer: outcome.Outcome[Any] | None = None


class Sharing:
    """Runs functions with `run`, which takes several and returns their outcomes, on one of `threads` threads.

    A call that finds no thread free waits with the others; whoever is first among them when one is leads them
    all. On a busy server that is one commit for many records, and one change of threads instead of many.
    """

    def __init__(
        self, run: Callable[[Sequence[Callable[..., Any]]], list[outcome.Outcome[Any]]], threads: int
    ) -> None:
        self._run = run
        self._limiter = trio.CapacityLimiter(threads)
        self._free = threads
        self._waiting: deque[_Call] = deque()

    async def call(self, function: Callable[..., Any]) -> Any:
        """Once begun it is brought to its end, cancelled or not: what was asked for is done or not, never
        unknown."""
        await trio.lowlevel.checkpoint_if_cancelled()
        call = _Call(function)
        if self._free:
            self._free -= 1
        else:
            self._waiting.append(call)

            def abort(_: object) -> trio.lowlevel.Abort:
                if call not in self._waiting:  # it has begun
                    return trio.lowlevel.Abort.FAILED
                self._waiting.remove(call)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        if call.answer is None:
            await self._lead(call)
        assert call.answer is not None
        return call.answer.unwrap()

    async def _lead(self, leader: _Call) -> None:
        calls = [leader, *(self._waiting.popleft() for _ in range(min(MOST, len(self._waiting))))]
        answers: list[outcome.Outcome[Any]] = [outcome.Error(RuntimeError("no thread ran it")) for _ in calls]
        try:
            with trio.CancelScope(shield=True):
                functions = [call.function for call in calls]
                answers = await trio.to_thread.run_sync(self._run, functions, limiter=self._limiter)
        finally:
            for call, answer in zip(calls, answers, strict=True):
                call.answer = answer
                if call is not leader:
                    trio.lowlevel.reschedule(call.task)
            if self._waiting:
                trio.lowlevel.reschedule(self._waiting.popleft().task)
            else:
                self._free += 1
