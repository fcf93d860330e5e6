"""A circuit breaker per component, across sessions: what keeps failing is left alone for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

import trio


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Trial:
    """One attempt, reported when it is left; no verdict at all leaves the breaker as it was.

    Entering it gives itself, or None where the attempt is not to be made.
    """

    __slots__ = ("_breaker", "_probe", "verdict")

    def __init__(self, breaker: Breaker | None, *, probe: bool = False) -> None:
        self._breaker, self._probe = breaker, probe
        self.verdict: bool | None = None

    def __enter__(self) -> Self | None:
        return self if self._breaker is not None else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._breaker is not None:
            self._breaker.ended(self.verdict, probe=self._probe)

    def succeeded(self) -> None:
        self.verdict = True

    def failed(self) -> None:
        self.verdict = False


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

    def attempt(self) -> Trial:
        """To be entered at once, and left with a verdict."""
        if self.state is State.OPEN or self._probing:
            return Trial(None)
        self._probing = self.state is State.HALF_OPEN
        return Trial(self, probe=self._probing)

    def ended(self, verdict: bool | None, *, probe: bool) -> None:
        if probe:
            self._probing = False
        if verdict is True:
            self._close()
        elif verdict is False:
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
