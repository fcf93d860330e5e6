"""Admission: limits for all sessions together, and for the sessions of one key."""

from __future__ import annotations

from collections import Counter

from pinactors.protocol import busy, limit_reached
from pinactors.settings import Settings
from pinactors.storage.logs.rows import LogRows
from pinactors.token_bucket import TokenBucket

RETRY_DRAINING = 10.0
"""Seconds after which the next process has probably taken over."""


class Admission:
    """Counts running sessions and limits them. An open server has no keys, so that only the limit for all
    sessions applies.

    The rate of each key is limited by a token bucket: a minute's uploads at once, then one every
    60 / `rate_per_minute` seconds. There are at most as many buckets as keys in the records.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._under_way: Counter[str] = Counter()
        self._buckets: dict[str, TokenBucket] = {}
        self.accepting = True

    @property
    def under_way(self) -> int:
        return self._under_way.total()

    def check_rate(self, owner: str) -> None:
        """Takes a token of the key. Raises `PinactorsError` (`overloaded`) if it has none, or while the
        server drains."""
        if not self.accepting:
            raise busy("The server is shutting down", RETRY_DRAINING)
        if not owner:
            return
        if owner not in self._buckets:
            per_minute = self._settings.rate_per_minute
            self._buckets[owner] = TokenBucket(per_minute, per_minute / 60)
        wait = self._buckets[owner].take()
        if wait > 0:
            raise limit_reached("Too many uploads with this key", wait)

    async def check_shared(self, owner: str, masters: LogRows) -> None:
        """Checks the limits of a key, as `check_rate` and `check_load` do, for all masters together. If their
        database is unavailable only each master's own limits apply."""
        settings = self._settings
        try:
            wait = await masters.take_token(owner, settings.rate_per_minute)
            under_way = await masters.under_way(owner)
        except OSError:
            return
        if wait > 0:
            raise limit_reached("Too many uploads with this key", wait)
        if under_way >= settings.max_sessions_per_key:
            raise limit_reached("Too many analyses under way with this key")

    def check_load(self, owner: str, wait: float) -> None:
        """Raises `PinactorsError` (`overloaded`) if the key or the server has reached its limit.

        `wait` is the seconds that the workers need for the sessions they have work for: if it exceeds the
        deadline a new session would time out, so that it is refused now.
        """
        settings = self._settings
        if owner and self._under_way[owner] >= settings.max_sessions_per_key:
            raise limit_reached("Too many analyses under way with this key")
        if self.under_way >= settings.max_sessions:
            raise busy("Too many analyses under way")
        if wait > settings.deadline:
            raise busy("The queue is too long for another analysis to end in time", wait - settings.deadline)

    def is_crowded(self, owner: str, waiting: Counter[str]) -> bool:
        """As `Registry.is_crowded`."""
        settings = self._settings
        return any(
            counts.total() > settings.max_sessions / 2
            or (owner and counts[owner] > settings.max_sessions_per_key / 2)
            for counts in (self._under_way, waiting)
        )

    def enter(self, owner: str) -> None:
        self._under_way[owner] += 1

    def leave(self, owner: str) -> None:
        self._under_way[owner] -= 1
        if not self._under_way[owner]:
            del self._under_way[owner]
