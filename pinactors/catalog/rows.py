"""The import folder's format: its files, their columns and what makes a row acceptable."""

from __future__ import annotations

import csv
import datetime as dt
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinactors.analysis.matching.stamp_key import factory_key

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
SALE_COLUMNS = ("pin_id", "sold_at", "price", "currency", "condition", "source")
RATE_COLUMNS = ("currency", "usd_per_unit")
DEMONSTRATION_FILE = "DEMONSTRATION"
"""A file of this name in an import folder marks what is imported from it as a demonstration, not real
pins."""

MAX_FILE_BYTES = 50 << 20
"""Largest picture file read."""


class RowError(Exception):
    """A row that cannot be taken; the message is for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of pins.csv: its line, its values as the table takes them, its pictures."""

    line: int
    values: dict[str, Any]
    front: Path
    back: Path | None


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, values) of each row; raises `ValueError` when the header lacks a column."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file, restkey="", restval="")
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path.name} has no column {', '.join(missing)}")
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                yield reader.line_num, {"": f"not readable as CSV: {error}"}
                continue
            if row is None:
                return
            yield (
                reader.line_num,
                {name: str(row[name]).strip() for name in columns}
                | ({"": "more values than columns"} if "" in row else {}),
            )


def check_pin(source: Path, line: int, values: dict[str, str]) -> Row:
    """The row's values, typed. Raises `RowError`."""
    if "" in values:
        raise RowError(values[""])
    pin_id = values["pin_id"]
    if not re.fullmatch(r"[\x21-\x7e]{1,64}", pin_id):
        raise RowError("pin_id must be 1 to 64 printable ASCII characters without spaces")
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
    if not values["front_image"]:
        raise RowError("front_image is empty")
    back = _inside(source, values["back_image"], "back_image") if values["back_image"] else None
    return Row(line, checked, _inside(source, values["front_image"], "front_image"), back)


def _integer(values: dict[str, str], name: str, low: int, high: int) -> int | None:
    text = values[name]
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise RowError(f"{name} {text!r} is not a whole number from {low} to {high}")
    return int(text)


def _inside(source: Path, name: str, column: str) -> Path:
    path = (source / name).resolve()
    if not path.is_relative_to(source.resolve()):
        raise RowError(f"{column} {name!r} lies outside the import folder")
    if not path.is_file():
        raise RowError(f"{column} {name!r} does not exist")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RowError(f"{column} {name!r} has more than {MAX_FILE_BYTES >> 20} MB")
    return path


def check_sale(values: dict[str, str], numbers: dict[str, int]) -> dict[str, Any]:
    """The sale as the table takes it, `numbers` being those of the pins. Raises `RowError`."""
    if "" in values:
        raise RowError(values[""])
    number = numbers.get(values["pin_id"])
    if number is None:
        raise RowError(f"pin_id {values['pin_id']!r} is not in the catalogue")
    try:
        sold_at = dt.date.fromisoformat(values["sold_at"])
    except ValueError as error:
        raise RowError(f"sold_at {values['sold_at']!r} is not a date like 2025-12-31") from error
    return {
        "pin": number,
        "sold_at": sold_at,
        "price": _amount(values, "price"),
        "currency": _currency(values),
        "condition": values["condition"],
        "source": values["source"],
    }


def check_rate(values: dict[str, str]) -> dict[str, Any]:
    """The exchange rate as the table takes it. Raises `RowError`."""
    if "" in values:
        raise RowError(values[""])
    return {"currency": _currency(values), "usd_per_unit": _amount(values, "usd_per_unit")}


def _amount(values: dict[str, str], name: str) -> float:
    try:
        amount = float(values[name])
    except ValueError:
        amount = math.nan
    if not 0 < amount < 1e9:
        raise RowError(f"{name} {values[name]!r} is not an amount above 0")
    return amount


def _currency(values: dict[str, str]) -> str:
    currency = values["currency"].upper()
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise RowError(f"currency {values['currency']!r} is not a three-letter code")
    return currency
