"""The import folder's format: its files, their columns, its pictures, and the checks of a row."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinactors.analysis.matching.stamp_key import factory_key
from pinactors.catalog.importing.csv_table import SAVE, CsvRow, CsvTable, read_table
from pinactors.catalog.importing.notation import Notation, whole_number

PIN_COLUMNS = (
    "pin_id",
    "name",
    "characters",
    "series",
    "year",
    "edition_size",
    "brand",
    "factory_code",
    "front_image",
    "back_image",
)
REQUIRED_PIN_COLUMNS = ("pin_id", "name", "front_image")
"""A file may lack the other columns: the catalogue's pins keep these values, those of new pins are empty."""
OUTLINE_COLUMNS = ("mask", "box")
"""Optional columns: a mask of front_image, or the box around its pin."""
SALE_COLUMNS = ("pin_id", "sold_at", "price", "currency", "condition", "source")
REQUIRED_SALE_COLUMNS = ("pin_id", "sold_at", "price", "currency")
"""Without the other columns, no sale has a condition or a source."""
RATE_COLUMNS = ("currency", "usd_per_unit")
DEMONSTRATION_FILE = "DEMONSTRATION"
"""A file of this name in an import folder marks its pins as demonstration pins, not real ones."""

MAX_FILE_BYTES = 50 << 20
"""Largest picture file that is read, in bytes."""

_ENCODING_ADVICE = f"{SAVE}, or import it with `pinactors catalog import --encoding`"
"""The admin page, which imports too, has no such option."""


class RowError(Exception):
    """A row that is not valid; the message is for the person who wrote the row."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of pins.csv: its line, its values in the types of the database's table, its pictures, and, if
    given, the mask of the front or the box around its pin (x, y, width, height as shares of the picture).

    `front` is None if the pin keeps its pictures; a `back` then replaces only the back. A pin that is in the
    catalogue keeps its values, and its back, in the columns that are `lacking`."""

    line: int
    values: dict[str, Any]
    front: Path | None
    back: Path | None
    mask: Path | None = None
    box: tuple[float, float, float, float] | None = None
    lacking: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of one row, for a person. `line` is the row's line in the file; the header is line 1."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(slots=True)
