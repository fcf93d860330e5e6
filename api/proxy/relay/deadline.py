"""When a session at the proxy runs out of time."""

from __future__ import annotations

import math

import trio


class RelayDeadline:
    """The end of a session's time: `seconds` after the end of its upload. `scope` is cancelled then.

    If the proxy does not have the upload, only the master knows the deadline; `begin_anew` then gives the
    session `seconds` from now.
    """

    def __init__(self, seconds: float) -> None:
        self.scope = trio.CancelScope()
        self._seconds = seconds
        self._uploaded_at = math.inf

    @property
    def remaining(self) -> float:
        return self.scope.deadline - trio.current_time()

    def upload_ended(self) -> None:
        self._uploaded_at = trio.current_time()
        self.limit(self._seconds)

    def limit(self, seconds: float) -> None:
        """Gives the session at most `seconds` after its upload; never more than before."""
        self._seconds = min(self._seconds, seconds)
        self.scope.deadline = min(self.scope.deadline, self._uploaded_at + self._seconds)

    def begin_anew(self) -> None:
        self.end_after(self._seconds)

    def end_after(self, seconds: float) -> None:
        self.scope.deadline = trio.current_time() + seconds
