"""Who holds the event loop up: every step of every task, timed."""

from __future__ import annotations

import time

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
