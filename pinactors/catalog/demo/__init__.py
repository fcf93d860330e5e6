"""The demonstration catalogue: pins drawn by the project itself, with made-up names, makers and sales.

With this catalogue a new user can try the whole analysis without a catalogue of real pins. Nothing in it is
real. The file `DEMONSTRATION` in the import folder says so; the importer stores this mark, and every answer
that uses the catalogue carries it.

Input: designs (`designs`, `pins.csv`). Output: an import folder, and simulated photographs (`photo`). No
name, maker or drawing may be one of a real pin.
"""

from __future__ import annotations

import csv
import datetime as dt
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from pinactors.catalog.demo import render
from pinactors.catalog.demo.designs import DESIGNS, Design
from pinactors.catalog.demo.photo import photograph
from pinactors.catalog.importing.rows import DEMONSTRATION_FILE, PIN_COLUMNS, SALE_COLUMNS

__all__ = ["DESIGNS", "Design", "draw_demo", "photograph"]

PICTURE_SIDE = 640
SALES_DAYS = 360


def draw_demo(
    target: Path,
    as_of: dt.date,
    progress: Callable[[int, int], None] | None = None,
    designs: Sequence[Design] = DESIGNS,
) -> None:
    """Draws the catalogue as an import folder: `pins.csv`, `sales.csv`, `images/` and the mark.

    The dates of the sales are in the year before `as_of`; everything else is always the same. `progress(done,
    total)` counts pins.
    """
    (target / "images").mkdir(parents=True, exist_ok=True)
    (target / DEMONSTRATION_FILE).write_text(
        "Pins drawn by this project; names, makers and sales are made up.\n", "utf-8"
    )
    with (
        (target / "pins.csv").open("w", newline="", encoding="utf-8") as pins_file,
        (target / "sales.csv").open("w", newline="", encoding="utf-8") as sales_file,
    ):
        pins, sales = csv.writer(pins_file), csv.writer(sales_file)
        pins.writerow(PIN_COLUMNS)
        sales.writerow(SALE_COLUMNS)
        for done, (design, (front, back)) in enumerate(zip(designs, _drawn(designs), strict=True), 1):
            pictures = [f"images/{design.pin_id}_{side}.jpg" for side in ("front", "back")]
            for picture, encoded in zip(pictures, (front, back), strict=True):
                (target / picture).write_bytes(encoded)
            made = (design.year, design.edition_size or "", design.brand, design.factory_code)
            pins.writerow(
                (design.pin_id, design.name, ";".join(design.characters), design.series, *made, *pictures)
            )
            sales.writerows(_sales(design, as_of))
            if progress is not None:
                progress(done, len(designs))


def _drawn(designs: Sequence[Design]) -> Iterator[tuple[bytes, bytes]]:
    """Front and back of each design as JPEG; drawn on threads, because numpy and OpenCV release the GIL."""
    with ThreadPoolExecutor() as threads:
        yield from threads.map(
            lambda design: (
                _picture(render.front(design, PICTURE_SIDE)),
                _picture(render.back(design, PICTURE_SIDE)),
            ),
            designs,
        )


def _picture(pin_side: render.PinSide) -> bytes:
    """A JPEG of the pin as in a shop's picture: flat, on white, with a soft shadow."""
    shadow = cv2.GaussianBlur(pin_side.mask.astype(np.float32) / 255, (0, 0), PICTURE_SIDE / 60)
    ground = 0.97 - 0.18 * np.roll(shadow, (PICTURE_SIDE // 80, PICTURE_SIDE // 110), axis=(0, 1))
    edge = cv2.GaussianBlur(pin_side.mask.astype(np.float32) / 255, (0, 0), 0.8)[..., None]
    picture = render.shaded(pin_side, render.Light()) * edge + ground[..., None] * (1 - edge)
    pixels = cv2.cvtColor((picture * 255 + 0.5).astype(np.uint8), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 93])
    return encoded.tobytes()


def _sales(design: Design, as_of: dt.date) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Made-up sales, oldest first: log-normal around the design's value, a fifth either way."""
    random = np.random.default_rng(zlib.crc32(design.pin_id.encode()))
    for days in sorted(random.integers(2, SALES_DAYS, design.sales), reverse=True):
        condition, worth = ("mint", 1.0) if random.random() < 0.7 else ("good", 0.78)
        price = design.value * worth * float(random.lognormal(0, 0.18))
        sold_at = as_of - dt.timedelta(days=int(days))
        yield design.pin_id, sold_at.isoformat(), f"{price:.2f}", "USD", condition, "made up"
