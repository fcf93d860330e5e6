"""Folders that the program writes to: tests them before anything depends on them, and writes whole files."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


def write_whole(target: Path, data: bytes) -> None:
    """Writes `target`, whole or not at all, and replaces an existing file. Creates its folder. Raises
    `OSError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def open_created(path: Path, flags: int) -> int:
    """Opens a file, which is created if necessary, and returns its descriptor. Makes its folder again if that
    was removed while the program ran, as cleaners of temporary files do, but not the folder above: that one
    may be a volume that is not mounted. Raises `OSError`."""
    flags |= os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def make_writable(folder: Path, what: str) -> None:
    """Creates `folder`, and a temporary file in it as a test. Raises an `OSError` that says what cannot be
    written, where, and why; `what` is the folder's name in that message."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        if isinstance(error, FileExistsError):
            reason = os.strerror(errno.ENOTDIR)
        raise OSError(f"the {what} {folder} cannot be written: {reason}") from error
