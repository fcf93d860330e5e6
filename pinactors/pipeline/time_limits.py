"""The time limits of one session's analysis, which begin with its last photograph."""

from __future__ import annotations

import math

import trio


class TimeLimits:
    """`analysis` is entered by the session and ends at the deadline. What `full_analysis` gives ends
    `reserve` seconds earlier, so that basic analysis has that long.

    Before `start`, while photographs are still arriving, nothing is cut short. Times are trio's clock.
    """

    def __init__(self, reserve: float) -> None:
        self.analysis = trio.CancelScope()
        self._reserve = reserve
        self._full: list[trio.CancelScope] = []

    def start(self, seconds: float) -> None:
        """`seconds` from now; none or fewer ends the analysis at its next checkpoint."""
        self.analysis.deadline = trio.current_time() + seconds
        for scope in self._full:
            scope.deadline = self.full_ends_at

    @property
    def ends_at(self) -> float:
        """Infinity before `start`."""
        return self.analysis.deadline

    @property
    def full_ends_at(self) -> float:
        """When only basic analysis is left."""
        return self.ends_at - self._reserve

    @property
    def seconds_left(self) -> float:
        return math.inf if math.isinf(self.ends_at) else max(0.0, self.ends_at - trio.current_time())

    def full_analysis(self) -> trio.CancelScope:
        """A new scope for one component's full analysis."""
        scope = trio.CancelScope(deadline=self.full_ends_at)
        self._full.append(scope)
        return scope
