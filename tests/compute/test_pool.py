"""The pool's rules for added and removed workers, tested without processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from pinactors.compute import Handle, ScratchFull
from pinactors.compute.job import FunctionFailed, identity
from pinactors.compute.pool import Pool

TIMEOUT = 120


class Place:
    """A fake worker: it is warm once `allowed` is set, and returns its node with each result."""

    def __init__(self, node: str) -> None:
        self.node, self.pid = node, None
        self.allowed = trio.Event()
        self.asked = trio.Event()

    async def warm(self) -> int:
        self.asked.set()
        await self.allowed.wait()
        return 1

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        await trio.lowlevel.checkpoint()
        return self.node, function(*arguments)

    async def keep(self, session: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return await self.run(function, arguments)

    async def wait_gone(self, pid: int) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    def discard(self, kept: Any) -> None:
        """Does nothing: this worker keeps no values."""


class Scripted(Place):
    """A fake worker that is warm at once and whose jobs are async functions."""

    def __init__(self) -> None:
        super().__init__("")
        self.allowed.set()

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return await function(*arguments)


class Mortal(Scripted):
    """Its process ends when `dead` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.dead = trio.Event()

    async def wait_gone(self, pid: int) -> bool:
        await self.dead.wait()
        return True


async def cleared(session: str) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_worker_removed_while_it_warms_gets_no_job() -> None:
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            pool = Pool(nursery, Place, cleared)
            gone, there = Place("gone"), Place("there")
            pool.add(gone)
            await gone.asked.wait()
            pool.remove(gone)
            gone.allowed.set()
            await trio.testing.wait_all_tasks_blocked()
            assert pool.statistics()["workers"] == 0
            there.allowed.set()
            pool.add(there)
            async with pool.session("s", lambda: (0.0,), lambda: 0.0) as compute:
                assert await compute.run(identity, 7) == ("there", 7)


async def cancelled_by_asyncio() -> None:
    await trio.lowlevel.checkpoint()
    raise asyncio.CancelledError("unpickling it")


async def full() -> None:
    await trio.lowlevel.checkpoint()
    raise ScratchFull("No space left on device")


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


async def value() -> Handle:
    await trio.lowlevel.checkpoint()
    return Handle("/scratch/1")


async def test_an_exception_that_is_no_subclass_of_exception_ends_only_its_job() -> None:
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            pool = Pool(nursery, Handle, cleared)
            pool.add(Scripted())
            async with pool.session("s", lambda: (0.0,), lambda: 0.0) as compute:
                with pytest.raises(FunctionFailed, match="unpickling it"):
                    await compute.run(cancelled_by_asyncio)
                assert await compute.run(nothing) is None
            assert pool.statistics()["restarts"] == 0


async def test_a_process_that_ends_after_its_answer_is_counted_and_replaced() -> None:
    worker = Mortal()

    async def last_job() -> str:
        worker.dead.set()
        await trio.testing.wait_all_tasks_blocked()
        worker.dead = trio.Event()  # of its next process
        return "answered"

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            pool = Pool(nursery, Handle, cleared)
            pool.add(worker)
            async with pool.session("s", lambda: (0.0,), lambda: 0.0) as compute:
                assert await compute.run(last_job) == "answered"
                assert pool.statistics()["restarts"] == 1
                assert await compute.run(nothing) is None
            assert pool.statistics()["restarts"] == 1
            nursery.cancel_scope.cancel()


async def test_a_full_disk_is_said_until_a_value_is_kept() -> None:
    """Not until a job ends whose value is not on the disk: one that was cancelled, or has no value."""
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            pool = Pool(nursery, Handle, cleared)
            pool.add(Scripted())
            async with pool.session("s", lambda: (0.0,), lambda: 0.0) as compute:
                with pytest.raises(ScratchFull):
                    await compute.keep(full)
                await compute.keep(nothing)
                assert pool.statistics()["scratchFull"]
                async with trio.open_nursery() as given_up:
                    given_up.start_soon(compute.keep, trio.sleep_forever)
                    await trio.testing.wait_all_tasks_blocked()
                    given_up.cancel_scope.cancel()
                assert pool.statistics()["scratchFull"]
                await compute.keep(value)
                assert not pool.statistics()["scratchFull"]
