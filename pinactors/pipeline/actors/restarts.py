"""When work is repeated: after its worker died, with pauses, a few times."""

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
    """How often each piece of a session's work is repeated after its worker died, and how long it waits
    before.
    """

    def __init__(self, limit: int, first_pause: float, noticed: Callable[[str, WorkerDied], None]) -> None:
        self._limit = limit
        self._pauses = Backoff(first_pause, LONGEST_PAUSE)
        self._noticed = noticed
        self._deaths: dict[str, int] = {}

    async def repeat(
        self, name: str, work: Callable[..., Awaitable[T]], *arguments: Any, span: Span = NO_SPAN
    ) -> T:
        """`await work(*arguments)`, again after its worker died. What else it raises is final. Each attempt,
        with its wait for a worker, is a child of `span`."""
        while True:
            try:
                with span.child("job", work=name):
                    return await work(*arguments)
            except WorkerDied as error:
                self._noticed(name, error)
                deaths = self._deaths.get(name, 0)
                if deaths >= self._limit:
                    raise
                self._deaths[name] = deaths + 1
                await trio.sleep(self._pauses.after(deaths))
