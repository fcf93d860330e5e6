"""The search index beside the database, and the one file that says which index counts.

The database is the truth; an index is derived from it and can be made anew at any time. Each state is
written to a new file and then named in `CURRENT`, which is replaced atomically: a reader sees the state
before or after, never something between, and an import that is killed leaves the old state in force.

usearch is used because it searches a memory-mapped file as it lies on disk (faiss maps only inverted lists,
hnswlib and voyager load everything into each process), adds to an existing index, has wheels for every Python
supported here and is maintained. Its HNSW graph (Malkov and Yashunin 2020) is searched once a photograph,
by a vector that a turn of the pin does not change; what comes up is put in order by the layouts themselves,
which lie in a mapped array beside the graph.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from usearch.index import Index

from pinactors.analysis.imaging.portrait import Floats
from pinactors.analysis.matching import features

CURRENT_FILE = "CURRENT"
INDEX_FOLDER = "index"

CONNECTIVITY, EXPANSION_ADD = 16, 128
BROUGHT_UP = 48
"""Pins the graph brings up for their layouts to be compared, and no further does it search: with 32 as many
are found as with 64."""
LAYOUTS = ".layouts"
"""Suffix of the array beside an index file: a row of float16 a pin number."""
CELLS = features.RINGS * features.SECTORS * features.CHANNELS
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
        if path.stem != Path(state.index).stem:
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
    """A new index file: the previous one with `changed` (key, layout) added or replaced. Returns its name."""
    index = _empty()
    layouts = np.zeros((0, CELLS), np.float16)
    if previous is not None:
        index.load(str(folder / previous.index))
        layouts = np.fromfile(_layouts_of(folder / previous.index), np.float16).reshape(-1, CELLS)
    used = len(layouts)
    rows = iter(changed)
    while batch := dict(itertools.islice(rows, BATCH)):
        used = max(used, max(batch) + 1)
        if used > len(layouts):
            more = np.zeros((used - len(layouts) + len(layouts) // 2, CELLS), np.float16)
            layouts = np.concatenate([layouts, more])
        keys = np.array(list(batch), np.uint64)
        grids = np.stack(list(batch.values())).reshape(-1, *SHAPE)
        layouts[keys] = grids.reshape(-1, CELLS)
        for key in batch:
            if key in index:
                index.remove(key)
        index.add(keys, features.unturned(grids), threads=1)
    (folder / INDEX_FOLDER).mkdir(exist_ok=True)
    name = f"{INDEX_FOLDER}/{revision:08d}.usearch"
    _place(_layouts_of(folder / name), lambda path: layouts[:used].tofile(path))
    _place(folder / name, lambda path: index.save(str(path)))
    return name


SHAPE = (features.RINGS, features.SECTORS, features.CHANNELS)


def _empty() -> Index:
    return Index(
        ndim=features.DIMENSIONS,
        metric="cos",
        dtype="i8",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=BROUGHT_UP,
    )


def _layouts_of(path: Path) -> Path:
    return path.with_suffix(LAYOUTS)


def _place(path: Path, write: Callable[[Path], object]) -> None:
    """The file that `write` writes, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(partial, path)


class SearchIndex:
    """An index file and its layouts, mapped. `search` is safe from several threads."""

    def __init__(self, path: Path) -> None:
        self._index = _empty()
        self._index.view(str(path))
        self._layouts = np.memmap(_layouts_of(path), np.float16, "r").reshape(-1, *SHAPE)

    def search(self, layouts: Sequence[Floats], count: int) -> list[list[tuple[int, float]]]:
        """For each of `layouts` the `count` keys most similar to it in any turn: (key, similarity), best
        first."""
        vectors = features.unturned(np.stack(list(layouts)))
        found = []
        for layout, vector in zip(layouts, vectors, strict=True):
            matches: Any = self._index.search(vector, BROUGHT_UP, threads=1)
            keys = np.asarray(matches.keys, np.int64)
            similar = features.similarities(layout, np.asarray(self._layouts[keys], np.float32))
            best = np.argsort(-similar, kind="stable")[:count]
            found.append([(int(keys[at]), float(similar[at])) for at in best])
        return found
