"""The objects that all sessions of a process share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinactors.compute import Compute
from pinactors.compute.loop_thread import LoopThread
from pinactors.pipeline.actors.breaker import Breaker
from pinactors.pipeline.declaration import Analysis
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.recorder import Recorder
from pinactors.settings import Settings

NEWEST_WEIGHT = 0.1
"""Weight of the newest session in the mean cost."""


class MeanCost:
    """The running mean of one session's cost, in seconds of a worker; 0 until the first session has ended."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.seconds = (
            seconds if not self.seconds else self.seconds + NEWEST_WEIGHT * (seconds - self.seconds)
        )


@dataclass(frozen=True, slots=True)
class PipelineServices:
    """The objects that sessions share. `loops` has the loop of each component and step that runs in one;
    `breakers` has the breaker of each such step and of each component."""

    analysis: Analysis
    compute: Compute
    settings: Settings
    metrics: Metrics
    recorder: Recorder
    breakers: Mapping[str, Breaker]
    loops: Mapping[str, LoopThread]
    cost: MeanCost

    def seconds_for(self, sessions: int) -> float:
        """Seconds that the workers need for so many sessions, at the mean cost so far."""
        workers = self.compute.statistics()["workers"] or 1
        return float(sessions * self.cost.seconds / workers)
