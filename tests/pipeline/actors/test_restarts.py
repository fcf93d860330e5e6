from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from pinactors.compute import WorkerDied
from pinactors.pipeline.actors.restarts import Restarts


async def die() -> None:
    await trio.lowlevel.checkpoint()
    raise WorkerDied("always")


async def test_backoff_doubles(autojump_clock: MockClock) -> None:
    noticed: list[float] = []
    restarts = Restarts(3, 1.0, lambda _, error: noticed.append(trio.current_time()))

    with trio.fail_after(100), pytest.raises(WorkerDied):
        await restarts.repeat("work", die)
    assert noticed == [0.0, 1.0, 3.0, 7.0]


async def test_each_piece_of_work_has_repeats_of_its_own(autojump_clock: MockClock) -> None:
    died: list[str] = []
    restarts = Restarts(1, 1.0, lambda name, _: died.append(name))

    with trio.fail_after(100):
        for name in ("one", "other", "one"):
            with pytest.raises(WorkerDied):
                await restarts.repeat(name, die)
    assert died == ["one", "one", "other", "other", "one"]  # the second "one" has no repeats left
