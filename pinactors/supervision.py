"""Long-lived tasks that survive what goes wrong in one of their iterations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio
from prometheus_client import CollectorRegistry, Counter

log = structlog.get_logger(__name__)


class Supervision:
    """Repeats the steps of long-lived tasks. An exception of one iteration is logged and counted
    (`pinactors_task_failures_total`, by task), and the next iteration comes all the same."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._failures = Counter(
            "pinactors_task_failures",
            "Iterations of long-lived tasks that ended with an exception",
            ["task"],
            registry=registry,
        )

    async def repeat(
        self, task: str, step: Callable[[], Awaitable[None]], pause: Callable[[], float]
    ) -> None:
        """Runs `step` for ever, with `pause()` seconds in between. Ends by cancellation only."""
        while True:
            await self.once(task, step)
            await trio.sleep(pause())

    async def once(self, task: str, step: Callable[[], Awaitable[None]]) -> None:
        """Runs `step`, whatever it raises."""
        try:
            await step()
        except Exception as error:
            # A task's boundary: what nobody foresaw in one iteration must not end all that come after it.
            self._failures.labels(task).inc()
            log.error("iteration failed", task=task, exc_info=error)
