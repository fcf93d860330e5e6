"""The pool's rules for added and removed workers, tested without processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
import trio.testing

from pinactors.compute.local.worker import identity
from pinactors.compute.pool import Pool

TIMEOUT = 5


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
