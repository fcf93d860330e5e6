"""The published catalogue that a server uses: a fixed version, or the latest one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import trio

from pinactors.catalog import snapshots
from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.objects import open_objects

CHECK_SECONDS = 10.0
"""Pause between two checks of the latest version, in seconds."""

log = structlog.get_logger(__name__)


class PublishedCatalog:
    """The catalogue that `settings.catalog_version` names, on this machine's disk. Versions are kept in the
    data folder's `catalogs`."""

    def __init__(self, settings: Settings) -> None:
        """Raises `SettingUnusable`."""
        self._settings = settings
        self._objects = open_objects(settings)
        self._cache = settings.data.absolute() / "catalogs"
        self._limiter = trio.CapacityLimiter(1)
        self._version = ""

    async def open(self) -> Path:
        """The folder of the version to start with. Raises `SettingUnusable` if it cannot be fetched."""
        try:
            folder = await trio.to_thread.run_sync(self._newest, limiter=self._limiter)
        except FileNotFoundError:
            folder = None
        except (OSError, ValueError) as error:
            raise SettingUnusable(f"catalog_version {self._settings.catalog_version}: {error}") from error
        if folder is None:
            requested, storage = self._settings.catalog_version, self._settings.storage
            raise SettingUnusable(
                f"catalog_version {requested}: this version was never published to {storage}"
            )
        return folder

    async def check_for_update(self, use: Callable[[Path], Awaitable[None]]) -> None:
        """Checks for a new version and, if there is one, calls `use` with its folder. If the storage is not
        reachable, or the new version is damaged, nothing changes. To be called every `CHECK_SECONDS`."""
        before = self._version
        try:
            folder = await trio.to_thread.run_sync(self._newest, limiter=self._limiter)
        except (OSError, ValueError) as error:
            log.warning("latest catalogue not fetched", error=repr(error))
            return
        if folder is not None and self._version != before:
            await use(folder)
            log.info("catalogue changed", version=self._version)

    def _newest(self) -> Path | None:
        requested = self._settings.catalog_version
        version = snapshots.latest(self._objects) if requested == "latest" else requested
        if version is None:
            return None
        folder = snapshots.fetch(version, self._objects, self._cache)
        self._version = version
        return folder
