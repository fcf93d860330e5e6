"""Who holds the event loop up: every step of every task, timed."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import trio

from pinactors.pipeline.metrics import Metrics

NOTICED = 0.005
"""Seconds a step must take to enter the histogram: result to socket is to stay within 5 ms."""

REPORTED = 0.05
"""Seconds a step must take to be logged with its task's name."""

log = structlog.get_logger(__name__)


class Stalls(trio.abc.Instrument):
    """A trio instrument; costs a clock reading a step, which lasts since the one before it, or since the
    loop came back from waiting."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._since = time.perf_counter()
        self.longest = 0.0

    def after_io_wait(self, timeout: float) -> None:
        self._since = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        now = time.perf_counter()
        elapsed, self._since = now - self._since, now
        if elapsed < NOTICED:
            return
        self._metrics.stalls.observe(elapsed)
        if elapsed > self.longest:
            self.longest = elapsed
            self._metrics.longest_stall.set(elapsed)
        if elapsed >= REPORTED:
            log.warning("event loop held up", task=task.name, milliseconds=round(1000 * elapsed))


CALM = (10_000, 50, 100)
"""Thresholds under which a burst of 500 sessions (some 700 objects each) meets no full collection."""


@contextmanager
def calm_collector() -> Iterator[None]:
    """Keeps full garbage collections out of the way of packets; to be entered once everything is imported.

    With 500 open sessions one such collection held the loop up for 0.2 s (measured), and it finds nothing:
    a session leaves no reference cycles behind, which a test holds it to. What is imported is left out of
    all further collections; young objects are looked at less often, old ones hardly ever.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*CALM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
