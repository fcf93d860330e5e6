"""The clock of one session: an analysis ends with it, and full analysis a reserve before it."""

from __future__ import annotations

import math

import trio


class Deadline:
    """Runs from `start` on; before that, while photographs are still arriving, nothing is cut short.

    `at` is on trio's clock; infinity before `start`. `reserve` seconds are kept for basic analysis.
    """

    def __init__(self, reserve: float) -> None:
        self.at = math.inf
        self._reserve = reserve
        self._scope: trio.CancelScope | None = None
        self._ended = False
        self._full: list[trio.CancelScope] = []

    def encloses(self, scope: trio.CancelScope) -> None:
        """`scope` is the analysis: it ends at the deadline, or with `end`, which may have been called."""
        self._scope = scope
        scope.deadline = self.at
        if self._ended:
            scope.cancel()

    def end(self) -> None:
        """Now."""
        self._ended = True
        if self._scope is not None:
            self._scope.cancel()

    @property
    def full_ends_at(self) -> float:
        """When only basic analysis is left."""
        return self.at - self._reserve

    def start(self, seconds: float) -> None:
        """`seconds` from now; none or fewer ends the analysis at its next checkpoint."""
        self.at = trio.current_time() + seconds
        if self._scope is not None:
            self._scope.deadline = self.at
        for scope in self._full:
            scope.deadline = self.full_ends_at

    def full(self) -> trio.CancelScope:
        """A new scope that ends `reserve` seconds before the deadline."""
        scope = trio.CancelScope(deadline=self.full_ends_at)
        self._full.append(scope)
        return scope
