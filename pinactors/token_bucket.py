"""A token bucket: limits how often something may be done, and allows bursts."""

from __future__ import annotations

import trio


class TokenBucket:
    """Holds at most `capacity` tokens, with which it begins, and gets `per_second` more each second. Times
    are on trio's clock."""

    def __init__(self, capacity: float, per_second: float) -> None:
        self._capacity, self._per_second = capacity, per_second
        self._tokens, self._since = capacity, trio.current_time()

    def take(self, cost: float = 1.0) -> float:
        """Takes `cost` tokens and returns 0. If there are fewer, takes none and returns the seconds until
        there are enough."""
        now = trio.current_time()
        self._tokens = min(self._capacity, self._tokens + (now - self._since) * self._per_second)
        self._since = now
        if self._tokens < cost:
            return (cost - self._tokens) / self._per_second
        self._tokens -= cost
        return 0.0
