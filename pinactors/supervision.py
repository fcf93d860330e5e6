"""Long-lived tasks that survive what goes wrong in one of their iterations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio
from prometheus_client import CollectorRegistry, Counter

from pinactors.backoff import Backoff

FAILURE_PAUSES = Backoff(0.1, 5.0)
"""Least pauses behind iterations that failed in a row: one that fails at once must not take all of a core."""

log = structlog.get_logger(__name__)


class Supervision:
    """Repeats the steps of long-lived tasks. An exception of one iteration is logged and counted
    (`pinactors_task_failures_total`, by task), and the next iteration comes all the same."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """`registry` has the count, where anybody is to see it."""
        self._failures = Counter(
            "pinactors_task_failures",
            "Iterations of long-lived tasks that ended with an exception",
            ["task"],
            registry=registry,
        )

    async def repeat(
        self, task: str, step: Callable[[], Awaitable[None]], pause: Callable[[], float] | float = 0.0
    ) -> None:
        """Runs `step` for ever, with `pause` seconds in between (after a failure at least as many as
        `FAILURE_PAUSES` says). Ends by cancellation only."""
        failures = 0
        while True:
            failures = 0 if await self.once(task, step) else failures + 1
            seconds = pause if isinstance(pause, float) else pause()
            await trio.sleep(max(seconds, FAILURE_PAUSES.after(failures - 1) if failures else 0.0))

    async def once(self, task: str, step: Callable[[], Awaitable[None]]) -> bool:
        """Runs `step`, whatever it raises; whether it raised nothing."""
        try:
            await step()
        except Exception as error:
            # A task's boundary: what nobody foresaw in one iteration must not end all that come after it.
            self._failures.labels(task).inc()
            log.error("iteration failed", task=task, exc_info=error)
            return False
        return True
