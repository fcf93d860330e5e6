"""Photographs in the object store that several machines share; `ImageStore` holds this machine's copies.

An upload is accepted even if the object store is unavailable: its photograph is analysed from this machine's
disk and published when the object store is available again. Until then `waiting` counts the photograph, and
no other machine can take its session over.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog

from pinactors.storage.folders import write_whole
from pinactors.storage.objects import Objects, ObjectsUnavailable

PREFIX = "images/"

REFRESH_SECONDS = 12 * 3600.0
"""Age from which an object is stored again if its photograph arrives again: another machine may be about to
remove an old object that nothing refers to."""

log = structlog.get_logger(__name__)


class SharedImages:
    """The photographs in `objects`. Synchronous and thread-safe."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._waiting: dict[str, Path] = {}
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Number of photographs that are only on this machine."""
        return len(self._waiting)

    def publish(self, sha256: str, path: Path) -> None:
        """Stores the photograph in `path`: now or, if the object store is unavailable, in a later `retry`."""
        try:
            self._store(sha256, path)
        except ObjectsUnavailable as error:
            with self._lock:
                self._waiting[sha256] = path
            log.warning("photograph not shared yet", reason=str(error))

    def retry(self) -> None:
        """Stores the waiting photographs. Raises `ObjectsUnavailable` at the first that cannot be stored."""
        for sha256, path in list(self._waiting.items()):
            if path.is_file():  # else it was removed because nothing referred to it
                self._store(sha256, path)
            with self._lock:
                self._waiting.pop(sha256, None)

    def fetch(self, sha256: str, target: Path) -> None:
        """Copies the photograph to `target`, whole or not at all. Raises `FileNotFoundError`,
        `ObjectsUnavailable`, `OSError`."""
        write_whole(target, self._objects.get(_name(sha256)))

    def stale(self, before: dt.datetime) -> Iterator[str]:
        """Hashes of photographs that were stored before `before`. Raises `ObjectsUnavailable`."""
        for found in self._objects.list(PREFIX):
            if found.modified < before:
                yield found.name.rpartition("/")[2]

    def remove(self, sha256: str) -> None:
        """Removes the object of a photograph. Raises `ObjectsUnavailable`."""
        self._objects.delete(_name(sha256))

    def _store(self, sha256: str, path: Path) -> None:
        stored = self._objects.modified(_name(sha256))
        if stored is None or (dt.datetime.now(dt.UTC) - stored).total_seconds() > REFRESH_SECONDS:
            self._objects.put(_name(sha256), path)


def _name(sha256: str) -> str:
    return f"{PREFIX}{sha256[:2]}/{sha256}"