class ImportReport:
    """The result of an import. `problems` are rows that were left out, `warnings` rows that were imported
    although something is doubtful. The file's sales replaced `sales_replaced` earlier sales, of `pins_resold`
    pins."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    sales: int = 0
    sales_replaced: int = 0
    pins_resold: int = 0
    size: int = 0
    version: str = ""
    demonstration: bool = False
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def take_table(
    path: Path, columns: tuple[str, ...], report: ImportReport, encoding: str, optional: tuple[str, ...] = ()
) -> CsvTable:
    """Reads the file's rows; assumptions made in reading it, and columns that are not read, become warnings
    of `report`."""
    table = read_table(path, columns, optional, encoding, _ENCODING_ADVICE)
    report.warnings += [Problem(path.name, line, note) for line, note in table.notes]
    if table.unread:
        note = f"there is no column named {', '.join(table.unread)[:300]}: it is not read"
        report.warnings.append(Problem(path.name, table.header, note))
    return table


def has_table(source: Path, name: str) -> bool:
    """Whether the folder has a table of that name. Raises `FileNotFoundError` if something else has the name:
    a link to nothing would be left out without a word, and a pipe would be waited for."""
    path = source / name
    if path.is_file():
        return True
    if os.path.lexists(path):
        raise FileNotFoundError(f"{path} is not a file, nor a link to one")
    return False


def check_folder(source: Path) -> None:
    """Checks that `source` is a folder with pins.csv, and that its tables are files. Raises `OSError` with a
    message for the user."""
    tables = [name for name in ("pins.csv", "sales.csv", "fx.csv") if has_table(source, name)]
    if "pins.csv" in tables:
        return
    if source.is_file():
        what = "a ZIP archive: extract it first, and" if source.suffix.lower() == ".zip" else "a file:"
        raise NotADirectoryError(
            f"{source} is {what} give the folder that contains pins.csv and the pictures"
        )
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: there is no such folder; give the one that contains pins.csv")
    below = [path.parent for path in source.glob("*/pins.csv") if path.is_file()]
    if len(below) == 1:  # programs extract an archive into a folder of its name
        raise FileNotFoundError(f"{source} contains no pins.csv: did you mean {below[0]}?")
    books = sorted(path.name for path in source.glob("*.xls*"))
    hint = f", but {books[0]}: save its sheet of pins as pins.csv, in the format CSV UTF-8" if books else ""
    raise FileNotFoundError(f"{source} contains no pins.csv{hint}")


class Pictures:
    """The picture files of an import folder, found by their names in pins.csv.

    A name is relative to the folder or to its `images`, with either slash. If no file has exactly that
    name, the one that differs only in letter case or Unicode composition is used; the same holds for folders.
    Names differ so after a copy from another operating system.
    """

    def __init__(self, source: Path) -> None:
        self._root = source.resolve()
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str, column: str) -> Path:
        """The file with this name. Raises `RowError`, which names `column`, if it cannot be used."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", name):
            raise RowError(f"{column} {name!r} is a web address: put the picture into the folder")
        if re.match(r"[A-Za-z]:[\\/]|[\\/]{2}", name):
            raise RowError(f"{column} {name!r} is a path on another computer: give it relative to the folder")
        try:
            path = self._find(name, column)
            if path is None:
                raise RowError(f"{column} {_short(name)} does not exist")
            resolved = path.resolve(strict=True)
            if not resolved.is_relative_to(self._root):
                raise RowError(f"{column} {_short(name)} is outside the import folder")
            if not resolved.is_file():
                raise RowError(f"{column} {_short(name)} is not a file")
            size = resolved.stat().st_size
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else "its links form a loop"
            raise RowError(f"{column} {_short(name)} cannot be opened: {reason}") from error
        if size > MAX_FILE_BYTES:
            raise RowError(f"{column} {_short(name)} is larger than {MAX_FILE_BYTES >> 20} MB")
        return resolved

    def _find(self, name: str, column: str) -> Path | None:
        places = []
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            place = Path(os.path.normpath(self._root / spelling))
            if not place.is_relative_to(self._root):
                raise RowError(f"{column} {_short(name)} is outside the import folder")
            places += [place, self._root / "images" / spelling]
        for path in places:
            if os.path.lexists(path):
                return path
        return next((found for path in places if (found := self._alike(path)) is not None), None)

    def _alike(self, path: Path) -> Path | None:
        if path == self._root:
            return path
        folder = path.parent if path.parent.is_dir() else self._alike(path.parent)
        if folder is None or not folder.is_dir() or not folder.resolve().is_relative_to(self._root):
            return None
        if folder not in self._listed:
            listed: dict[str, list[str]] = {}
            for entry in os.listdir(folder):
                listed.setdefault(_folded(entry), []).append(entry)
            self._listed[folder] = listed
        names = self._listed[folder].get(_folded(path.name), [])
        return folder / names[0] if len(names) == 1 else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}…")


