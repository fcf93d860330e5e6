"""Packet logs as files: one file per session, appended to, and locked as long as its process lives.

Each line is an entry: its kind, a space, its JSON. Every delivered packet is in the file, however the process
ends, because the page cache survives the process. Nothing is synced: a power failure may lose the last
moments of unfinished sessions. An incomplete last line was never delivered and is ignored.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import trio

from pinactors.protocol import is_stream_id
from pinactors.storage.disk import Disk, DiskThread
from pinactors.storage.folders import open_created
from pinactors.storage.logs.packet_logs import Entry, StoredLog, photographs_in

SUFFIX = ".journal"
SET_ASIDE = ".refused"


class LogFile:
    """The file of one log. Synchronous. The first append that fails removes the file and raises; later ones
    do nothing.

    A file with a gap would be worse than none: a session resumed from it would have other packets than those
    that were delivered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._failed = False

    @property
    def healthy(self) -> bool:
        return not self._failed

    @property
    def is_open(self) -> bool:
        return self._descriptor is not None

    def open(self, *, new: bool) -> Self:
        """Opens and locks the file; a `new` one is empty and replaces an existing one. Raises `OSError` if
        another process has locked the file or it cannot be opened."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = open_created(self.path, flags) if new else os.open(self.path, flags)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if new:
                os.ftruncate(self._descriptor, 0)
        except OSError:
            self.close()
            raise
        return self

    def reopen(self) -> None:
        """Opens the file for appending after its last complete line. Raises `OSError`."""
        try:
            self.open(new=False).read()
        except OSError:
            self._failed = True
            self.close()
            raise

    def read(self) -> bytes:
        """The complete lines. Truncates the file after them, so that the next entry begins a new line."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        os.truncate(self.path, whole)
        return content[:whole]

    def append(self, lines: bytes) -> None:
        """Appends `lines` with one write; the first call creates the file. Raises `OSError`."""
        if self._failed:
            return
        try:
            if self._descriptor is None:
                self.open(new=True)
            assert self._descriptor is not None
            if os.write(self._descriptor, lines) < len(lines):
                raise OSError("a short write: the disk is full")
        except OSError:
            self._failed = True
            if self._descriptor is not None:
                self.remove()
            raise

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        self.close()
        with suppress(FileNotFoundError):
            self.path.rename(self.path.with_suffix(SET_ASIDE))


class StoredFile:
    """A `StoredLog` in a file. No method raises `OSError`: `failed` is called with the error instead."""

    cancelled = False

    def __init__(
        self, stream_id: str, file: LogFile, disk: Disk, failed: Callable[[OSError], None], age: float = 0.0
    ) -> None:
        self.stream_id = stream_id
        self.age = age
        self._file, self._disk, self._failed = file, disk, failed
        self._length = 0

    def __repr__(self) -> str:
        return f"<StoredFile {self.stream_id[:8]}>"

    @property
    def healthy(self) -> bool:
        return self._file.healthy

    @property
    def length(self) -> int:
        return self._length

    async def reopen(self) -> None:
        """Opens the existing file for appending after its last complete entry."""
        await self._run(self._file.reopen)

    async def append(self, entries: Sequence[Entry]) -> None:
        lines = b"".join(b"%b %b\n" % (kind.encode(), body) for kind, body in entries)
        await self._run(partial(self._file.append, lines))

    async def seal(self, final: Entry) -> None:
        """Removes the file: the record has the whole session."""
        await self.remove()

    async def finish(self) -> None:
        await self.release()

    async def park(self) -> None:
        await self.release()

    async def remove(self) -> None:
        await self._run(self._file.remove)

    async def set_aside(self) -> None:
        await self._run(self._file.set_aside)

    async def release(self) -> None:
        if self._file.is_open:  # else the file was never created or is removed: no thread is needed
            await self._run(self._file.close)
        else:
            await trio.lowlevel.checkpoint()

    async def _run(self, operation: Callable[[], None]) -> None:
        try:
            await self._disk.run(operation)
        except OSError as error:
            self._failed(error)


class LogFiles:
    """`PacketLogs` in an existing folder. `failed` is called with each failure of a log."""

    def __init__(self, folder: Path, disk: Disk, failed: Callable[[OSError], None]) -> None:
        self._folder, self._disk, self._failed = folder, disk, failed

    def create(self, stream_id: str, owner: str = "") -> StoredFile:
        return StoredFile(stream_id, LogFile(self._path(stream_id)), self._disk, self._failed)

    async def load(self, stream_id: str) -> list[Entry] | None:
        if not is_stream_id(stream_id):
            await trio.lowlevel.checkpoint()
            return None
        try:
            content = await self._disk.run(self._path(stream_id).read_bytes)
        except FileNotFoundError:
            return None
        return entries_of(content)

    async def hold(self, stream_id: str) -> StoredFile:
        """The existing log of a stream, open for appending after its last complete entry. If it cannot be
        opened, `failed` is called and the session continues without its log."""
        stored = self.create(stream_id)
        await stored.reopen()
        return stored

    async def adopt(self) -> list[tuple[StoredLog, list[Entry]]]:
        return await self._disk.run(self._adopt)

    async def photographs(self) -> set[str]:
        return await self._disk.run(partial(photographs, self._folder))

    def _path(self, stream_id: str) -> Path:
        return self._folder / f"{stream_id}{SUFFIX}"

    def _adopt(self) -> list[tuple[StoredLog, list[Entry]]]:
        adopted: list[tuple[StoredLog, list[Entry]]] = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            file = LogFile(path)
            try:
                file.open(new=False)
                age = max(0.0, time.time() - path.stat().st_mtime)
                entries = entries_of(file.read())
            except OSError:  # a living process has locked the file
                file.close()
                continue
            if entries:
                adopted.append((StoredFile(path.stem, file, self._disk, self._failed, age), entries))
            else:
                file.remove()
        return adopted


def entries_of(content: bytes) -> list[Entry]:
    """The entries in the content of a file. An incomplete last line is ignored."""
    entries = []
    for line in content.split(b"\n")[:-1]:
        words = line.split(b" ", 3 if line.startswith(b"P ") else 1)
        entries.append(Entry(b" ".join(words[:-1]).decode(errors="replace"), words[-1]))
    return entries


def photographs(folder: Path) -> set[str]:
    """Hashes of the photographs that any file in `folder` refers to, including files that were set aside."""
    found: set[str] = set()
    for path in folder.glob("*"):  # nothing if the folder was removed
        with suppress(OSError):
            found |= photographs_in(path.read_bytes())
    return found


@asynccontextmanager
async def open_log_files(folder: Path, failed: Callable[[OSError], None]) -> AsyncIterator[LogFiles]:
    """The logs in `folder`, which is created if it does not exist."""
    disk = DiskThread()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.serve, name="packet logs on disk")  # noqa: ASYNC113 - `run` waits for it
        try:
            await disk.run(partial(folder.mkdir, parents=True, exist_ok=True, mode=0o700))
            yield LogFiles(folder, disk, failed)
        finally:
            disk.close()
