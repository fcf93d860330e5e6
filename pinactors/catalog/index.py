"""The files of the search index, and the file `CURRENT`, which names the index in use.

The database is authoritative; the index is derived from it and can be built again at any time. Each state is
written to new files and then named in `CURRENT`, which is replaced atomically: a reader sees the old or the
new state, never a mixture, and after the kill of an import the old state stays in use. Readers map the files
into memory, so that worker processes share the pages.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pinactors.analysis.matching import inverted_index
from pinactors.analysis.matching.inverted_index import InvertedIndex
from pinactors.analysis.matching.keypoints import Features

CURRENT_FILE = "CURRENT"
INDEX_FOLDER = "index"


@dataclass(frozen=True, slots=True)
class IndexState:
    """The content of `CURRENT`. `index` is a path relative to the folder, `revision` the last database change
    that the index covers, `version` the name of the catalogue's content shown to people and stored in
    records, `features` the version of the features in the index."""

    version: str
    revision: int
    index: str
    pins: int
    demonstration: bool
    features: int


def read_state(folder: Path) -> IndexState | None:
    """Reads the state in use; None if there is no catalogue. Raises `ValueError` for a damaged file."""
    try:
        text = (folder / CURRENT_FILE).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return IndexState(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CURRENT_FILE} is damaged: import the catalogue again") from error


def current_identity(folder: Path) -> tuple[int, int, int] | None:
    """Inode, modification time and size of `CURRENT`: they change when it is replaced. None if there is no
    catalogue."""
    try:
        status = os.stat(folder / CURRENT_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def write_state(folder: Path, state: IndexState) -> None:
    """Makes `state` the one that readers see, then removes the files of older indexes."""
    write_durably(folder / CURRENT_FILE, json.dumps(asdict(state)).encode())
    for path in (folder / INDEX_FOLDER).iterdir():
        if path.name.partition(".")[0] != Path(state.index).name:
            path.unlink(missing_ok=True)  # a reader that has mapped the file can still read it


def write_durably(path: Path, data: bytes | npt.NDArray[Any]) -> None:
    """Writes a file completely or not at all, even if the power fails; several threads may write the same
    file. An array is written in numpy's format."""
    partial = path.with_name(f"{path.name}.{threading.get_ident()}.partial")
    with open(partial, "wb") as file:
        if isinstance(data, bytes):
            file.write(data)
        else:
            np.save(file, data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def build(
    folder: Path, revision: int, previous: IndexState | None, changed: Iterable[tuple[int, bytes]]
) -> str:
    """Builds a new index: the previous one with `changed` (pin number, stored features) added or replaced.
    Returns the index's name, with which the names of its files begin."""
    before = open_index(folder / previous.index) if previous is not None else inverted_index.empty()
    after = before.replaced((number, Features.decode(data)) for number, data in changed)
    (folder / INDEX_FOLDER).mkdir(exist_ok=True)
    name = f"{INDEX_FOLDER}/{revision:08d}"
    save_index(folder / name, after)
    return name


def save_index(path: Path, saved: InvertedIndex) -> None:
    """Writes one file per array of the index; `path` is the index's name."""
    for field in fields(saved):
        write_durably(_file(path, field.name), np.ascontiguousarray(getattr(saved, field.name)))


def open_index(path: Path) -> InvertedIndex:
    """Maps the files of the index named `path`. Raises `OSError` or `ValueError` for a missing or damaged
    file."""
    mapped = {field.name: np.load(_file(path, field.name), mmap_mode="r") for field in fields(InvertedIndex)}
    # Slicing an ndarray costs less than slicing a memmap.
    return InvertedIndex(**{name: np.asarray(array) for name, array in mapped.items()})


def _file(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}")
