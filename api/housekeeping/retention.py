"""Retention: removes photographs and analyses older than the settings allow, in batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable

import structlog

from pinactors.records import Filter, Records
from pinactors.settings import Settings

RETENTION_SECONDS = 3600.0
"""Pause between two checks; short enough, because the settings count in days."""

Remove = Callable[[list[str]], Awaitable[int]]
"""Removes the files of photographs without an analysis; returns how many were removed at once."""

log = structlog.get_logger(__name__)


class Retention:
    """Applies the settings `retention_photographs` and `retention_records` (days; 0: keep for ever)."""

    def __init__(self, records: Records, remove: Remove, settings: Settings) -> None:
        self._records, self._remove, self._settings = records, remove, settings

    async def apply(self, now: dt.datetime) -> None:
        """Removes what is too old and logs the progress. Raises `RecordsUnavailable`, `OSError`; the next
        call then continues."""
        if self._settings.retention_photographs:
            await self._photographs(now - dt.timedelta(days=self._settings.retention_photographs))
        if self._settings.retention_records:
            await self._analyses(now - dt.timedelta(days=self._settings.retention_records))

    async def _photographs(self, before: dt.datetime) -> None:
        total = await self._records.count_photographs(before)
        done = 0
        while hashes := await self._records.erase_photographs(before):
            await self._remove(hashes)
            done += len(hashes)
            _log_progress("old photographs removed", done, total, before)

    async def _analyses(self, before: dt.datetime) -> None:
        wanted = Filter(until=before)
        total = await self._records.count(wanted)
        done = 0
        while (erased := await self._records.erase(wanted)).analyses:
            await self._remove(erased.photographs)
            done += erased.analyses
            _log_progress("old analyses erased", done, total, before)


def _log_progress(what: str, done: int, total: int, before: dt.datetime) -> None:
    log.info(what, done=done, total=max(total, done), before=f"{before:%Y-%m-%d %H:%M}")
