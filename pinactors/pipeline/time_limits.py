"""The time limits of one session, in one place: of its analysis (90 s), of full analysis, of its record."""

from __future__ import annotations

import math

import trio

from pinactors.settings import Settings

RECORD_GRACE_SECONDS = 5.0
"""What the record gets at least, even when the analysis used up its deadline."""

JOB_GRACE_SECONDS = 4.0
"""What a job that is not needed any more may take to its end before its worker is killed: longer than any
healthy one, and short of the default reserve of basic analysis, which may have to wait for that worker."""


class TimeLimits:
    """`analysis` ends `deadline` seconds (90 by default) after the last photograph; the scopes that
    `full_analysis` gives end earlier, by the reserve that is kept for basic analysis; `recording` bounds what
    follows the analysis.

    Before `start`, while photographs are still arriving, nothing is cut short. Times are trio's clock.
    """

    def __init__(self, settings: Settings) -> None:
        self.analysis = trio.CancelScope()
        self.recording = trio.CancelScope()
        self._deadline = settings.deadline
        self._reserve = min(settings.basic_reserve, settings.deadline / 2)
        self._full: list[trio.CancelScope] = []

    def start(self, seconds: float = math.inf) -> float:
        """From now on the deadline counts, or `seconds` where those are fewer; none ends the analysis at its
        next checkpoint. Returns how many seconds that are."""
        seconds = min(self._deadline, seconds)
        self.analysis.deadline = trio.current_time() + seconds
        for scope in self._full:
            scope.deadline = self.full_ends_at
        return seconds

    def start_recording(self) -> None:
        """The record gets what the analysis left of its time, and a grace period at least."""
        self.recording.deadline = trio.current_time() + max(self.seconds_left, RECORD_GRACE_SECONDS)

    def stop(self) -> None:
        """Everything ends at its next checkpoint."""
        self.analysis.cancel()
        self.recording.cancel()

    @property
    def ends_at(self) -> float:
        """When the analysis ends; infinity before `start`."""
        return self.analysis.deadline

    @property
    def full_ends_at(self) -> float:
        """When only basic analysis is left."""
        return self.ends_at - self._reserve

    @property
    def seconds_left(self) -> float:
        return math.inf if math.isinf(self.ends_at) else max(0.0, self.ends_at - trio.current_time())

    @property
    def job_grace(self) -> float:
        """What a job that is given up may take to its end: a new worker costs more, but at the deadline the
        CPU is to be free at once."""
        return min(JOB_GRACE_SECONDS, self.seconds_left)

    def full_analysis(self) -> trio.CancelScope:
        """A new scope for one component's full analysis."""
        scope = trio.CancelScope(deadline=self.full_ends_at)
        self._full.append(scope)
        return scope
