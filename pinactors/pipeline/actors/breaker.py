"""A circuit breaker per component, across sessions: what keeps failing is left alone for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

import trio


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Trial:
    """One attempt. Without a word on how it went the breaker stays as it was."""

    def __init__(self) -> None:
        self.success: bool | None = None

    def succeeded(self) -> None:
        self.success = True

    def failed(self) -> None:
        self.success = False


class Breaker:
    """Trips after `failures` in a row within `pause` seconds; `pause` seconds later one attempt is let
    through.

    That attempt's success closes it, its failure opens it again. Times are trio's clock.
    """

    def __init__(self, failures: int, pause: float, tripped: Callable[[], None]) -> None:
        self._pause = pause
        self._failures: deque[float] = deque(maxlen=failures)
        self._tripped = tripped
        self._open_until: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if trio.current_time() < self._open_until else State.HALF_OPEN

    @contextmanager
    def attempt(self) -> Iterator[Trial | None]:
        """None inside where the attempt is not to be made."""
        if self.state is State.OPEN or self._probing:
            yield None
            return
        probe = self._probing = self.state is State.HALF_OPEN
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
            self._tripped()
