"""Uploads that have not arrived whole yet, on disk. Synchronous: callers run it in a thread.

Of each upload two files lie in the folder: `<id>.bytes` is what arrived, from its first byte on and without
gaps, so that its size is the offset at which the upload goes on; `<id>.json` is its description, which means
nothing here. A process may be killed at any moment: what `append` was called with is a prefix of the file or
not in it at all, and a description is replaced as a whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BYTES, DESCRIPTION, REPLACEMENT = ".bytes", ".json", ".new"

_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class OffsetMismatch(Exception):
    """Bytes were to be appended somewhere else than at the end; `offset` is where that is."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload goes on at {offset}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Kept:
    """An upload as an earlier process left it; `changed_at` is in seconds since 1970."""

    upload_id: str
    description: bytes
    offset: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class PartialUploadStore:
    """Every method raises `OSError`, and `FileNotFoundError` for an upload that is not there."""

    folder: Path

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, upload_id: str, description: bytes) -> None:
        """An empty upload. Its description is written last: without it there is no upload."""
        descriptor = os.open(self.path_of(upload_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.close(descriptor)
        self.describe(upload_id, description)

    def describe(self, upload_id: str, description: bytes) -> None:
        """Replaces the description."""
        path = self._file(upload_id, DESCRIPTION)
        new = path.with_suffix(REPLACEMENT)
        with open(new, "wb", opener=_private) as file:
            file.write(description)
        os.replace(new, path)

    def append(self, upload_id: str, offset: int, data: bytes) -> int:
        """The new offset. Raises `OffsetMismatch` unless `offset` is the present one."""
        descriptor = os.open(self.path_of(upload_id), os.O_WRONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size != offset:
                raise OffsetMismatch(size)
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                offset, view = offset + written, view[written:]
        finally:
            os.close(descriptor)
        return offset

    def offset(self, upload_id: str) -> int:
        """Where the upload goes on. Everything before it survives a loss of power."""
        descriptor = os.open(self.path_of(upload_id), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def read(self, upload_id: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset` on."""
        with self.path_of(upload_id).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def truncate(self, upload_id: str, offset: int) -> None:
        """Takes back what was appended behind `offset`."""
        os.truncate(self.path_of(upload_id), offset)

    def forget_bytes(self, upload_id: str) -> None:
        """Only the description is still of use."""
        self.path_of(upload_id).unlink(missing_ok=True)

    def remove(self, upload_id: str) -> None:
        """Nothing happens when it is gone already."""
        self._file(upload_id, DESCRIPTION).unlink(missing_ok=True)
        self.forget_bytes(upload_id)

    def kept(self) -> Iterator[Kept]:
        """Every upload that has a description. Removes files without one: a killed process left them."""
        for path in sorted(self.folder.iterdir()):
            if path.suffix == DESCRIPTION and _ID.fullmatch(path.stem):
                content = self.path_of(path.stem)
                changed, offset = path.stat().st_mtime, 0
                with suppress(FileNotFoundError):
                    found = content.stat()
                    changed, offset = max(changed, found.st_mtime), found.st_size
                yield Kept(path.stem, path.read_bytes(), offset, changed)
            elif path.suffix in (BYTES, REPLACEMENT) and not path.with_suffix(DESCRIPTION).exists():
                path.unlink(missing_ok=True)

    def path_of(self, upload_id: str) -> Path:
        """The file of the bytes."""
        return self._file(upload_id, BYTES)

    def _file(self, upload_id: str, suffix: str) -> Path:
        if not _ID.fullmatch(upload_id):
            raise FileNotFoundError(upload_id)
        return self.folder / f"{upload_id}{suffix}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
