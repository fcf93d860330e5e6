"""A file in the data folder with the ids that its processes have in the shared database, so that a process
that starts can take over the sessions of the one before at once, not only when the lease of that one ends.

The incomplete uploads of those sessions are in the same data folder: no other master can continue them.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

import structlog

from pinactors.storage.folders import open_created

FILE = "masters"
"""Name of the file in the data folder."""

MAX_FILE_BYTES = 4096

log = structlog.get_logger(__name__)


class MasterIds:
    """The file, locked until `close`. Synchronous. `own` is the new id of this process; `earlier` has those
    of processes that have ended and may have left sessions, or none if another living process uses the
    folder."""

    def __init__(self) -> None:
        self.own = os.urandom(8).hex()
        self.earlier: list[str] = []
        self._descriptor: int | None = None

    @classmethod
    def register(cls, folder: Path) -> Self:
        """Adds the new id to the file. If that cannot be used, it is logged: the sessions are taken over
        later."""
        ids = cls()
        try:
            ids._descriptor = open_created(folder / FILE, os.O_RDWR)
            fcntl.flock(ids._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ids.earlier = os.pread(ids._descriptor, MAX_FILE_BYTES, 0).decode(errors="replace").split()
            ids._write([ids.own, *ids.earlier])
        except OSError as error:
            log.warning("the earlier process's sessions are not taken over at once", error=str(error))
            ids.close()
        return ids

    def forget_earlier(self) -> None:
        """Removes all ids but this process's, once the sessions of the others are taken over."""
        if self._descriptor is not None:
            with suppress(OSError):  # no harm: the next process finds no sessions under these ids
                self._write([self.own])

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, ids: list[str]) -> None:
        assert self._descriptor is not None
        text = " ".join(ids).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))
