"""A slow disk for tests: it delays calls to files and to the database, and records calls in the event loop's
thread."""

from __future__ import annotations

import builtins
import io
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee
import pytest

CALL_SECONDS = 0.2
"""Default seconds that a call to the disk takes in threads other than the event loop's."""

_BY_PATH = (
    *("open", "unlink", "remove", "replace", "rename", "stat", "scandir", "listdir"),
    *("mkdir", "rmdir", "truncate", "utime", "link", "lstat", "statvfs", "access", "readlink"),
)
_BY_DESCRIPTOR = ("write", "pwrite", "pread", "fsync", "ftruncate", "fstat", "posix_fallocate")


class SlowDisk:
    """The delays and what was recorded. `on_loop`: the places of the calls in the thread that created this
    object, which must be the event loop's. `calls`: the number of calls in other threads."""

    def __init__(self, folders: tuple[Path, ...], seconds: float) -> None:
        self._folders, self._seconds = tuple(map(str, folders)), seconds
        self._loop = threading.get_ident()
        self.on_loop: list[str] = []
        self.calls = 0

    def slow(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            if self._reaches_disk(arguments[0] if arguments else None):
                self._note(function)
            return function(*arguments, **named)

        return called

    def slow_query(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(database: Any, *arguments: Any, **named: Any) -> Any:
            self._note(function)
            return function(database, *arguments, **named)

        return called

    def _note(self, function: Callable[..., Any]) -> None:
        if threading.get_ident() == self._loop:
            stack = reversed([(frame.f_code.co_filename, line) for frame, line in traceback.walk_stack(None)])
            ours = [(file, line) for file, line in stack if "/api/" in file or "/pinactors/" in file]
            places = [f"{Path(file).name}:{line}" for file, line in ours[-4:]]
            self.on_loop.append(f"{function.__name__} from {' '.join(places)}")
        else:
            self.calls += 1
            time.sleep(self._seconds)

    def _reaches_disk(self, target: Any) -> bool:
        if isinstance(target, int):
            try:
                target = os.readlink(f"/proc/self/fd/{target}")
            except OSError:
                return False
        elif isinstance(target, os.DirEntry):
            target = target.path
        try:
            return os.fspath(target).startswith(self._folders)
        except TypeError:
            return False


@contextmanager
def slow_disk(*folders: Path, seconds: float = CALL_SECONDS) -> Iterator[SlowDisk]:
    """Delays each call for a file below `folders`, and each query of the database, by `seconds`, inside the
    `with` block. Must be entered in the event loop's thread, whose calls are recorded and not delayed."""
    disk = SlowDisk(folders, seconds)
    with pytest.MonkeyPatch.context() as patch:
        for name in (*_BY_PATH, *_BY_DESCRIPTOR):
            patch.setattr(os, name, disk.slow(getattr(os, name)))
        opened = disk.slow(io.open)
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(
            peewee.SqliteDatabase, "execute_sql", disk.slow_query(peewee.SqliteDatabase.execute_sql)
        )
        yield disk
