"""An upload on disk: written as the phone sends it, read by the masters it is relayed to, from the start
again by each.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import trio

PIECE_BYTES = 256 * 1024
"""Bytes read from the disk at once."""

LEAD_BYTES = 4 << 20
"""Bytes the phone may be ahead of the master; further, and TCP slows it down."""


T = TypeVar("T")


class Spool:
    """At most one piece of it is in memory. One writer; it can be read again and again (`read`)."""

    def __init__(self, path: Path, descriptor: int, disk: trio.CapacityLimiter) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._disk = disk
        self._complete = trio.Event()
        self._moved = trio.lowlevel.ParkingLot()
        self._newest = (0, b"")
        self._read = 0
        self._awaited = True
        self._busy = 0
        self._closed = False

    @classmethod
    def create(cls, path: Path, disk: trio.CapacityLimiter) -> Self:
        """Raises `OSError`."""
        return cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), disk)

    @classmethod
    def kept(cls, path: Path, disk: trio.CapacityLimiter) -> Self:
        """A complete one that another process wrote. Raises `OSError`."""
        spool = cls(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC), disk)
        spool.size = os.fstat(spool._descriptor).st_size
        spool._complete.set()
        return spool

    @property
    def complete(self) -> bool:
        return self._complete.is_set()

    async def wait_complete(self) -> None:
        await self._complete.wait()

    async def write(self, data: bytes) -> None:
        """Returns once `data` is on disk and its reader, if there is one, near enough. Raises `OSError`.

        On a closed one nothing happens: the session is over, and its phone about to hear of it.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        await self._on_disk(_write, self._descriptor, data)
        self._newest = (self.size, data)
        self.size += len(data)
        self._moved.unpark_all()
        while self.size - self._read > LEAD_BYTES and self._awaited and not self._closed:
            await self._moved.park()

    def finish(self) -> None:
        """Everything is in."""
        self._newest = (0, b"")
        self._complete.set()
        self._moved.unpark_all()

    async def read(self, position: int) -> bytes:
        """Some bytes from `position` on, waiting for them; empty at the end. Raises `OSError`."""
        self._read, self._awaited = position, True
        self._moved.unpark_all()
        while position >= self.size and not self.complete:
            await self._moved.park()
        if position >= self.size:
            return b""
        start, newest = self._newest
        if newest and position == start:
            await trio.lowlevel.checkpoint()
            return newest
        length = min(PIECE_BYTES, self.size - position)
        return await self._on_disk(os.pread, self._descriptor, length, position)

    def leave(self) -> None:
        """Its reader is gone: until another one comes the phone need not wait for it."""
        self._awaited = False
        self._moved.unpark_all()

    async def close(self) -> None:
        """Leaves the file to whoever comes next. It is not cut off: a descriptor that stays open is lost."""
        if not self._closed:
            self._closed = True
            self._moved.unpark_all()
            if not self._busy:
                await self._close_descriptor()

    async def _close_descriptor(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(os.close, self._descriptor, limiter=self._disk)

    async def _on_disk(self, step: Callable[..., T], *arguments: object) -> T:
        """In a thread. The descriptor stays open while one uses it: its number would be another file's."""
        self._busy += 1
        try:
            return await trio.to_thread.run_sync(step, *arguments, limiter=self._disk)
        finally:
            self._busy -= 1
            if self._closed and not self._busy:
                await self._close_descriptor()  # noqa: ASYNC102 - shields itself, bounded by one disk operation

    async def remove(self) -> None:
        """Nobody needs it any more."""
        await self.close()
        await trio.to_thread.run_sync(_unlink, self.path, limiter=self._disk)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
