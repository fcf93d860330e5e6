"""Photographs in the object store, where several machines find them; `ImageStore` holds this machine's
copies.

An upload is not refused because the object store is away: its photograph is analysed from this machine's
disk and stored as soon as the store is back. Until then `waiting` says so, and no other machine could take
the session over.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog

from pinactors.storage.objects import Objects, ObjectsUnavailable

PREFIX = "images/"

REFRESH_SECONDS = 12 * 3600.0
"""Age from which on an object that arrives again is stored again: an old one that nobody refers to may be
about to be removed by another machine."""

log = structlog.get_logger(__name__)


class SharedImages:
    """Synchronous, and safe on several threads."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._waiting: dict[str, Path] = {}
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Photographs that are on this machine alone."""
        return len(self._waiting)

    def publish(self, sha256: str, path: Path) -> None:
        """Stores the photograph in `path`, now or with a later `retry`."""
        try:
            self._store(sha256, path)
        except ObjectsUnavailable as error:
            with self._lock:
                self._waiting[sha256] = path
            log.warning("photograph not shared yet", reason=str(error))

    def retry(self) -> None:
        """Stores what waits. Raises `ObjectsUnavailable` with the first that cannot be."""
        for sha256, path in list(self._waiting.items()):
            if path.is_file():  # else removed: it was nobody's
                self._store(sha256, path)
            with self._lock:
                self._waiting.pop(sha256, None)

    def fetch(self, sha256: str, target: Path) -> None:
        """Makes `target`, whole or not at all. Raises `FileNotFoundError`, `ObjectsUnavailable`,
        `OSError`."""
        data = self._objects.get(_name(sha256))
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, target)

    def stale(self, before: dt.datetime) -> Iterator[str]:
        """Hashes of photographs that were stored before `before`. Raises `ObjectsUnavailable`."""
        for found in self._objects.list(PREFIX):
            if found.modified < before:
                yield found.name.rpartition("/")[2]

    def remove(self, sha256: str) -> None:
        """Raises `ObjectsUnavailable`."""
        self._objects.delete(_name(sha256))

    def _store(self, sha256: str, path: Path) -> None:
        stored = self._objects.modified(_name(sha256))
        if stored is None or (dt.datetime.now(dt.UTC) - stored).total_seconds() > REFRESH_SECONDS:
            self._objects.put(_name(sha256), path)


def _name(sha256: str) -> str:
    return f"{PREFIX}{sha256[:2]}/{sha256}"
