"""The engine that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pinactors.compute.pool import Pool
from pinactors.compute.processes import open_processes
from pinactors.settings import Settings, SettingUnusable


@asynccontextmanager
async def open_compute(settings: Settings, warm: Callable[[], Any]) -> AsyncIterator[Pool]:
    """Warm workers; `warm`, module-level, loads what jobs need.

    Raises `SettingUnusable` where `settings.compute` cannot be had, `RuntimeError` from whatever `warm`
    raises.
    """
    if settings.compute == "local":
        async with open_processes(settings, warm) as pool:
            yield pool
        return
    try:
        from pinactors.compute.ray_cluster import open_ray
    except ImportError:
        raise SettingUnusable(
            f"compute = {settings.compute} needs Ray: pip install 'pinactors[ray]'"
        ) from None
    async with open_ray(settings, warm) as pool:
        yield pool
