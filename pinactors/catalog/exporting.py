"""Writes a catalogue as a folder that can be imported."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from pinactors.catalog.importing.rows import DEMONSTRATION_FILE, PIN_COLUMNS, RATE_COLUMNS, SALE_COLUMNS
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View


def export(catalog: Catalog, target: Path) -> int:
    """Writes the catalogue as an import folder and returns the number of pins.

    The pictures are those of the catalogue, with their bounded size: importing the folder gives the same
    catalogue again.
    """
    (target / "images").mkdir(parents=True, exist_ok=True)
    pins = catalog.pins()
    with (
        open(target / "pins.csv", "w", newline="", encoding="utf-8") as pins_file,
        open(target / "sales.csv", "w", newline="", encoding="utf-8") as sales_file,
    ):
        rows, sold = csv.writer(pins_file), csv.writer(sales_file)
        rows.writerow(PIN_COLUMNS)
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
            rows.writerow([pin.pin_id, pin.name, ";".join(pin.characters), *texts, *names])
            for sale in catalog.sales(pin.pin_id):
                facts = (sale.sold_at.isoformat(), repr(sale.price), sale.currency)
                sold.writerow([pin.pin_id, *facts, sale.condition, sale.source])
    if rates := catalog.rates():
        with open(target / "fx.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([RATE_COLUMNS, *((unit, repr(rates[unit])) for unit in rates)])
    if catalog.demonstration:
        (target / DEMONSTRATION_FILE).touch()
    return len(pins)
