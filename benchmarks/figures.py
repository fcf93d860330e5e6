"""Computes figures from samples and from a server's metrics; describes this machine."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import psutil
import trio

SAMPLE_SECONDS = 0.5
"""Pause between two samples of a run under way."""

Percentiles = dict[str, float | int]


def percentiles(values: Iterable[float | None]) -> Percentiles | None:
    """The percentiles of the values that are not None; None if there are none."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    p50, p95, p99 = np.percentile(there, (50, 95, 99))
    return {"n": len(there), "p50": float(p50), "p95": float(p95), "p99": float(p99), "max": max(there)}


def percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent))


def total(metrics: str, name: str) -> float:
    """The sum of a metric over its labels; `metrics` is Prometheus' text format."""
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", metrics, re.M))


def bucket(metrics: str, name: str, step: str) -> float:
    """How many observations of a histogram were at most `step`."""
    found = re.search(rf'^{re.escape(name)}_bucket{{le="{re.escape(step)}"}} (\S+)$', metrics, re.M)
    return float(found[1]) if found else 0.0


@dataclass(slots=True)
class Usage:
    """CPU seconds and memory of a server and its child processes, by sampling. A process that has ended
    counts with its last sample."""

    cpu: dict[int, float] = field(default_factory=dict)
    peak_bytes: int = 0

    def sample(self, pid: int) -> None:
        try:
            root = psutil.Process(pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        resident = 0
        for process in tree:
            try:
                times = process.cpu_times()
                resident += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.cpu[process.pid] = times.user + times.system
        self.peak_bytes = max(self.peak_bytes, resident)

    @asynccontextmanager
    async def sampling(self, pid: int) -> AsyncIterator[None]:
        """Takes a sample every `SAMPLE_SECONDS` while inside, and one at the end."""

        async def sample() -> None:
            while True:
                self.sample(pid)
                await trio.sleep(SAMPLE_SECONDS)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample)
            yield
            self.sample(pid)
            nursery.cancel_scope.cancel()

    @property
    def seconds(self) -> float:
        return sum(self.cpu.values())


def machine() -> dict[str, Any]:
    names = ("trio", "quart", "hypercorn", "msgspec", "numpy", "opencv-python-headless")
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in names},
    }


def machine_seconds() -> float:
    """CPU seconds that all processes of this machine have used since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
