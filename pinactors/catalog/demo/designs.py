"""The demonstration pins: made-up characters by made-up makers. Their data is in `pins.csv` beside this
module."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

from pinactors.catalog.demo import creatures, scenes, things
from pinactors.catalog.demo.shapes import Shape


@dataclass(frozen=True, eq=False)
class Design:
    """One demonstration pin. `back` is `waffle`, or `sandblast` for older pins without a waffle pattern;
    `value` is the price in US dollars around which the made-up sales lie, `sales` their number."""

    pin_id: str
    name: str
    characters: tuple[str, ...]
    series: str
    year: int
    edition_size: int | None
    brand: str
    factory_code: str
    plating: str
    back: str
    value: float
    sales: int
    shapes: tuple[Shape, ...]


def _read() -> tuple[Design, ...]:
    drawings = {**vars(creatures), **vars(scenes), **vars(things)}
    table = resources.files("pinactors.catalog.demo").joinpath("pins.csv").read_text("utf-8")
    return tuple(
        Design(
            row["pin_id"],
            row["name"],
            tuple(row["characters"].split(";")),
            row["series"],
            int(row["year"]),
            int(row["edition_size"]) if row["edition_size"] else None,
            row["brand"],
            row["factory_code"],
            row["plating"],
            row["back"],
            float(row["value"]),
            int(row["sales"]),
            tuple(drawings[row["drawing"]]()),
        )
        for row in csv.DictReader(table.splitlines())
    )


DESIGNS = _read()
