"""Prometheus metrics of the pipeline, and a measurement of task steps that delay the event loop."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog
import trio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from pinactors import __version__
from pinactors.protocol import REFUSAL_STATUSES
from pinactors.supervision import Supervision

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 75.0, 90.0)
STALL_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


COUNTED_STALL_SECONDS = 0.005
"""Seconds from which a step enters the histogram: a result is to reach the socket within 5 ms."""

LOGGED_STALL_SECONDS = 0.05
"""Seconds from which a step is logged with the name of its task."""

log = structlog.get_logger(__name__)


def add_build_info(registry: CollectorRegistry) -> None:
    """Adds `pinactors_build_info`: a constant 1 with the versions of the program and of Python as labels."""
    build = Info("pinactors_build", "Version of the program and of Python", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})


class Metrics:
    """The pipeline's metrics, in the caller's Prometheus registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        add_build_info(registry)
        self.supervision = Supervision(registry)
        self.sessions = Counter(
            "pinactors_sessions", "Sessions ended, by how", ["outcome"], registry=registry
        )
        self.session_seconds = Histogram(
            "pinactors_session_seconds",
            "From first work to the end",
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.components = Counter(
            "pinactors_components", "Components ended, by how", ["component", "outcome"], registry=registry
        )
        self.component_seconds = Histogram(
            "pinactors_component_seconds",
            "From a component's start to its result",
            ["component"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.step_seconds = Histogram(
            "pinactors_shared_step_seconds",
            "A shared step, its wait for a worker included",
            ["step"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.worker_deaths = Counter(
            "pinactors_worker_deaths", "Workers that died at a piece of work", ["work"], registry=registry
        )
        self.breaker_trips = Counter(
            "pinactors_breaker_trips", "Components sent straight to basic", ["component"], registry=registry
        )
        self.refused = Counter("pinactors_refused", "Uploads refused, by why", ["reason"], registry=registry)
        for status in REFUSAL_STATUSES:
            self.refused.labels(str(status))
        self.joined = Counter("pinactors_joined", "Uploads answered by an earlier session", registry=registry)
        self.journal_failures = Counter(
            "pinactors_journal_failures", "Sessions that went on without a stored log", registry=registry
        )
        self.record_retries = Counter(
            "pinactors_record_retries", "Attempts to store a record that failed", registry=registry
        )
        self.stalls = Histogram(
            "pinactors_loop_stall_seconds",
            "Steps of the event loop that held everything else up",
            buckets=STALL_BUCKETS,
            registry=registry,
        )
        self.longest_stall = Gauge(
            "pinactors_loop_longest_stall_seconds", "The longest of them", registry=registry
        )

    def expect(self, works: Iterable[str], breakers: Iterable[str]) -> None:
        """Sets the counters of these names to 0. Prometheus' `increase` of a counter that first appears as 1
        is 0, so that an alarm would miss the first event."""
        for name in works:
            self.worker_deaths.labels(name)
        for name in breakers:
            self.breaker_trips.labels(name)

    def watch(self, statistics: Callable[[], dict[str, Any]]) -> None:
        """Adds gauges that read the session registry's `statistics()` whenever they are scraped."""
        for name, text in (
            ("sessions", "Sessions under way"),
            ("finished", "Finished sessions kept in memory"),
            ("outbox", "Analyses that wait for the database"),
        ):
            self._gauge(f"pinactors_live_{name}", text, partial(_read, statistics, name))
        for name, text in (
            ("workers", "Worker processes ready or busy"),
            ("busy", "Worker processes at work"),
            ("queued", "Jobs that wait for a worker"),
            ("waiting", "Sessions whose jobs wait for a worker"),
            ("restarts", "Worker processes replaced so far"),
        ):
            self._gauge(
                f"pinactors_compute_{name}", text, partial(_read, lambda: statistics()["compute"], name)
            )

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(read)


def _read(statistics: Callable[[], dict[str, Any]], name: str) -> float:
    return float(statistics().get(name, 0))


class StallInstrument(trio.abc.Instrument):
    """A trio instrument that measures each task step, from the end of the previous step or of the loop's wait
    for events. It costs one clock reading per step."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._since = time.perf_counter()
        self.longest = 0.0

    def after_io_wait(self, timeout: float) -> None:
        self._since = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        now = time.perf_counter()
        elapsed, self._since = now - self._since, now
        if elapsed < COUNTED_STALL_SECONDS:
            return
        self._metrics.stalls.observe(elapsed)
        if elapsed > self.longest:
            self.longest = elapsed
            self._metrics.longest_stall.set(elapsed)
        if elapsed >= LOGGED_STALL_SECONDS:
            log.warning("event loop held up", task=task.name, milliseconds=round(1000 * elapsed))
