"""Photographs on disk, each stored once under the hash of the bytes that were sent, without its metadata
(`storage.metadata`). Synchronous: callers run it in a thread or a worker.

Bytes are written to a file in the spool folder and hashed as they arrive. The complete file is renamed into
its place, so that the store never holds an incomplete photograph.

A photograph is stored before its upload is accepted. Until then a `Lease` protects it; `api.housekeeping`
removes photographs that nothing refers to in the end.
"""

from __future__ import annotations

import hashlib
import io
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
"""Time since its last change after which a file that nothing refers to is removed: a killed process left
it."""


JUST_ARRIVED_SECONDS = 30.0
"""Age up to which a photograph may belong to an upload in another process that is not recorded yet."""


FILE_LOCKS = 16
"""At most so many photographs' files are moved or removed at the same moment."""


class ImageTarget(Protocol):
    """Where a `Sink` puts the photograph that it received: the store, or a lease of the store."""

    def ready_spool(self) -> Path:
        """The folder for files that arrive. Raises `OSError` if there is none."""
        ...

    def take_in(self, received: Path, sha256: str, size: int) -> StoredImage:
        """Moves a file of the spool into the store, or deletes it if the store has the same content."""
        ...


class Sink:
    """One file that is being received, until `keep` or `discard`. As a context manager it discards the file
    at the end, unless it was kept."""

    def __init__(self, target: ImageTarget, path: str, file: io.FileIO) -> None:
        self._target, self.path, self._file = target, path, file
        self._digest = hashlib.sha256()
        self.size = 0

    @classmethod
    def create(cls, target: ImageTarget) -> Self:
        """A new file beside the photographs of `target`. Raises `OSError`."""
        descriptor, path = tempfile.mkstemp(dir=target.ready_spool())
        return cls(target, path, io.FileIO(descriptor, "wb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, data: bytes | memoryview) -> None:
        """Appends `data` to the file. Raises `OSError` (disk full)."""
        self._digest.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    @property
    def kept(self) -> bool:
        """Whether the file was kept or discarded: `discard` then does nothing."""
        return self._file.closed

    def keep(self) -> StoredImage:
        """Moves the photograph, without its metadata, into the store under the hash of the bytes that were
        received, so that the same photograph is recognised when it is sent again. Raises `OSError` (disk
        full)."""
        self._file.close()
        path = Path(self.path)
        try:
            size = clean_file(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return self._target.take_in(path, self._digest.hexdigest(), size)

    def discard(self) -> None:
        """Removes the file; does nothing after `keep`."""
        if not self._file.closed:
            self._file.close()
            Path(self.path).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ImageStore:
    """The photographs in `folder`, each in `aa/<sha256>`, where `aa` are the first two digits of the hash.

    `spool` holds the files that are arriving. It is a subfolder because `folder` may be a separate volume.

    If several machines share photographs, `shared` has all of them, and the folder those that arrived at or
    were requested on this machine.

    `_lock` protects data in memory only and is held briefly, because the event loop takes it too. One of
    `_files`, chosen by the hash, is held while a photograph's file and the data about it change together;
    `_lock` is then taken second.

    `_unrecorded` has the photographs that this process took in and that perhaps nothing will refer to, each
    with the number of its latest arrival. One may be removed only if its references were checked after that
    arrival.
    """

    folder: Path
    shared: SharedImages | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _files: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(FILE_LOCKS))
    )
    _unrecorded: dict[str, int] = field(default_factory=dict)
    _leased: Counter[str] = field(default_factory=Counter)
    _arrivals: list[int] = field(default_factory=lambda: [0])
    _volumes: list[int] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def prepare(self) -> None:
        """Creates the folders and removes files that a killed process left in the spool."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.spool.mkdir(parents=True, exist_ok=True)
        self._volumes.append(self.spool.stat().st_dev)
        # The spool folder of the first release: a killed process may have left files there.
        shutil.rmtree(self.folder.parent / "spool", ignore_errors=True)
        oldest = time.time() - STALE_SECONDS
        for entry in os.scandir(self.spool):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                os.unlink(entry.path)

    def ready_spool(self) -> Path:
        """The spool folder, made again if it was removed while the program ran, as cleaners of temporary
        files do. Raises `OSError` if the volume on which `prepare` made it is not mounted: photographs that
        are stored elsewhere would be lost when it is mounted again."""
        if not self.spool.is_dir():
            folder = self.folder if self.folder.is_dir() else self.folder.parent
            if folder.stat().st_dev not in self._volumes:
                raise OSError(f"the volume of {self.folder} is not mounted")
            self.spool.mkdir(parents=True, exist_ok=True)
        return self.spool

    def _file_lock(self, sha256: str) -> threading.Lock:
        return self._files[hash(sha256) % FILE_LOCKS]

    def path_of(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def save(self, data: bytes | memoryview) -> StoredImage:
        """Stores a photograph that is in memory."""
        with Sink.create(self) as sink:
            sink.write(data)
            return sink.keep()

    def take_in(self, received: Path, sha256: str, size: int, lease: Lease | None = None) -> StoredImage:
        target = self.path_of(sha256)
        with self._file_lock(sha256):
            if target.is_file() and target.stat().st_size == size:
                os.unlink(received)
                os.utime(target)  # so that `remove_stale` keeps it although nothing may refer to it yet
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(received, target)
            with self._lock:
                self._arrivals[0] += 1
                self._unrecorded[sha256] = self._arrivals[0]
                if lease is not None and sha256 not in lease.held:
                    lease.held.add(sha256)
                    self._leased[sha256] += 1
        if self.shared is not None:
            self.shared.publish(sha256, target)
        return StoredImage(str(target), sha256, size)

    def fetch(self, image: StoredImage) -> StoredImage:
        """`image` with its path on this machine's disk, copied from the shared store if necessary.

        Raises `FileNotFoundError` if neither has the photograph, and other `OSError`, such as
        `ObjectsUnavailable`.
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
        """Protects the photographs that are stored through the lease until the context ends."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            with self._lock:
                self._leased.subtract(lease.held)

    def unrecorded(self) -> dict[str, int]:
        """Photographs without a lease that perhaps nothing refers to, with the numbers of their arrivals."""
        with self._lock:
            return {sha256: number for sha256, number in self._unrecorded.items() if not self._leased[sha256]}

    def mark_recorded(self, sha256: str) -> None:
        """Marks a photograph as referred to by a record, unless it is leased."""
        with self._lock:
            if not self._leased[sha256]:
                self._unrecorded.pop(sha256, None)
                del self._leased[sha256]

    def remove(self, sha256: str, arrival: int) -> bool:
        """Removes a photograph that nothing refers to. Returns False, and keeps it, if it is leased or has
        arrived again since `arrival`.

        A shared copy stays until it is stale: another machine may just have received the same photograph.
        """
        with self._file_lock(sha256):
            with self._lock:
                if self._leased[sha256] or self._unrecorded.get(sha256) != arrival:
                    return False
                del self._unrecorded[sha256], self._leased[sha256]
            self.path_of(sha256).unlink(missing_ok=True)
        return True

    def forget(self, sha256: str) -> bool:
        """Removes a photograph that no analysis refers to any more, with its shared copy. Returns False, and
        keeps it, if it has arrived again recently for an analysis that is not recorded yet. Raises `OSError`,
        `ObjectsUnavailable`."""
        path = self.path_of(sha256)
        with self._file_lock(sha256):
            with self._lock:
                if self._leased[sha256] or sha256 in self._unrecorded:
                    return False
            with suppress(FileNotFoundError):
                if path.stat().st_mtime > time.time() - JUST_ARRIVED_SECONDS:
                    return False
                path.unlink()
        if self.shared is not None:
            self.shared.remove(sha256)
        return True

    def stale(self) -> Iterator[list[str]]:
        """Hashes of photographs older than `STALE_SECONDS`, one list per subfolder. A killed process may have
        left some of them without a record."""
        oldest = time.time() - STALE_SECONDS
        for number in range(256):
            found = []
            with suppress(FileNotFoundError), os.scandir(self.folder / f"{number:02x}") as entries:
                found = [entry.name for entry in entries if entry.stat().st_mtime < oldest]
            yield found

    def remove_stale(self, sha256: str) -> None:
        """Removes a photograph that nothing refers to, unless it has arrived again."""
        path = self.path_of(sha256)
        with self._file_lock(sha256), suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - STALE_SECONDS:
                path.unlink()


def open_image_store(settings: Settings) -> ImageStore:
    """The image store of `settings.storage`; `prepare` is still to be called. Raises `SettingUnusable`."""
    shared = None if settings.storage.startswith("file:") else SharedImages(open_objects(settings))
    return ImageStore(settings.images_folder, shared)


@dataclass(frozen=True, slots=True)
class Lease:
    """Protects the photographs of one upload from removal; see `ImageStore.leasing`."""

    store: ImageStore
    held: set[str] = field(default_factory=set)

    def ready_spool(self) -> Path:
        return self.store.ready_spool()

    def take_in(self, received: Path, sha256: str, size: int) -> StoredImage:
        return self.store.take_in(received, sha256, size, self)
