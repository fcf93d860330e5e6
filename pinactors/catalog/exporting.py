"""Writes a catalogue as a folder that can be imported."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import cv2

from pinactors.catalog.importing.preparing import png
from pinactors.catalog.importing.rows import (
    DEMONSTRATION_FILE,
    OUTLINE_COLUMNS,
    PIN_COLUMNS,
    RATE_COLUMNS,
    SALE_COLUMNS,
)
from pinactors.catalog.pictures import GivenMask
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View


def export(catalog: Catalog, target: Path) -> int:
    """Writes the catalogue as an import folder and returns the number of pins.

    The pictures are those of the catalogue, with their bounded size, and with the masks and boxes that were
    given for them, also by an alpha channel: importing the folder gives the same catalogue again.
    """
    (target / "images").mkdir(parents=True, exist_ok=True)
    pins = catalog.pins()
    with (
        open(target / "pins.csv", "w", newline="", encoding="utf-8") as pins_file,
        open(target / "sales.csv", "w", newline="", encoding="utf-8") as sales_file,
    ):
        rows, sold = csv.writer(pins_file), csv.writer(sales_file)
        rows.writerow(PIN_COLUMNS + OUTLINE_COLUMNS)
        sold.writerow(SALE_COLUMNS)
        for pin in pins:
            names = []
            for view in (View.FRONT, View.BACK):
                source = catalog.picture(pin.pin_id, view)
                name = f"images/{source.name}" if source else ""
                if source:
                    shutil.copyfile(source, target / name)
                names.append(name)
            optional = (pin.series, pin.year, pin.edition_size, pin.brand, pin.factory_code)
            texts = ["" if value is None else str(value) for value in optional]
            place = _mask_and_box(catalog.given(pin.pin_id), target)
            rows.writerow([pin.pin_id, pin.name, ";".join(pin.characters), *texts, *names, *place])
            for sale in catalog.sales(pin.pin_id):
                facts = (sale.sold_at.isoformat(), repr(sale.price), sale.currency)
                sold.writerow([pin.pin_id, *facts, sale.condition, sale.source])
    if rates := catalog.rates():
        with open(target / "fx.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([RATE_COLUMNS, *((unit, repr(rates[unit])) for unit in rates)])
    if catalog.demonstration:
        (target / DEMONSTRATION_FILE).touch()
    return len(pins)


def _mask_and_box(given: GivenMask | None, target: Path) -> tuple[str, str]:
    """The values of the columns of `OUTLINE_COLUMNS`; writes the mask's file."""
    if given is None:
        return "", ""
    if given.outlined:
        data = png(given.mask)
        name = f"images/{hashlib.sha256(data).hexdigest()[:32]}.png"
        (target / name).write_bytes(data)
        return name, ""
    left, top, across, down = cv2.boundingRect(given.mask)
    height, width = given.mask.shape[:2]
    shares = left / width, top / height, across / width, down / height
    return "", ",".join(map(repr, shares))
