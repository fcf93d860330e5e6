"""Incomplete uploads, on disk. Synchronous: callers run it in a thread.

Each upload has two files in the folder. `<id>.bytes` holds the bytes received so far, from the first on and
without gaps, so that its size is the offset at which the upload continues. `<id>.json` is the description of
the upload, which this module does not interpret. If the process is killed during `append`, the file may hold
only the beginning of the data that was to be appended; a description is always replaced as a whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pinactors.storage.folders import open_created

BYTES, DESCRIPTION, REPLACEMENT = ".bytes", ".json", ".new"

UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""Ids that an upload can have; a client may ask for any other string."""


class OffsetMismatch(Exception):
    """Bytes were to be appended elsewhere than at the end of the upload; `offset` is that end."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload goes on at {offset}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload that an earlier process left; `changed_at` is in seconds since 1970."""

    upload_id: str
    description: bytes
    offset: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class PartialUploadStore:
    """The incomplete uploads in `folder`.

    Every method raises `OSError`, and `FileNotFoundError` for an upload that does not exist.
    """

    folder: Path

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, upload_id: str, description: bytes) -> None:
        """Creates an empty upload. The description is written last: an upload exists only with one."""
        os.close(open_created(self.path_of(upload_id), os.O_WRONLY | os.O_EXCL))
        try:
            self.describe(upload_id, description)
        except BaseException:
            self.forget_bytes(upload_id)
            raise

    def describe(self, upload_id: str, description: bytes) -> None:
        """Replaces the description."""
        path = self._file(upload_id, DESCRIPTION)
        new = path.with_suffix(REPLACEMENT)
        try:
            with open(new, "wb", opener=_private) as file:
                file.write(description)
            os.replace(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def append(self, upload_id: str, offset: int, data: bytes) -> int:
        """Appends `data` and returns the new offset. Raises `OffsetMismatch` unless `offset` is the end."""
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
        """The offset at which the upload continues. Syncs the file: all bytes before it survive a power
        failure."""
        descriptor = os.open(self.path_of(upload_id), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def read(self, upload_id: str, offset: int, length: int) -> bytes:
        """Returns at most `length` bytes from `offset` on."""
        with self.path_of(upload_id).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def truncate(self, upload_id: str, offset: int) -> None:
        """Removes the bytes from `offset` on."""
        os.truncate(self.path_of(upload_id), offset)

    def forget_bytes(self, upload_id: str) -> None:
        """Removes the bytes and keeps the description."""
        self.path_of(upload_id).unlink(missing_ok=True)

    def remove(self, upload_id: str) -> None:
        """Removes the upload; does nothing if it does not exist."""
        self._file(upload_id, DESCRIPTION).unlink(missing_ok=True)
        self.forget_bytes(upload_id)

    def stored_uploads(self) -> Iterator[StoredUpload]:
        """Every upload that has a description. Removes files without one, which a killed process left."""
        for path in sorted(self.folder.iterdir()):
            if path.suffix == DESCRIPTION and UPLOAD_ID.fullmatch(path.stem):
                content = self.path_of(path.stem)
                changed, offset = path.stat().st_mtime, 0
                with suppress(FileNotFoundError):
                    found = content.stat()
                    changed, offset = max(changed, found.st_mtime), found.st_size
                yield StoredUpload(path.stem, path.read_bytes(), offset, changed)
            elif path.suffix in (BYTES, REPLACEMENT) and not path.with_suffix(DESCRIPTION).exists():
                path.unlink(missing_ok=True)

    def path_of(self, upload_id: str) -> Path:
        """The path of the file that holds the upload's bytes."""
        return self._file(upload_id, BYTES)

    def _file(self, upload_id: str, suffix: str) -> Path:
        if not UPLOAD_ID.fullmatch(upload_id):
            raise FileNotFoundError(upload_id)
        return self.folder / f"{upload_id}{suffix}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
