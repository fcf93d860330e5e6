"""Removes photographs without a reference: those of refused uploads, and those that a killed process left.

A photograph is referenced by a running session, by a session whose journal waits for the database, or by a
record. These are checked in that order, which is the order in which a session passes through them. So a
reference that moves during the check is found at the next place.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import structlog
import trio

from pinactors.api.housekeeping.retention import RETENTION_SECONDS, Retention
from pinactors.pipeline.registry import Registry
from pinactors.records import Records, RecordsUnavailable
from pinactors.settings import Settings
from pinactors.storage.images import STALE_SECONDS, ImageStore

SWEEP_SECONDS = 10.0
"""Pause between two rounds."""

BATCH_PHOTOGRAPHS = 200
"""Photographs in one query to the records."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Housekeeper:
    """Removes photographs without a reference and old data, in rounds."""

    def __init__(self, store: ImageStore, registry: Registry, records: Records, settings: Settings) -> None:
        self._store, self._registry, self._records = store, registry, records
        self._retention = Retention(records, self.forget, settings)
        self._swept = self._retained = -math.inf
        self._thread = trio.CapacityLimiter(1)

    async def run_round(self) -> None:
        """Runs one round; called every `SWEEP_SECONDS`. Makes the spool folder again if it was removed, for
        `/readyz`. Removes nothing while the database is unavailable."""
        try:
            await self._in_thread(self._store.ready_spool)
            if trio.current_time() >= self._swept + STALE_SECONDS:
                await self.sweep_stale()
                await self.sweep_shared()
                self._swept = trio.current_time()
            await self.sweep()
            if self._store.shared is not None:
                await self._in_thread(self._store.shared.retry)
        except (RecordsUnavailable, OSError) as error:
            log.warning("unused photographs not removed", error=repr(error))
        # Apart from the above, so that the failure of one does not prevent the other.
        try:
            if trio.current_time() >= self._retained + RETENTION_SECONDS:
                await self._retention.apply(dt.datetime.now(dt.UTC))
                self._retained = trio.current_time()
        except (RecordsUnavailable, OSError) as error:
            log.warning("old data not removed", error=repr(error))

    async def sweep(self) -> None:
        """Checks the photographs that arrived recently. Raises `RecordsUnavailable`, `OSError`."""
        arrivals = self._store.unrecorded()
        for batch in _batches(await self._unused(arrivals)):
            known = await self._records.known_images(batch)
            for sha256 in known:
                self._store.mark_recorded(sha256)
            removed = sum(
                [
                    await self._in_thread(self._store.remove, sha256, arrivals[sha256])
                    for sha256 in batch
                    if sha256 not in known
                ]
            )
            if removed:
                log.info("photographs of refused uploads removed", count=removed)

    async def forget(self, hashes: list[str]) -> int:
        """Removes the files of photographs whose records were erased; returns their number. Photographs of
        running sessions are kept, and removed by a later `sweep_stale`. Raises `OSError`."""
        unused = await self._unused(hashes)
        return sum([await self._in_thread(self._store.forget, sha256) for sha256 in unused])

    async def sweep_stale(self) -> None:
        """Checks the old photographs of the whole store. Raises `RecordsUnavailable`, `OSError`."""
        folders = self._store.stale()
        while (found := await self._in_thread(next, folders, None)) is not None:
            await self._remove_unrecorded(found, self._store.remove_stale)

    async def sweep_shared(self) -> None:
        """Removes old photographs without a reference from the store that several machines share. Raises
        `RecordsUnavailable`, `ObjectsUnavailable`."""
        shared = self._store.shared
        if shared is None:
            return
        oldest = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=STALE_SECONDS)
        found = await self._in_thread(lambda: list(shared.stale(oldest)))
        await self._remove_unrecorded(found, shared.remove)

    async def _remove_unrecorded(self, hashes: Iterable[str], remove: Callable[[str], object]) -> None:
        """Removes those photographs to which nothing refers."""
        for batch in _batches(await self._unused(hashes)):
            known = await self._records.known_images(batch)
            for sha256 in set(batch) - known:
                await self._in_thread(remove, sha256)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Runs `work` in the housekeeper's own thread, so that a slow disk does not occupy the uploads'
        threads."""
        return await trio.to_thread.run_sync(work, *arguments, limiter=self._thread)

    async def _unused(self, hashes: Iterable[str]) -> list[str]:
        """The photographs that belong neither to a running session nor to one in a journal."""
        running = self._registry.photographs()
        ended = [sha256 for sha256 in hashes if sha256 not in running]
        if not ended:
            await trio.lowlevel.checkpoint()
            return []
        logged = await self._registry.logged_photographs()
        return [sha256 for sha256 in ended if sha256 not in logged]


def _batches(hashes: Sequence[str]) -> list[Sequence[str]]:
    return [hashes[start : start + BATCH_PHOTOGRAPHS] for start in range(0, len(hashes), BATCH_PHOTOGRAPHS)]
