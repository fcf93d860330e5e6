"""Labelled photographs on disk, in the form that `pinactors evaluate` and `calibrate` read.

DIR/photos/<photo_id>_{front,back,angled}.jpg   or another suffix of a photograph
DIR/truth/photos.csv   photo_id, kind, pin_id, defects (separated by ;)
DIR/truth/notes.csv    photo_id, tags (separated by ;, text after a colon is ignored) (optional);
                       colour_or_plating_variant_of:PIN marks a pin whose drawing the catalogue has in other
                       colours or another plating
DIR/truth/values.csv   pin_id, true_value in US dollars (optional)
DIR/truth/fx.csv       currency, usd_per_unit (optional)
DIR/catalog            an import folder, unless another catalogue is named

The tables are read as `catalog import` reads its own, with the encodings and separators of spreadsheets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pinactors.analysis.imaging.formats import SUFFIXES
from pinactors.catalog.importing.csv_table import CsvTable, read_table
from pinactors.catalog.importing.notation import Notation
from pinactors.protocol import View

VARIANT_TAG = "colour_or_plating_variant_of"

_Files = dict[tuple[str, str], Path]
"""The photographs by name and suffix; the suffix in lower case."""


class PinKind(StrEnum):
    GENUINE = "genuine"
    COUNTERFEIT = "counterfeit"
    NOT_IN_CATALOG = "not_in_catalog"
    NOT_A_PIN = "not_a_pin"


CATALOGUED_KINDS = (PinKind.GENUINE, PinKind.COUNTERFEIT)


@dataclass(frozen=True, slots=True)
class LabelledPhotoSet:
    """The photographs of one pin with their labels. `pin_id` is None if the pin is not in the catalogue."""

    photo_id: str
    kind: PinKind
    pin_id: str | None
    defects: tuple[str, ...]
    images: dict[View, Path]
    tags: tuple[str, ...] = ()

    @property
    def variant(self) -> bool:
        """Whether the photographs show a catalogued pin's drawing in other colours or another plating."""
        return VARIANT_TAG in self.tags


@dataclass(frozen=True, slots=True)
class Dataset:
    """A labelled set: `values` are true values in US dollars by pin id, `rates` US dollars per unit by
    currency."""

    folder: Path
    photos: tuple[LabelledPhotoSet, ...]
    values: dict[str, float]
    rates: dict[str, float]

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog"


def load(folder: Path) -> Dataset:
    """Reads the labels and finds the photographs.

    Raises `ValueError` with file and line of a bad row, and `FileNotFoundError` if the set has no labels or a
    photo has no front.
    """
    if not (folder / "truth" / "photos.csv").is_file():
        raise FileNotFoundError(f"{folder} is not a labelled set: it has no truth/photos.csv")
    tags = _tags(folder / "truth" / "notes.csv")
    files = _files(folder / "photos")
    labels = read_table(folder / "truth" / "photos.csv", ("photo_id", "kind"), ("pin_id", "defects"))
    photos = tuple(_photo(files, where, row, tags) for where, row in rows_of(labels))
    if not photos:
        raise ValueError(f"{folder / 'truth' / 'photos.csv'} names no photographs")
    return Dataset(
        folder,
        photos,
        _amounts(folder / "truth" / "values.csv", "pin_id", "true_value"),
        {"USD": 1.0} | _amounts(folder / "truth" / "fx.csv", "currency", "usd_per_unit", grouped=False),
    )


def rows_of(table: CsvTable) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row's place, for messages, and its values. Raises `ValueError` for a row that cannot be read."""
    for row in table.rows:
        where = f"{table.name} line {row.line}"
        if row.problem:
            raise ValueError(f"{where}: {row.problem}")
        yield where, row.values


def _tags(path: Path) -> dict[str, tuple[str, ...]]:
    """Tags by photo id, without the text after a colon, which is about that photograph alone."""
    if not path.is_file():
        return {}
    return {
        row["photo_id"]: tuple(
            name for tag in row["tags"].split(";") if (name := tag.partition(":")[0].strip())
        )
        for _, row in rows_of(read_table(path, ("photo_id",), ("tags",)))
        if row["photo_id"]
    }


def _photo(
    files: _Files, where: str, row: dict[str, str], tags: dict[str, tuple[str, ...]]
) -> LabelledPhotoSet:
    photo_id = row["photo_id"]
    if not photo_id or "/" in photo_id or photo_id.startswith("."):
        raise ValueError(f"{where}: photo_id {photo_id!r} is not a name")
    try:
        kind = PinKind(row["kind"].lower().replace("-", "_").replace(" ", "_"))
    except ValueError:
        raise ValueError(f"{where}: kind {row['kind']!r} is not one of {', '.join(PinKind)}") from None
    pin_id = row["pin_id"] or None
    if kind in CATALOGUED_KINDS and pin_id is None:
        raise ValueError(f"{where}: a {kind} pin needs its pin_id")
    images = {view: path for view in View if (path := _image(files, photo_id, view)) is not None}
    if View.FRONT not in images:
        raise FileNotFoundError(f"{where}: there is no photos/{photo_id}_front.jpg")
    defects = tuple(name for name in row["defects"].split(";") if name)
    return LabelledPhotoSet(photo_id, kind, pin_id, defects, images, tags.get(photo_id, ()))


def _files(folder: Path) -> _Files:
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return {(path.stem, path.suffix.lower()): path for path in files}


def _image(files: _Files, photo_id: str, view: View) -> Path | None:
    names = ((f"{photo_id}_{view}", suffix) for suffix in SUFFIXES)
    return next((files[name] for name in names if name in files), None)


def _amounts(path: Path, key: str, column: str, *, grouped: bool = True) -> dict[str, float]:
    """The column's amounts by the values of `key`, in the notation that the file's amounts show; `grouped` as
    for `Notation.amount`."""
    if not path.is_file():
        return {}
    table = read_table(path, (key, column))
    rows = list(rows_of(table))
    notation = Notation.of((row[column] for _, row in rows), (), table.separator)
    amounts = {}
    for where, row in rows:
        if not row[key]:
            raise ValueError(f"{where}: {key} is empty")
        try:
            amounts[row[key]] = notation.amount(row[column], grouped=grouped)
        except ValueError as error:
            raise ValueError(f"{where}: {column} {row[column]!r} {error}") from None
    return amounts
