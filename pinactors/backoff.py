"""Exponential backoff: pauses between attempts that double up to a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds: `for pause in Backoff(0.1, 5.0)` gives 0.1, 0.2, 0.4 … 5.0, 5.0 … without end."""

    first: float
    limit: float

    def __iter__(self) -> Iterator[float]:
        pause = self.first
        while True:
            yield min(pause, self.limit)
            pause = min(2 * pause, self.limit)

    def after(self, attempts: int) -> float:
        """The pause after a failed attempt; `attempts` is the number of failures before it."""
        return min(self.first * 2.0 ** min(attempts, 60), self.limit)
