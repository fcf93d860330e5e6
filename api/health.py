"""Whether what the service needs works: asked by `/health` and `/readyz`, never waiting behind uploads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
import trio

T = TypeVar("T")

CHECK_SECONDS = 2.0
"""How long each thing has to answer to count as available."""

ROOM_BYTES = 4 << 20
"""Room that has to be on each volume: about one more photograph."""

CHECK_THREADS = 4
"""Threads of the checks' own: those of uploads may all be waiting for a slow disk."""

log = structlog.get_logger(__name__)


class Checks:
    """Runs checks in threads of their own. One that does not come back in time has failed; its thread is left
    to itself, so that a volume that hangs does not make its questioner hang."""

    def __init__(self) -> None:
        self._threads = trio.CapacityLimiter(CHECK_THREADS)

    async def in_thread(self, check: Callable[..., T], *arguments: object, otherwise: T) -> T:
        """What `check` finds; `otherwise` where it takes too long or cannot read or write."""
        with trio.move_on_after(CHECK_SECONDS):
            try:
                return await trio.to_thread.run_sync(
                    check, *arguments, limiter=self._threads, abandon_on_cancel=True
                )
            except OSError as error:
                log.warning("check failed", check=check.__name__.strip("_"), error=str(error))
        return otherwise

    async def disk(self, folders: Sequence[Path]) -> bool:
        """Whether each of `folders` has room for one more photograph."""
        return await self.in_thread(_has_room, folders, otherwise=False)

    async def all(self, checks: Mapping[str, Callable[[], Awaitable[bool]]]) -> dict[str, bool]:
        """The answers of `checks`, asked at the same time."""
        answers = dict.fromkeys(checks, False)

        async def ask(name: str, check: Callable[[], Awaitable[bool]]) -> None:
            with trio.move_on_after(CHECK_SECONDS):
                answers[name] = await check()

        async with trio.open_nursery() as nursery:
            for name, check in checks.items():
                nursery.start_soon(ask, name, check)
        return answers


def _has_room(folders: Sequence[Path]) -> bool:
    """Takes the room on each volume, and gives it back. Raises `OSError` where it cannot be had."""
    for folder in _one_a_volume(folders):
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
    return True


def _one_a_volume(folders: Sequence[Path]) -> list[Path]:
    """The folders there are, one of each volume. Raises `OSError` where the first one is absent."""
    volumes: dict[int, Path] = {}
    for number, folder in enumerate(folders):
        try:
            volumes.setdefault(folder.stat().st_dev, folder)
        except FileNotFoundError:
            if number == 0:
                raise
    return list(volumes.values())
