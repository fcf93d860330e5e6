"""Groups the photographs in a folder or a CSV file by pin."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pinactors.analysis.imaging.formats import SUFFIXES
from pinactors.catalog.importing.csv_table import read_table
from pinactors.catalog.importing.rows import Pictures, RowError
from pinactors.protocol import View

_VIEWS = {"front": View.FRONT, "back": View.BACK, "rear": View.BACK, "reverse": View.BACK}
_VIEWS |= {"angled": View.ANGLED, "tilted": View.ANGLED, "tilt": View.ANGLED}
_NAMED = re.compile(rf"(?:(?P<name>.+?)[ _.-]+)?(?P<view>{'|'.join(_VIEWS)})", re.IGNORECASE)

_COLUMNS = ("front", "back", "angled", "name", "front_image", "back_image", "angled_image", "pin_id")


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """The photographs of one pin. `name` is always valid text, even if file names are not; `fingerprint`
    changes if one of the files changes."""

    name: str
    images: Mapping[View, Path]

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.name.encode())
        for view, path in sorted(self.images.items()):
            status = path.stat()
            digest.update(b"%b:%b:" % (view.encode(), os.fsencode(path.name)))
            digest.update(f"{status.st_size}:{status.st_mtime_ns};".encode())
        return digest.hexdigest()[:32]


class Found(NamedTuple):
    """Photo sets, with messages: `problems` are about files or rows that were left out, `notes` about
    assumptions in reading the others."""

    sets: list[PhotoSet]
    problems: list[str]
    notes: tuple[str, ...] = ()


def of_folder(folder: Path) -> Found:
    """The photo sets in `folder` and the folders below, except those that systems make for themselves.

    `fox_front.jpg` and `fox_back.jpg` are one pin, so are `fox/front.jpg` and `fox/back.jpg`; a file whose
    name has no view is the front of a separate pin. Raises `OSError`.
    """
    found: dict[str, dict[View, Path]] = {}
    problems = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or _is_hidden(path.relative_to(folder)) or not path.is_file():
            continue
        name, view = _named(folder, path)
        views = found.setdefault(name, {})
        if view in views:
            problems.append(f"{_text(path.relative_to(folder))}: {name} already has a {view} photograph")
            continue
        views[view] = path
    sets = []
    for name, views in found.items():
        if View.FRONT in views:
            sets.append(PhotoSet(name, views))
        else:
            problems.append(f"{name}: no front photograph among {', '.join(sorted(views))}")
    return Found(sets, problems)


def _is_hidden(path: Path) -> bool:
    """Whether a file is hidden or in a folder that a system made: `.git`, `@eaDir` with the small pictures of
    a Synology, `__MACOSX` of an archive."""
    folders = path.parts[:-1]
    return path.name.startswith(".") or any(
        name.startswith((".", "@")) or name == "__MACOSX" for name in folders
    )


def _named(folder: Path, path: Path) -> tuple[str, View]:
    below = path.relative_to(folder).parent
    named = _NAMED.fullmatch(path.stem)
    if named is None:
        return _text(below / path.stem), View.FRONT
    name = below / named["name"] if named["name"] else below
    return _text(name if name.name else folder.resolve().name), _VIEWS[named["view"].lower()]


def _text(name: Path | str) -> str:
    """A file's name as text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def of_manifest(path: Path) -> Found:
    """The photo sets in a CSV file with the columns `front` and, optionally, `back`, `angled` and `name`, or
    with those of a catalogue's pins.csv; file names are relative to its folder. Raises `ValueError`,
    `OSError`."""
    table = read_table(path, (), _COLUMNS)
    pictures = Pictures(path.parent)
    sets: dict[str, PhotoSet] = {}
    problems = []
    columns = [name for name in ("front", "front_image") if name not in table.lacking]
    if not columns:
        raise ValueError(f"{path.name} names no photographs: it needs a column front")
    if not any(row.values[name] for row in table.rows for name in columns):
        raise ValueError(f"{path.name} names no photographs: its column {columns[0]} is empty")
    for row in table.rows:
        try:
            if row.problem:
                raise RowError(row.problem)
            images = dict(_images(row.values, pictures))
            if View.FRONT not in images:
                raise RowError("front is empty")
            name = row.values["name"] or row.values["pin_id"] or _text(images[View.FRONT].stem)
            if name in sets:
                raise RowError(f"the name {name!r} is already used")
            sets[name] = PhotoSet(name, images)
        except RowError as error:
            problems.append(f"{path.name}:{row.line}: {error}")
    notes = tuple(f"{path.name}:{line}: {note}" for line, note in table.notes)
    return Found(list(sets.values()), problems, notes)


def _images(values: dict[str, str], pictures: Pictures) -> Iterator[tuple[View, Path]]:
    for view in View:
        for column in (str(view), f"{view}_image"):
            if values[column]:
                yield view, pictures.find(values[column], column)
                break