def check_pin(row: CsvRow, pictures: Pictures, known: Callable[[str], bool] = lambda _: False) -> Row:
    """Checks a row of pins.csv and converts its values. A `known` pin's row may leave front_image empty: the
    pin then keeps its pictures. Raises `RowError`."""
    values = _readable(row)
    pin_id = values["pin_id"]
    if not re.fullmatch(r"[\x21-\x7e]{1,64}", pin_id):
        raise RowError("pin_id must be 1 to 64 printable ASCII characters without spaces")
    if re.fullmatch(r"\d[.,]\d+E\+\d+", pin_id):
        raise RowError(f"pin_id {pin_id} was shortened by a spreadsheet: format the column as text")
    if not {"", ".", ".."}.isdisjoint(pin_id.split("/")):  # browsers and proxies change such a path
        raise RowError(f"pin_id {pin_id!r} must have a name other than . and .. before and after each slash")
    if not values["name"] or len(values["name"]) > 300:
        raise RowError("name must have 1 to 300 characters")
    characters = ";".join(part.strip() for part in values["characters"].split(";") if part.strip())
    code = values["factory_code"] or None
    checked = {
        "pin_id": pin_id,
        "name": values["name"],
        "characters": characters,
        "series": values["series"] or None,
        "year": _integer(values, "year", 1900, 2100),
        "edition_size": _integer(values, "edition_size", 1, 100_000_000),
        "brand": values["brand"] or None,
        "factory_code": code,
        "factory_key": factory_key(code) if code else None,
    }
    front = None
    if values["front_image"]:
        front = pictures.find(values["front_image"], "front_image")
    elif not known(pin_id):
        raise RowError("front_image is empty")
    elif values.get("mask") or values.get("box"):
        raise RowError("mask and box need a front_image, which is empty")
    back = pictures.find(values["back_image"], "back_image") if values["back_image"] else None
    mask = pictures.find(values["mask"], "mask") if values.get("mask") else None
    return Row(row.line, checked, front, back, mask, _box(values.get("box", "")))


def _box(text: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    try:
        x, y, width, height = (float(part) for part in re.split(r"[,;\s]+", text.strip("()[] ")))
    except ValueError:
        raise RowError(f"box {text!r} is not x,y,width,height") from None
    if not (0 <= x < 1 and 0 <= y < 1 and 0 < width <= 1 - x + 1e-6 and 0 < height <= 1 - y + 1e-6):
        raise RowError(f"box {text!r} must be shares of the picture from 0 to 1, with the box inside it")
    return x, y, width, height


def _readable(row: CsvRow) -> dict[str, str]:
    if row.problem:
        raise RowError(row.problem)
    return row.values


def _integer(values: dict[str, str], name: str, low: int, high: int) -> int | None:
    text = values[name]
    if not text:
        return None
    number = whole_number(text)
    if number is None or not low <= number <= high:
        raise RowError(f"{name} {text!r} is not a whole number from {low} to {high}")
    return number


def sale_notation(table: CsvTable) -> Notation:
    """The notation of prices and dates of the sales in `table`."""
    values = [row.values for row in table.rows if not row.problem]
    return Notation.of((one["price"] for one in values), (one["sold_at"] for one in values), table.separator)


def check_sale(row: CsvRow, numbers: dict[str, int], notation: Notation) -> dict[str, Any]:
    """Checks a row of sales.csv and returns the columns of its database row; `numbers` are the pins' numbers
    by id. Raises `RowError`."""
    values = _readable(row)
    number = numbers.get(values["pin_id"])
    if number is None:
        raise RowError(f"pin_id {values['pin_id']!r} is not in the catalogue")
    try:
        sold_at = notation.date(values["sold_at"])
    except ValueError as error:
        raise RowError(f"sold_at {values['sold_at']!r} {error}") from error
    currency = _currency(values)
    return {
        "pin": number,
        "sold_at": sold_at,
        "price": _amount(values, "price", notation, currency),
        "currency": currency,
        "condition": values["condition"],
        "source": values["source"],
    }


def check_rate(row: CsvRow) -> dict[str, Any]:
    """Checks a row of fx.csv and returns the columns of its database row. Raises `RowError`."""
    values = _readable(row)
    return {
        "currency": _currency(values),
        "usd_per_unit": _amount(values, "usd_per_unit", Notation(), grouped=False),
    }


def _amount(
    values: dict[str, str], name: str, notation: Notation, currency: str = "", *, grouped: bool = True
) -> float:
    try:
        amount = notation.amount(values[name], currency, grouped=grouped)
        if not 0 < amount < 1e9:
            raise ValueError("is not an amount above 0")
    except ValueError as error:
        raise RowError(f"{name} {values[name]!r} {error}") from error
    return amount


def _currency(values: dict[str, str]) -> str:
    currency = values["currency"].upper()
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise RowError(f"currency {values['currency']!r} is not a three-letter code")
    return currency
