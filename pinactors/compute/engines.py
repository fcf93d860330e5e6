"""Opens the compute engine that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pinactors.compute.local.processes import open_processes
from pinactors.compute.pool import Pool
from pinactors.settings import Settings, SettingUnusable
from pinactors.supervision import Supervision


@asynccontextmanager
async def open_compute(
    settings: Settings, warm: Callable[[], Any], supervision: Supervision | None = None
) -> AsyncIterator[Pool]:
    """Opens a pool of warm workers. `warm`, a module-level function, loads what jobs need. `supervision` runs
    the engine's long-lived tasks.

    Raises `SettingUnusable` if `settings.compute` cannot be used, and `RuntimeError` from any exception of
    `warm`.
    """
    if settings.compute == "local":
        async with open_processes(settings, warm) as pool:
            yield pool
        return
    try:
        from pinactors.compute.ray.cluster import open_ray
    except ImportError:
        raise SettingUnusable(
            f"compute = {settings.compute} needs Ray: pip install 'pinactors[ray]'"
        ) from None
    async with open_ray(settings, warm, supervision or Supervision()) as pool:
        yield pool
