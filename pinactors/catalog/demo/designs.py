"""The demonstration pins: made-up characters by made-up makers. Their facts are in `pins.csv` beside this."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

from pinactors.catalog.demo import creatures, scenes, things
from pinactors.catalog.demo.shapes import Shape


@dataclass(frozen=True, eq=False)
class Design:
    """`back` is `waffle`, or `sandblast` on the older pins that never had one; `value` is what the made-up
    sales center on, in US dollars, and `sales` how many of them there are."""

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
