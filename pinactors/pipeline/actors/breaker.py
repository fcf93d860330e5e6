"""Circuit breakers, one per component, for all sessions: a component that keeps failing is not tried for a
while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

import trio


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Trial:
    """One attempt. If neither `succeeded` nor `failed` is called the breaker does not change."""

    def __init__(self) -> None:
        self.success: bool | None = None

    def succeeded(self) -> None:
        self.success = True

    def failed(self) -> None:
        self.success = False


class Breaker:
    """A circuit breaker. It opens after `failures` in a row within `pause` seconds, and allows one attempt
    `pause` seconds later.

    If that attempt succeeds the breaker closes; if it fails the breaker opens again. `on_trip` is called
    whenever it opens. Times are on trio's clock.
    """

    def __init__(self, failures: int, pause: float, on_trip: Callable[[], None]) -> None:
        self._pause = pause
        self._failures: deque[float] = deque(maxlen=failures)
        self._on_trip = on_trip
        self._open_until: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if trio.current_time() < self._open_until else BreakerState.HALF_OPEN

    @contextmanager
    def attempt(self) -> Iterator[Trial | None]:
        """Gives the `Trial` of one attempt, or None if no attempt may be made."""
        if self.state is BreakerState.OPEN or self._probing:
            yield None
            return
        probe = self._probing = self.state is BreakerState.HALF_OPEN
        trial = Trial()
        try:
            yield trial
        finally:
            if probe:
                self._probing = False
            if trial.success is True:
                self._close()
            elif trial.success is False:
                self._count(probe)

    def _close(self) -> None:
        self._failures.clear()
        self._open_until = None

    def _count(self, probe: bool) -> None:
        now = trio.current_time()
        self._failures.append(now)
        in_a_row = len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._pause
        if probe or (in_a_row and self._open_until is None):
            self._failures.clear()
            self._open_until = now + self._pause
            self._on_trip()
