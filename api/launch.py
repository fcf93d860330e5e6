"""The command line's entry point into the server: runs a master or a proxy until it is stopped.

Problems of the environment (data folder, address) are reported before anything is opened.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import structlog
import trio

from pinactors import __version__
from pinactors.api.proxy.app import serve_proxy
from pinactors.api.server import serve
from pinactors.catalog.reader import Catalog
from pinactors.settings import Settings
from pinactors.storage.folders import make_writable

log = structlog.get_logger(__name__)

DATA_FOLDER = "data folder"

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_ALLOCATOR = {_TRIM_THRESHOLD: 128 << 10, _MMAP_THRESHOLD: 128 << 10, _ARENA_MAX: 2}
"""Parameters of `mallopt` (glibc's malloc.h). Both thresholds have their initial values: setting them is what
keeps the allocator from raising them."""


async def run_master(  # noqa: ASYNC128 - hands `task_status` on
    settings: Settings,
    *,
    catalog: Path | None = None,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs `api.server.serve`, with the catalogue folder `catalog` instead of the data folder's.

    Raises `OSError`, with the folder or address in its message, for a data folder that cannot be written and
    for an address that cannot be used, and the errors of opening the records or the workers.
    """
    await _prepare(settings)
    await trio.to_thread.run_sync(_warn_about_catalog, catalog or settings.catalog_folder)
    await serve(settings, catalog=catalog, shutdown=shutdown, task_status=task_status)


async def run_proxy(settings: Settings) -> None:
    """Runs `api.proxy.app.serve_proxy`. Raises `ValueError` for invalid masters, `OSError` as `run_master`
    does."""
    await _prepare(settings)
    await serve_proxy(settings)


def exempt_loaded_from_collection() -> None:
    """Exempts what is in memory now, modules and their tables, from garbage collection: a full collection
    visited 119,000 such objects and held the event loop for 0.1 s. To be called once, before the event loop
    has work."""
    gc.freeze()


def return_freed_memory() -> None:
    """Lets glibc's allocator give memory back: blocks of 128 kB and more go back as soon as they are freed,
    two arenas serve all threads. By default the allocator keeps ever larger blocks once it has freed one, and
    has eight arenas per core, so that a server that receives photographs grows with each peak. Does nothing
    with another C library."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        for parameter, value in _ALLOCATOR.items():
            libc.mallopt(parameter, value)


async def _prepare(settings: Settings) -> None:
    exempt_loaded_from_collection()
    return_freed_memory()
    await trio.to_thread.run_sync(make_writable, settings.data, DATA_FOLDER)
    log.info("starting", version=__version__, data=str(settings.data.absolute()))


def _warn_about_catalog(folder: Path) -> None:
    try:
        catalog = Catalog.open(folder)
    except (OSError, ValueError) as error:
        log.warning("the catalogue cannot be read", folder=str(folder), reason=str(error))
        return
    if catalog.outdated:
        log.warning(
            "the catalogue was made by another version: no pin is identified until it is rebuilt",
            folder=str(folder),
            rebuild="pinactors catalog rebuild",
        )
    if not catalog.size:
        log.warning("there is no catalogue: no pin is identified", folder=str(folder))
