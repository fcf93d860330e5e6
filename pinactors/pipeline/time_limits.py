"""The time limits of one session: for its analysis (90 s), for full analysis, and for its record."""

from __future__ import annotations

import math

import trio

from pinactors.settings import Settings

RECORD_GRACE_SECONDS = 5.0
"""Least time for storing the record, even if the analysis used all its time."""

JOB_GRACE_SECONDS = 4.0
"""Time in which a job that is not needed any more may end before its worker is killed: longer than a healthy
job takes, and shorter than the default reserve of basic analysis, which may have to wait for that worker."""


class TimeLimits:
    """The cancel scopes of one session. `analysis` ends `deadline` seconds (90 by default) after the last
    photograph. The scopes of `full_analysis` end earlier, by the reserve that is kept for basic analysis.
    `recording` limits the steps after the analysis.

    Before `start`, while photographs are still arriving, there is no limit. Times are on trio's clock.
    """

    def __init__(self, settings: Settings) -> None:
        self.analysis = trio.CancelScope()
        self.recording = trio.CancelScope()
        self._deadline = settings.deadline
        self._reserve = min(settings.basic_reserve, settings.deadline / 2)
        self._full: list[trio.CancelScope] = []

    def start(self, seconds: float = math.inf) -> float:
        """Starts the deadline, or `seconds` if that is shorter; with 0 or less the analysis ends at its next
        checkpoint. Returns the seconds that the analysis has."""
        seconds = min(self._deadline, seconds)
        self.analysis.deadline = trio.current_time() + seconds
        for scope in self._full:
            scope.deadline = self.full_ends_at
        return seconds

    def start_recording(self) -> None:
        """Starts the limit for the record: the rest of the analysis's time, but at least a grace period."""
        self.recording.deadline = trio.current_time() + max(self.seconds_left, RECORD_GRACE_SECONDS)

    def stop(self) -> None:
        """Cancels the analysis and the recording."""
        self.analysis.cancel()
        self.recording.cancel()

    @property
    def ends_at(self) -> float:
        """When the analysis ends; infinity before `start`."""
        return self.analysis.deadline

    @property
    def full_ends_at(self) -> float:
        """When full analysis ends, so that the reserve is left for basic analysis."""
        return self.ends_at - self._reserve

    @property
    def seconds_left(self) -> float:
        return math.inf if math.isinf(self.ends_at) else max(0.0, self.ends_at - trio.current_time())

    @property
    def job_grace(self) -> float:
        """Seconds in which a job that is not needed any more may still end, because a new worker costs more.
        0 at the deadline, so that the CPU is free immediately."""
        return min(JOB_GRACE_SECONDS, self.seconds_left)

    def full_analysis(self) -> trio.CancelScope:
        """A new scope for one component's full analysis."""
        scope = trio.CancelScope(deadline=self.full_ends_at)
        self._full.append(scope)
        return scope
