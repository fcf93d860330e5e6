"""Scratch files: values that worker processes exchange, each in a file that is written once and mapped by its
readers; and the folder of these files.

A file has a header, the value's pickle (protocol 5) and the pickle's out-of-band buffers, each on a 64-byte
boundary. A reader maps the file and unpickles from the mapping: arrays are not copied, and are read-only.

Layout, little-endian: magic (8 bytes), pickle size (u64), buffer count (u64), per buffer offset and size
(2 x u64), pickle, padding, buffers.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import pickle
import secrets
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pinactors.compute import Handle

MAGIC = b"pinacts1"
ALIGNMENT = 64
"""Bytes of a cache line, the alignment that numpy and OpenCV prefer."""

_HEAD = struct.Struct("<8sQQ")
_BUFFER_ENTRY = struct.Struct("<QQ")


def save(folder: str, value: Any) -> Handle:
    """Writes `value` to a new file in `folder`, which is created if necessary. Raises `OSError`."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    position = _aligned(_HEAD.size + _BUFFER_ENTRY.size * len(views) + len(pickled))
    entries = []
    for view in views:
        entries.append((position, view.nbytes))
        position = _aligned(position + view.nbytes)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, secrets.token_hex(8))
    try:
        with open(path, "xb") as file:
            file.write(_HEAD.pack(MAGIC, len(pickled), len(views)))
            file.write(b"".join(_BUFFER_ENTRY.pack(*entry) for entry in entries))
            file.write(pickled)
            for (offset, _), view in zip(entries, views, strict=True):
                file.write(b"\0" * (offset - file.tell()))
                file.write(view)
    except OSError:  # an incomplete file would only take up space
        with suppress(OSError):
            os.unlink(path)
        raise
    return Handle(path, bool(getattr(value, "decided", False)))


def load(handle: Handle) -> Any:
    """The value of `handle`. Its arrays are read-only; the mapping exists as long as anything refers to them.

    Raises `OSError` if the file is gone, and `ValueError` if it is not a scratch file.
    """
    with open(handle.path, "rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    magic, pickled, count = _HEAD.unpack_from(mapped)
    if magic != MAGIC:
        raise ValueError(f"{handle.path} is not a scratch file")
    start = _HEAD.size + _BUFFER_ENTRY.size * count
    entries = _BUFFER_ENTRY.iter_unpack(mapped[_HEAD.size : start])
    buffers = [mapped[offset : offset + size] for offset, size in entries]
    return pickle.loads(mapped[start : start + pickled], buffers=buffers)  # noqa: S301 - our own worker wrote it


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


@contextmanager
def open_scratch(parent: Path) -> Iterator[Path]:
    """Creates a folder in `parent` and removes it at the end. First removes folders there that no living
    process holds."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in parent.iterdir():
        with _locked(stale) as lock_held:
            if lock_held:
                shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    with _locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Holds the lock of `folder` while inside. Gives False if another process holds it, or `folder` is no
    folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
