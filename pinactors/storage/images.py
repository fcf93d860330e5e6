"""Photographs on disk, stored once by the hash of what was sent. Synchronous: callers run it in a thread or
a worker. What is kept is the photograph without its metadata (`storage.metadata`).

Bytes go into a file of the spool folder as they arrive, hashed on the way, and are moved into place by
rename: the store never holds half a photograph under a whole one's name.

A photograph is kept before anybody knows whether its upload will be accepted. Until then a `Lease` protects
it; what nobody refers to in the end is removed by `api.housekeeping`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

from pinactors.settings import Settings
from pinactors.storage.metadata import clean_file
from pinactors.storage.objects import open_objects
from pinactors.storage.shared_images import SharedImages
from pinactors.storage.stored_image import StoredImage

STALE_SECONDS = 24 * 3600
"""Time since its last byte after which a file that a killed process left belongs to nobody."""


JUST_ARRIVED_SECONDS = 30.0
"""Age up to which a photograph may belong to an upload of another process that nothing refers to yet."""


FILE_LOCKS = 16
"""Photographs whose files can be moved or removed at the same moment, at most."""


class Place(Protocol):
    """Where a `Sink` puts what it received: the store, or a lease of it."""

    @property
    def spool(self) -> Path: ...

    def take_in(self, received: Path, sha256: str, size: int) -> StoredImage:
        """Moves a file of the spool into the store, or drops it where the same content is there already."""
        ...


class Sink:
    """One file being received; ended by `keep` or `discard`. As a context manager it discards what was not
    kept."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._digest = hashlib.sha256()
        self.size = 0
        descriptor, self.path = tempfile.mkstemp(dir=place.spool)
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, data: bytes | memoryview) -> None:
        """Raises `OSError` (disk full)."""
        self._digest.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    @property
    def kept(self) -> bool:
        """Whether there is no file any more that `discard` would remove."""
        return self._file.closed

    def keep(self) -> StoredImage:
        """Gives the photograph to the store, without its metadata, under the hash of what was received: sent
        again, it is known. Raises `OSError` (disk full)."""
        self._file.close()
        path = Path(self.path)
        try:
            size = clean_file(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return self._place.take_in(path, self._digest.hexdigest(), size)

    def discard(self) -> None:
        """Removes the file; nothing happens after `keep`."""
        if not self._file.closed:
            self._file.close()
            os.unlink(self.path)


@dataclass(frozen=True, slots=True)
class ImageStore:
    """`folder` holds `aa/<sha256>`; `spool`, inside it as it may be a volume of its own, what is arriving.

    Where several machines share photographs, `shared` has them all and the folder what came or was asked for
    here.

    `_lock` is held for what is in memory only: the event loop takes it, too. One of `_files`, by the hash, is
    held while a photograph's file and what is known of it change together; then `_lock` comes second.

    `_unsettled` are photographs that this process took in and that may turn out to be nobody's, each with the
    number of its latest arrival: whoever removes one must have looked since then.
    """

    folder: Path
    shared: SharedImages | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _files: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(FILE_LOCKS))
    )
    _unsettled: dict[str, int] = field(default_factory=dict)
    _leased: Counter[str] = field(default_factory=Counter)
    _arrivals: list[int] = field(default_factory=lambda: [0])

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def prepare(self) -> None:
        """Makes the folders and removes what a killed process left in the spool."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.spool.mkdir(parents=True, exist_ok=True)
        # Where the first release received photographs: a process killed then may have left some.
        shutil.rmtree(self.folder.parent / "spool", ignore_errors=True)
        oldest = time.time() - STALE_SECONDS
        for entry in os.scandir(self.spool):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                os.unlink(entry.path)

    def _file_lock(self, sha256: str) -> threading.Lock:
        return self._files[hash(sha256) % FILE_LOCKS]

    def path_of(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def save(self, data: bytes | memoryview) -> StoredImage:
        """A photograph that is in memory already."""
        with Sink(self) as sink:
            sink.write(data)
            return sink.keep()

    def take_in(self, received: Path, sha256: str, size: int, lease: Lease | None = None) -> StoredImage:
        target = self.path_of(sha256)
        with self._file_lock(sha256):
            if target.is_file() and target.stat().st_size == size:
                os.unlink(received)
                os.utime(target)  # not stale any more, should this be all that speaks for it
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(received, target)
            with self._lock:
                self._arrivals[0] += 1
                self._unsettled[sha256] = self._arrivals[0]
                if lease is not None and sha256 not in lease.held:
                    lease.held.add(sha256)
                    self._leased[sha256] += 1
        if self.shared is not None:
            self.shared.publish(sha256, target)
        return StoredImage(str(target), sha256, size)

    def bring(self, image: StoredImage) -> StoredImage:
        """`image` on this machine's disk, whichever machine took it in.

        Raises `FileNotFoundError` where it is nowhere, and `OSError`, `ObjectsUnavailable` among it.
        """
        path = Path(image.path)
        if path.is_file():
            return image
        path = self.path_of(image.sha256)
        if not path.is_file():
            if self.shared is None:
                raise FileNotFoundError(f"photograph {image.sha256[:12]} is not on this machine")
            self.shared.fetch(image.sha256, path)
        return replace(image, path=str(path))

    @contextmanager
    def leasing(self) -> Iterator[Lease]:
        """Inside, what is taken in through the lease is in use."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            with self._lock:
                self._leased.subtract(lease.held)

    def unsettled(self) -> dict[str, int]:
        """Photographs that may be nobody's, with the numbers of their arrivals; no leased ones."""
        with self._lock:
            return {sha256: number for sha256, number in self._unsettled.items() if not self._leased[sha256]}

    def settle(self, sha256: str) -> None:
        """Somebody keeps it for good."""
        with self._lock:
            if not self._leased[sha256]:
                self._unsettled.pop(sha256, None)
                del self._leased[sha256]

    def remove(self, sha256: str, arrival: int) -> bool:
        """Removes what nobody refers to; False when it arrived once more since it was looked at.

        A shared copy stays until it is stale: another machine may have just been given the same photograph.
        """
        with self._file_lock(sha256):
            with self._lock:
                if self._leased[sha256] or self._unsettled.get(sha256) != arrival:
                    return False
                del self._unsettled[sha256], self._leased[sha256]
            self.path_of(sha256).unlink(missing_ok=True)
        return True

    def forget(self, sha256: str) -> bool:
        """Removes a photograph that no analysis refers to any more, the shared copy too; False when it came
        in again lately, for an analysis that is not recorded yet. Raises `OSError`, `ObjectsUnavailable`."""
        path = self.path_of(sha256)
        with self._file_lock(sha256):
            with self._lock:
                if self._leased[sha256] or sha256 in self._unsettled:
                    return False
            with suppress(FileNotFoundError):
                if path.stat().st_mtime > time.time() - JUST_ARRIVED_SECONDS:
                    return False
                path.unlink()
        if self.shared is not None:
            self.shared.remove(sha256)
        return True

    def stale(self) -> Iterator[list[str]]:
        """Photographs of long ago, a folder at a time: a killed process may have left them."""
        oldest = time.time() - STALE_SECONDS
        for number in range(256):
            found = []
            with suppress(FileNotFoundError), os.scandir(self.folder / f"{number:02x}") as entries:
                found = [entry.name for entry in entries if entry.stat().st_mtime < oldest]
            yield found

    def remove_stale(self, sha256: str) -> None:
        """Removes what nobody refers to, unless it arrived once more."""
        path = self.path_of(sha256)
        with self._file_lock(sha256), suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - STALE_SECONDS:
                path.unlink()


def open_image_store(settings: Settings) -> ImageStore:
    """The photographs of `settings.storage`, not prepared yet. Raises `SettingUnusable`."""
    shared = None if settings.storage.startswith("file:") else SharedImages(open_objects(settings))
    return ImageStore(settings.images_folder, shared)


@dataclass(frozen=True, slots=True)
class Lease:
    """What one upload brought; see `ImageStore.leasing`."""

    store: ImageStore
    held: set[str] = field(default_factory=set)

    @property
    def spool(self) -> Path:
        return self.store.spool

    def take_in(self, received: Path, sha256: str, size: int) -> StoredImage:
        return self.store.take_in(received, sha256, size, self)
