"""Full garbage collections while no session is under way. With 60 open sessions a full collection blocks the
event loop for 40 to 80 ms and frees next to nothing: requests and sessions leave no reference cycles of their
own, only some libraries leave a few small objects.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

PARTIAL_COLLECTIONS = 1000
"""Collections of the younger objects after which a full one follows at once, for a server that is never idle:
a quarter of an hour at three uploads a second. With a value of 100, a full collection ran while 90 uploads
were being received, at four times the server's capacity, and blocked the event loop for 0.1 s."""


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
