"""Waiting by polling, for conditions in other processes and files, which cannot wake a test, and a stopwatch
for assertions that something does not take long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio


async def until(condition: Callable[[], object]) -> None:
    """Returns when `condition()` is true. The caller's cancel scope limits the time."""
    while not condition():  # noqa: ASYNC110 - no event to wait for
        await trio.sleep(0.005)


STEP_SECONDS = 0.05


class Stopwatch:
    """The seconds in which this process could run, in steps of `STEP_SECONDS`: at most the time that has
    passed, and less on a machine that is busy or that stops the process for a while. A test that asserts that
    `seconds` is below a bound thus fails on no machine only because that machine is slow."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def run(self) -> None:
        while True:
            await trio.sleep(STEP_SECONDS)
            self.seconds += STEP_SECONDS


@asynccontextmanager
async def stopwatch() -> AsyncIterator[Stopwatch]:
    """A stopwatch that runs inside the block."""
    watch = Stopwatch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        yield watch
        nursery.cancel_scope.cancel()
