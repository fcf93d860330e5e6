"""Repeats jobs whose worker died: a limited number of times, with pauses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from pinactors.backoff import Backoff
from pinactors.compute import WorkerDied
from pinactors.tracing import NO_SPAN, Span

T = TypeVar("T")

LONGEST_PAUSE = 60.0


class Restarts:
    """Counts the worker deaths of one session. Each of its jobs is repeated at most `limit` times, after a
    pause that begins with `first_pause` seconds and grows. `on_death` is called with each death.
    """

    def __init__(self, limit: int, first_pause: float, on_death: Callable[[str, WorkerDied], None]) -> None:
        self._limit = limit
        self._pauses = Backoff(first_pause, LONGEST_PAUSE)
        self._on_death = on_death
        self._deaths: dict[str, int] = {}

    async def repeat(
        self, name: str, work: Callable[..., Awaitable[T]], *arguments: Any, span: Span = NO_SPAN
    ) -> T:
        """Returns `await work(*arguments)`, and repeats it if its worker dies. Other exceptions are raised at
        once. Each attempt, including its wait for a worker, is a child of `span`."""
        while True:
            try:
                with span.child("job", work=name):
                    return await work(*arguments)
            except WorkerDied as error:
                self._on_death(name, error)
                deaths = self._deaths.get(name, 0)
                if deaths >= self._limit:
                    raise
                self._deaths[name] = deaths + 1
                await trio.sleep(self._pauses.after(deaths))
