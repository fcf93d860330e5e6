"""Photographs on disk, stored once by content hash. Synchronous: callers run it in a thread or a worker.

Bytes go into a file of the spool folder as they arrive, hashed on the way, and are moved into place by
rename: the store never holds half a photograph under a whole one's name.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pinactors.pipeline.upload import StoredImage

STALE_SECONDS = 24 * 3600
"""Time since its last byte after which a spooled file belongs to nobody."""


class Sink:
    """One file being received; ended by `keep` or `discard`. As a context manager it discards what was not
    kept."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._digest = hashlib.sha256()
        self.size = 0
        descriptor, self.path = tempfile.mkstemp(dir=store.spool)
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

    def keep(self) -> StoredImage:
        """Moves the file into the store, or drops it where the store has the same content already."""
        self._file.close()
        sha256 = self._digest.hexdigest()
        target = self._store.path_of(sha256)
        if target.is_file() and target.stat().st_size == self.size:
            os.unlink(self.path)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.path, target)
        return StoredImage(str(target), sha256, self.size)

    def discard(self) -> None:
        """Removes the file; nothing happens after `keep`."""
        if not self._file.closed:
            self._file.close()
            os.unlink(self.path)


@dataclass(frozen=True, slots=True)
class ImageStore:
    """`folder` holds `aa/<sha256>`; `spool`, on the same file system, what is still arriving."""

    folder: Path
    spool: Path

    def prepare(self) -> None:
        """Makes the folders and removes what a killed process left in the spool."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.spool.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - STALE_SECONDS
        for entry in os.scandir(self.spool):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                os.unlink(entry.path)

    def path_of(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def save(self, data: bytes | memoryview) -> StoredImage:
        """A photograph that is in memory already."""
        with Sink(self) as sink:
            sink.write(data)
            return sink.keep()
