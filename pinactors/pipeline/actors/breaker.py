"""Circuit breakers, one per component, for all sessions: a component that keeps failing is not tried for a
while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Self

import trio


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


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
    def state(self) -> State:
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if trio.current_time() < self._open_until else State.HALF_OPEN

    def attempt(self) -> Trial | AbstractContextManager[None]:
        """A context that gives the `Trial` of one attempt, or None if no attempt may be made."""
        if self.state is State.OPEN or self._probing:
            return nullcontext()
        return Trial(self)

    def begin(self) -> bool:
        """Begins an attempt; returns whether it is the only one that is allowed."""
        self._probing = self.state is State.HALF_OPEN
        return self._probing

    def end(self, success: bool | None, probe: bool) -> None:
        """Ends an attempt; `probe` is what `begin` returned."""
        if probe:
            self._probing = False
        if success is True:
            self._close()
        elif success is False:
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


class Trial:
    """One attempt, while its context is entered. If neither `succeeded` nor `failed` is called the breaker
    does not change."""

    __slots__ = ("_breaker", "_probe", "_success")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._probe = False
        self._success: bool | None = None

    def __enter__(self) -> Self:
        self._probe = self._breaker.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._breaker.end(self._success, self._probe)

    def succeeded(self) -> None:
        self._success = True

    def failed(self) -> None:
        self._success = False
