"""Checks of the service's dependencies for `/health` and `/readyz`, independent of the uploads' threads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog
import trio

T = TypeVar("T")

CHECK_SECONDS = 2.0
"""Time limit of each check; a dependency that does not answer in time counts as unavailable."""

ROOM_BYTES = 4 << 20
"""Bytes that must be free on each volume: about one more photograph."""

CHECK_THREADS = 4
"""Threads for checks only: those of the uploads may all be waiting for a slow disk."""

log = structlog.get_logger(__name__)


class Checks:
    """Runs checks in their own threads. A check that does not return in time has failed; its thread is
    abandoned, so that a hanging volume does not block the caller."""

    def __init__(self) -> None:
        self._threads = trio.CapacityLimiter(CHECK_THREADS)

    async def in_thread(self, check: Callable[..., T], *arguments: object, otherwise: T) -> T:
        """Returns the result of `check`, or `otherwise` if it takes too long or raises `OSError`."""
        with trio.move_on_after(CHECK_SECONDS):
            try:
                return await trio.to_thread.run_sync(
                    check, *arguments, limiter=self._threads, abandon_on_cancel=True
                )
            except OSError as error:
                log.warning("check failed", check=check.__name__.strip("_"), error=str(error))
        return otherwise

    async def disk(self, folders: Sequence[Path], optional: Sequence[Path] = ()) -> bool:
        """Whether each of `folders` exists and has room for one more photograph, as those of the `optional`
        ones that exist."""
        return await self.in_thread(_has_room, folders, optional, otherwise=False)

    async def all(self, checks: Mapping[str, Callable[[], Awaitable[bool]]]) -> dict[str, bool]:
        """Runs `checks` at the same time and returns their results; False for a check that takes too long."""
        answers = dict.fromkeys(checks, False)

        async def ask(name: str, check: Callable[[], Awaitable[bool]]) -> None:
            with trio.move_on_after(CHECK_SECONDS):
                answers[name] = await check()

        async with trio.open_nursery() as nursery:
            for name, check in checks.items():
                nursery.start_soon(ask, name, check)
        return answers


def _has_room(folders: Sequence[Path], optional: Sequence[Path]) -> bool:
    """Allocates `ROOM_BYTES` on each volume and releases them. Raises `OSError` if that fails."""
    volumes = {folder.stat().st_dev: folder for folder in folders}
    for folder in optional:
        with suppress(FileNotFoundError):
            volumes.setdefault(folder.stat().st_dev, folder)
    for folder in volumes.values():
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
    return True
