"""The visits of one design: the outcome of each arrival, and the figures of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Percentiles, bucket, percentiles, total
from benchmarks.links import limits
from benchmarks.load.arrivals import Arrival, Pin
from benchmarks.peers.start import OURS
from pinactors.client.transports import RESUMABLE_BYTES
from pinactors.pipeline.declaration import Analysis
from pinactors.simulation.profiles import Profile

TIMES = ("first", "authenticated", "completed")
STALL_STEPS = ("0.01", "0.05", "0.1")


@dataclass(slots=True)
class Visit:
    """The outcome of one arrival; times in seconds after its begin. `limit` is set for a phone whose
    connection was not cut."""

    arrival: Arrival
    first: float | None = None
    authenticated: float | None = None
    completed: float | None = None
    up_bytes: int = 0
    down_bytes: int = 0
    connections: int = 1
    degraded: bool = False
    error: str = ""
    limit: limits.Limit | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The arrivals, links and photographs that every design gets. Uploads of `resumable_bytes` or more are
    sent as resumable uploads."""

    links: Sequence[Profile]
    arrivals: Sequence[Arrival]
    data: Path
    pins: Sequence[Pin]
    costs: Sequence[limits.Costs]
    analysis: Analysis
    resumable_bytes: int = RESUMABLE_BYTES


def summary(
    visits: list[Visit],
    workload: Workload,
    analyses: int,
    usage: tuple[float, int],
    elapsed: float,
    metrics: str,
) -> dict[str, Any]:
    """One design's figures. Percentiles are of visits that completed; `lost` counts the others.

    `usage` is the server's CPU seconds and its largest resident bytes, workers included.
    """
    phones_ = [visit for visit in visits if visit.arrival.phone]
    complete = [visit for visit in visits if visit.completed is not None]
    cpu, peak = usage
    result: dict[str, Any] = {
        "sessions": len(visits),
        "complete": len(complete),
        "lost": len(visits) - len(complete),
        "errors": sorted({visit.error for visit in visits if visit.error})[:10],
        "cut": sum(visit.arrival.cut is not None for visit in visits),
        "analyses_beyond_one_each": analyses - len(visits),
        "degraded": sum(visit.degraded for visit in visits),
        "elapsed_seconds": elapsed,
        "up_bytes": sum(visit.up_bytes for visit in visits),
        "down_bytes": sum(visit.down_bytes for visit in visits),
        "connections": sum(visit.connections for visit in visits),
        "cpu_seconds_per_session": cpu / max(1, len(complete)),
        "peak_megabytes": peak / 1e6,
        "desktop_completed": percentiles(visit.completed for visit in visits if not visit.arrival.phone),
        "phones": {name: percentiles(getattr(visit, name) for visit in phones_) for name in TIMES},
        "times_over_limit": _over_limit(phones_),
        "links": {
            link.name: _over_limit([visit for visit in phones_ if visit.arrival.link == number])
            for number, link in enumerate(workload.links)
        },
        "first_after_upload": percentiles(
            visit.first - visit.limit.upload
            for visit in phones_
            if visit.first is not None and visit.limit is not None
        ),
        "visits": [_row(visit, workload) for visit in visits],
    }
    if metrics:
        result["refused"] = total(metrics, "pinactors_refused_total")
        result["longest_stall_seconds"] = total(metrics, "pinactors_loop_longest_stall_seconds")
        stalls = "pinactors_loop_stall_seconds"
        count = total(metrics, f"{stalls}_count")
        result["stalls_over"] = {step: count - bucket(metrics, stalls, step) for step in STALL_STEPS}
    return result


def _over_limit(visits: Sequence[Visit]) -> dict[str, Percentiles | None]:
    """Percentiles of measured time divided by the physical limit, for phones that were not cut off."""
    return {
        name: percentiles(
            value / getattr(visit.limit, name)
            for visit in visits
            if visit.limit is not None and (value := getattr(visit, name)) is not None
        )
        for name in TIMES
    }


def _row(visit: Visit, workload: Workload) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(visit, name) for name in TIMES}
    row["phone"], row["cut"] = visit.arrival.phone, visit.arrival.cut is not None
    row["link"] = workload.links[visit.arrival.link].name if visit.arrival.phone else None
    row["limit"] = dataclasses.asdict(visit.limit) if visit.limit else None
    return row


def compare(designs: dict[str, dict[str, Any]]) -> None:
    """Adds to each peer a comparison of its phones with the same phones on our server: the same photographs,
    links and times. `median_ratio` is the peer's time to the authentication result divided by ours."""
    ours = designs.get(OURS)
    for name, figures in designs.items():
        if ours is None or name == OURS:
            continue
        pairs = [
            (our_row["authenticated"], their_row["authenticated"])
            for our_row, their_row in zip(ours["visits"], figures["visits"], strict=True)
            if our_row["authenticated"] is not None and their_row["authenticated"] is not None
        ]
        if pairs:
            figures["paired"] = {
                "n": len(pairs),
                "ours_sooner": sum(our_row < their_row for our_row, their_row in pairs) / len(pairs),
                "median_ratio": float(np.median([their_row / our_row for our_row, their_row in pairs])),
            }
