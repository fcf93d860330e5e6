"""Draws import folders for catalogue tests."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import cv2

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.matching import identification
from pinactors.analysis.model import Image, Match, PreparedView, StampReading
from pinactors.analysis.segmentation import prepare
from pinactors.catalog.importing.rows import PIN_COLUMNS, SALE_COLUMNS
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View
from tests import drawing

MAX_PIXELS = 64_000_000

PIN_HEADER = list(PIN_COLUMNS)
SALE_HEADER = list(SALE_COLUMNS)


def pin_row(seed: int, *, back: bool = True, **changes: str) -> dict[str, str]:
    row = {
        "pin_id": f"T{seed:03d}",
        "name": f"Test pin {seed}",
        "characters": f"Otter {seed};Friend",
        "series": "Drawn",
        "year": "2015",
        "edition_size": "300",
        "brand": "ACME",
        "factory_code": code(seed),
        "front_image": f"images/{seed}_front.png",
        "back_image": f"images/{seed}_back.png" if back else "",
    }
    return row | changes


def code(seed: int) -> str:
    return f"FAC-{10000 + seed:06d}-15{seed + 1:03d}"


def _stamp(seed: int) -> tuple[str, ...]:
    return ("OFFICIAL PIN TRADING", "2015 LE 300", code(seed))


def write_folder(
    folder: Path,
    seeds: Iterable[int],
    *,
    back: bool = True,
    sales: Iterable[dict[str, str]] = (),
    changes: dict[int, dict[str, str]] | None = None,
) -> Path:
    """Writes an import folder with one drawn pin per seed; `changes` overwrites values of a seed's row."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in seeds:
        save_picture(folder / f"images/{seed}_front.png", drawing.pin_front(seed))
        if back:
            save_picture(folder / f"images/{seed}_back.png", drawing.pin_back(seed, _stamp(seed)))
        rows.append(pin_row(seed, back=back, **(changes or {}).get(seed, {})))
    write_csv(folder / "pins.csv", PIN_HEADER, rows)
    sold = list(sales)
    if sold:
        write_csv(folder / "sales.csv", SALE_HEADER, sold)
    return folder


def write_csv(path: Path, header: list[str], rows: Iterable[dict[str, str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def sale(seed: int, **changes: str) -> dict[str, str]:
    row = {"pin_id": f"T{seed:03d}", "sold_at": "2025-06-01", "price": "12.5", "currency": "USD"}
    return {**row, "condition": "good", "source": "forum", **changes}


def photograph(seed: int, which: View, **scene: float) -> Image:
    """A photograph of the drawn pin."""
    pin = drawing.pin_back(seed, _stamp(seed)) if which is View.BACK else drawing.pin_front(seed)
    return photograph_of(pin, which, seed, **scene)


@lru_cache(8)
def view(seed: int, which: View) -> PreparedView:
    """The prepared view of `photograph`."""
    return prepared(photograph(seed, which), which)


def photographed(seed: int, path: Path) -> Path:
    """Writes a photograph of the drawn pin's front to `path` and returns `path`."""
    cv2.imwrite(str(path), cv2.cvtColor(photograph(seed, View.FRONT), cv2.COLOR_RGB2BGR))
    return path


def photograph_of(pin: drawing.Pin, which: View, seed: int, **scene: float) -> Image:
    settings: dict[str, float] = {"tilt": 35.0 if which is View.ANGLED else 0.0, "angle": 10.0} | scene
    return drawing.photograph(pin, drawing.background("cloth", 900, 700, seed), **settings).rgb  # type: ignore[arg-type]


def prepared(rgb: Image, which: View = View.FRONT) -> PreparedView:
    """The prepared view of a photograph, cut out without a catalogue."""
    data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    return prepare.cut_out(decode(data, which, MAX_PIXELS))


def identify(folder: Path, front: Image) -> Match:
    return identification.identify(Catalog.open(folder), front)


def refine(
    folder: Path,
    first: Match,
    back: PreparedView | None = None,
    angled: Image | None = None,
    stamp: StampReading | None = None,
) -> Match:
    """Refines the match `first` with the other views, as the shared steps do."""
    catalog = Catalog.open(folder)
    tilted = None if angled is None else identification.identify_tilted(catalog, angled, first)
    return identification.refine(catalog, first, tilted, back, stamp)


def save_picture(path: Path, pin: drawing.Pin) -> None:
    """Writes a catalogue picture of the pin, on white, to `path`."""
    taken = drawing.photograph(pin, drawing.background("white", 420, 420), share=0.95, noise=0.5, blur=0.3)
    cv2.imwrite(str(path), cv2.cvtColor(taken.rgb, cv2.COLOR_RGB2BGR))
