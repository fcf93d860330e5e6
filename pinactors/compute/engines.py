"""The engine that the settings name."""

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
    """Warm workers; `warm`, module-level, loads what jobs need. What lasts is repeated by `supervision`.

    Raises `SettingUnusable` where `settings.compute` cannot be had, `RuntimeError` from whatever `warm`
    raises.
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
