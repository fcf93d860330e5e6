"""An upload on disk: written while the phone sends it, and read from the start for each master that it is
relayed to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import trio

from pinactors.api.uploads.resumable.upload import LEAD_BYTES, PIECE_BYTES
from pinactors.storage.folders import open_created

T = TypeVar("T")


class Spool:
    """One upload's file, with at most one piece in memory. It has one writer and can be read repeatedly
    (`read`)."""

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
        """Creates an empty spool; for a thread. Raises `OSError`."""
        return cls(path, open_created(path, os.O_RDWR | os.O_EXCL), disk)

    @classmethod
    def kept(cls, path: Path, disk: trio.CapacityLimiter) -> Self:
        """Opens a complete spool that another process wrote; for a thread. Raises `OSError`."""
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
        """Writes `data` to disk and waits while the reader, if there is one, is more than `LEAD_BYTES`
        behind. Raises `OSError`.

        Does nothing on a closed spool: the session is over, and its phone is about to be answered. A
        cancellation ends the wait but not the writing: the caller may go on with the next piece in another
        task.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(shield=True):
            await self._on_disk(_write, self._descriptor, data)
        self._newest = (self.size, data)
        self.size += len(data)
        self._moved.unpark_all()
        while self.size - self._read > LEAD_BYTES and self._awaited and not self._closed:
            await self._moved.park()

    def finish(self) -> None:
        """Marks the upload complete."""
        self._newest = (0, b"")
        self._complete.set()
        self._moved.unpark_all()

    async def read(self, position: int) -> bytes:
        """Waits for bytes from `position` on and returns some; empty at the end. Raises `OSError`."""
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
        return await self.piece(position)

    async def piece(self, position: int) -> bytes:
        """Returns some of the bytes from `position` on that have arrived; empty if there are none. Does not
        count as reading: `write` never waits for it. Raises `OSError`."""
        length = min(PIECE_BYTES, self.size - position)
        return await self._on_disk(os.pread, self._descriptor, length, position)

    def leave(self) -> None:
        """Records that the reader has stopped: until another one reads, `write` does not wait for it."""
        self._awaited = False
        self._moved.unpark_all()

    async def close(self) -> None:
        """Closes the descriptor and keeps the file. Shielded from cancellation, which would leak the
        descriptor."""
        if not self._closed:
            self._closed = True
            self._moved.unpark_all()
            if not self._busy:
                await self._close_descriptor()

    async def _close_descriptor(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(os.close, self._descriptor, limiter=self._disk)

    async def _on_disk(self, step: Callable[..., T], *arguments: object) -> T:
        """Runs `step` in a thread. The descriptor is not closed while a thread uses it: its number could then
        belong to another file."""
        self._busy += 1
        try:
            return await trio.to_thread.run_sync(step, *arguments, limiter=self._disk)
        finally:
            self._busy -= 1
            if self._closed and not self._busy:
                await self._close_descriptor()  # noqa: ASYNC102 - shields itself, bounded by one disk operation

    async def remove(self) -> None:
        """Closes the spool and removes its file."""
        await self.close()
        unlink = partial(self.path.unlink, missing_ok=True)
        await trio.to_thread.run_sync(unlink, limiter=self._disk)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
