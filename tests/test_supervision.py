"""A long-lived task goes on after an exception, which is logged and counted."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing
from prometheus_client import CollectorRegistry

from pinactors.supervision import Supervision


async def test_an_iterations_exception_is_logged_and_counted_and_the_next_one_runs(
    error_logs: Any, autojump_clock: trio.testing.MockClock
) -> None:
    registry = CollectorRegistry()
    runs: list[float] = []

    async def step() -> None:
        runs.append(trio.current_time())
        if len(runs) < 3:
            async with trio.open_nursery() as nursery:  # what a step starts fails as a group  # noqa: ASYNC112
                nursery.start_soon(fail)
        await trio.lowlevel.checkpoint()

    async def fail() -> None:
        raise RuntimeError("nobody foresaw this")

    began = trio.current_time()
    with trio.move_on_after(35):
        await Supervision(registry).repeat("sweep", step, lambda: 10.0)
    assert [round(at - began) for at in runs] == [0, 10, 20, 30]
    assert registry.get_sample_value("pinactors_task_failures_total", {"task": "sweep"}) == 2
    for _ in range(2):
        assert error_logs.take("iteration failed")["task"] == "sweep"


async def test_cancellation_ends_it() -> None:
    with trio.move_on_after(0.01) as scope:
        await Supervision(CollectorRegistry()).repeat("wait", trio.sleep_forever, lambda: 0.0)
    assert scope.cancelled_caught


async def test_a_task_has_the_name_under_which_its_failures_are_counted() -> None:
    async with trio.open_nursery() as nursery:
        Supervision(CollectorRegistry()).start(nursery, "sweep", trio.sleep_forever)
        assert [task.name for task in nursery.child_tasks] == ["sweep"]
        nursery.cancel_scope.cancel()
