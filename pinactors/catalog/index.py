"""The search index beside the database, and the one file that says which index counts.

The database is the truth; an index is derived from it and can be made anew at any time. Each state is
written to a new file and then named in `CURRENT`, which is replaced atomically: a reader sees the state
before or after, never something between, and an import that is killed leaves the old state in force.

usearch is used because it searches a memory-mapped file as it lies on disk (faiss maps only inverted lists,
hnswlib and voyager load everything into each process), adds to an existing index, has wheels for every Python
supported here and is maintained. Its HNSW graph grows logarithmically in search time.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from usearch.index import Index

from pinactors.analysis.features import DIMENSIONS
from pinactors.analysis.portrait import Floats

CURRENT_FILE = "CURRENT"
INDEX_FOLDER = "index"

CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH = 16, 128, 96
BATCH = 2048


@dataclass(frozen=True, slots=True)
class State:
    """What `CURRENT` holds. `index` is relative to the folder, `revision` the last database change it covers;
    `version` names the catalogue's content for people and for records."""

    version: str
    revision: int
    index: str
    pins: int
    demonstration: bool
    features: int


def read_state(folder: Path) -> State | None:
    """The state in force; None where there is no catalogue. Raises `ValueError` for a damaged file."""
    try:
        text = (folder / CURRENT_FILE).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return State(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CURRENT_FILE} is damaged: import the catalogue again") from error


def stamp(folder: Path) -> tuple[int, int, int] | None:
    """Changes whenever `CURRENT` does; None where there is no catalogue."""
    try:
        status = os.stat(folder / CURRENT_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def write_state(folder: Path, state: State) -> None:
    """The switch: from here on `state` is what readers see. Older index files are then removed."""
    write_durably(folder / CURRENT_FILE, json.dumps(asdict(state)).encode())
    for path in (folder / INDEX_FOLDER).iterdir():
        if path.name != Path(state.index).name:
            path.unlink(missing_ok=True)  # a reader that has it mapped keeps it


def write_durably(path: Path, data: bytes) -> None:
    """The file is there whole or not at all, also after a power cut; several threads may write the same."""
    partial = path.with_name(f"{path.name}.{threading.get_ident()}.partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def build(folder: Path, revision: int, previous: State | None, changed: Iterable[tuple[int, Floats]]) -> str:
    """A new index file: the previous one with `changed` (key, vector) added or replaced. Returns its name."""
    index = Index(
        ndim=DIMENSIONS,
        metric="cos",
        dtype="bf16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )
    if previous is not None:
        index.load(str(folder / previous.index))
    keys: list[int] = []
    vectors: list[Floats] = []
    for key, vector in changed:
        keys.append(key)
        vectors.append(vector)
        if len(keys) >= BATCH:
            _add(index, keys, vectors)
            keys, vectors = [], []
    _add(index, keys, vectors)
    (folder / INDEX_FOLDER).mkdir(exist_ok=True)
    name = f"{INDEX_FOLDER}/{revision:08d}.usearch"
    partial = folder / f"{name}.partial"
    index.save(str(partial))
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(partial, folder / name)
    return name


def _add(index: Index, keys: list[int], vectors: list[Floats]) -> None:
    if not keys:
        return
    for key in keys:
        if key in index:
            index.remove(key)
    index.add(np.array(keys, np.uint64), np.stack(vectors), threads=1)


class SearchIndex:
    """An index file, mapped. `search` is safe from several threads."""

    def __init__(self, path: Path) -> None:
        self._index = Index(ndim=DIMENSIONS, metric="cos", dtype="bf16", expansion_search=EXPANSION_SEARCH)
        self._index.view(str(path))

    def search(self, queries: Sequence[Floats], count: int) -> list[list[tuple[int, float]]]:
        """For each of `queries` (n, DIMENSIONS) the `count` keys most similar (-1 to 1) to any of its
        rows."""
        stacked = np.concatenate(list(queries))
        matches: Any = self._index.search(stacked, count, threads=1)  # a batch, also of one row
        keys, distances = np.atleast_2d(matches.keys), np.atleast_2d(matches.distances)
        counts = np.atleast_1d(matches.counts) if len(stacked) > 1 else np.array([keys.shape[1]])
        found, row = [], 0
        for query in queries:
            best: dict[int, float] = {}
            for at in range(row, row + len(query)):
                for key, distance in zip(keys[at, : counts[at]], distances[at, : counts[at]], strict=True):
                    best[int(key)] = max(best.get(int(key), -1.0), 1.0 - float(distance))
            row += len(query)
            found.append(sorted(best.items(), key=lambda item: -item[1])[:count])
        return found
