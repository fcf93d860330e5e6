"""Full garbage collections while no session is under way. One holds the event loop up for 40 to 80 ms if 60
sessions are open, and finds next to nothing: requests and sessions leave no reference cycles of their own,
only some libraries leave a few small objects.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

PARTIAL_COLLECTIONS = 1000
"""Collections of the younger objects after which a full one follows at once, for a server that is never idle:
a quarter of an hour at three uploads a second. With 100 it came amid 90 uploads at four times the capacity,
and held the event loop up for 0.1 s."""


DUE_COLLECTIONS = 10
"""Collections of the younger objects after which a full one is due: Python's own threshold."""


@contextmanager
def full_collections_postponed() -> Iterator[None]:
    """Postpones full collections while inside; `collect_if_idle` is to be called meanwhile."""
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], PARTIAL_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def collect_if_idle(sessions: Callable[[], int]) -> None:
    """Runs a full collection if `sessions` returns 0 and one is due."""
    await trio.lowlevel.checkpoint()
    if not sessions() and gc.get_count()[2] >= DUE_COLLECTIONS:
        gc.collect()
