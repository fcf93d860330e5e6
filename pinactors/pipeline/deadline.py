"""The clock of one session: an analysis ends with it, and full analysis a reserve before it."""

from __future__ import annotations

import trio


class Deadline:
    """Runs from `start` on; before that, while photographs are still arriving, nothing is cut short.

    `scope` encloses the analysis. `reserve` seconds of it are kept for basic analysis.
    """

    def __init__(self, reserve: float) -> None:
        self.scope = trio.CancelScope()
        self._reserve = reserve
        self._full: list[trio.CancelScope] = []

    @property
    def at(self) -> float:
        """On trio's clock; infinity before `start`."""
        return self.scope.deadline

    @property
    def full_ends_at(self) -> float:
        """When only basic analysis is left."""
        return self.at - self._reserve

    def start(self, seconds: float) -> None:
        """`seconds` from now; none or fewer ends the analysis at its next checkpoint."""
        self.scope.deadline = trio.current_time() + seconds
        for scope in self._full:
            scope.deadline = self.full_ends_at

    def full(self) -> trio.CancelScope:
        """A new scope that ends `reserve` seconds before the deadline."""
        scope = trio.CancelScope(deadline=self.full_ends_at)
        self._full.append(scope)
        return scope
