"""Supervision of long-lived tasks: they continue after an exception in one of their iterations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio
from prometheus_client import CollectorRegistry, Counter

from pinactors.backoff import Backoff

FAILURE_PAUSES = Backoff(0.1, 5.0)
"""Least pauses after consecutive failures, so that a step that fails at once does not occupy a core."""

log = structlog.get_logger(__name__)


class Supervision:
    """Repeats the steps of long-lived tasks. An exception in one iteration is logged and counted
    (`pinactors_task_failures_total`, by task), and the next iteration follows."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Registers the counter in `registry`, if there is one."""
        self._failures = Counter(
            "pinactors_task_failures",
            "Iterations of long-lived tasks that ended with an exception",
            ["task"],
            registry=registry,
        )

    def start(
        self,
        nursery: trio.Nursery,
        task: str,
        step: Callable[[], Awaitable[None]],
        pause: Callable[[], float] | float = 0.0,
    ) -> None:
        """Starts `repeat` as a task of that name, which the log shows if the task blocks the event loop."""
        nursery.start_soon(self.repeat, task, step, pause, name=task)

    async def repeat(
        self, task: str, step: Callable[[], Awaitable[None]], pause: Callable[[], float] | float = 0.0
    ) -> None:
        """Runs `step` repeatedly, with `pause` seconds in between, after a failure at least those of
        `FAILURE_PAUSES`. Ends only by cancellation."""
        failures = 0
        while True:
            failures = 0 if await self.once(task, step) else failures + 1
            seconds = pause if isinstance(pause, float) else pause()
            await trio.sleep(max(seconds, FAILURE_PAUSES.after(failures - 1) if failures else 0.0))

    async def once(self, task: str, step: Callable[[], Awaitable[None]]) -> bool:
        """Runs `step` and logs its exception. Returns False if there was one."""
        try:
            await step()
        except Exception as error:
            # The boundary of a task: an unexpected exception in one iteration must not end the later ones.
            self._failures.labels(task).inc()
            log.error("iteration failed", task=task, exc_info=error)
            return False
        return True
