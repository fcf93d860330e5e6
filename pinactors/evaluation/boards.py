"""Evaluates photographs of many pins (boards): recall and precision of the pins found on them.

DIR/boards.csv   board, pin_id (empty: a pin the catalogue lacks), x0, y0, x1, y1 in pixels
DIR/<board>.jpg

Not every pin of a board needs a box, so a pin found outside all boxes counts neither as right nor as wrong.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from PIL import ImageOps

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.matching import sightings
from pinactors.catalog.reader import Catalog
from pinactors.evaluation.metrics import share
from pinactors.protocol import View

SAME_PLACE = 0.4
"""Intersection over union from which two boxes belong to one pin. It is low because boxes are drawn by hand,
and a round pin fills three quarters of its box."""

MAX_PIXELS = 64_000_000

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Boxed:
    """A pin in a picture: `box` is x0, y0, x1, y1 in the picture's pixels; `pin_id` is empty if the catalogue
    lacks the pin. A pin that was found also has its name and the probability that it is there."""

    pin_id: str
    box: Box
    name: str = ""
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Board:
    path: Path
    pins: tuple[Boxed, ...]


def load(folder: Path) -> tuple[Board, ...]:
    """The boards in `folder`. Raises `FileNotFoundError`, and `ValueError` with the line of a bad row."""
    table = folder / "boards.csv"
    if not table.is_file():
        raise FileNotFoundError(f"{folder} holds no boards.csv")
    pins: dict[str, list[Boxed]] = {}
    with table.open(newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                x0, y0, x1, y1 = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"boards.csv line {line}: x0, y0, x1, y1 must be numbers") from None
            pins.setdefault(row["board"], []).append(Boxed(row["pin_id"] or "", (x0, y0, x1, y1)))
    found = []
    for name, boxed in sorted(pins.items()):
        path = next((path for path in sorted(folder.glob(f"{name}.*")) if path.suffix != ".csv"), None)
        if path is None:
            raise FileNotFoundError(f"there is no picture of board {name} in {folder}")
        found.append(Board(path, tuple(boxed)))
    return tuple(found)


def seen_on(catalog: Path, path: Path) -> list[Boxed]:
    """The catalogued pins found on one board, likeliest first. Raises `PinactorsError`, `OSError`."""
    rgb = decode(path.read_bytes(), View.FRONT, MAX_PIXELS).rgb
    source = Catalog.open(catalog)
    with source.connected:
        seen = sightings.look_everywhere(source, rgb)
        pins = source.numbered([one.candidate.number for one in seen])
    with Pillow.open(path) as picture:  # boxes are in the pixels of the file
        across, down = ImageOps.exif_transpose(picture).size
    found = []
    for one in seen:
        if one.candidate.number in pins:
            x, y, w, h = sightings.box_of(one, rgb)
            box = x * across, y * down, (x + w) * across, (y + h) * down
            pin = pins[one.candidate.number]
            found.append(Boxed(pin.pin_id, box, pin.name, 1 / (1 + math.exp(-one.odds))))
    return found


def figures(boards: Sequence[Board], found: Sequence[Sequence[Boxed]]) -> dict[str, Any]:
    """Recall over the boxes of catalogued pins, precision over the pins found on a box, and F1."""
    hits: list[bool] = []
    right: list[bool] = []
    for board, seen in zip(boards, found, strict=True):
        hits += [
            any(one.pin_id == pin.pin_id and overlap(one.box, pin.box) >= SAME_PLACE for one in seen)
            for pin in board.pins
            if pin.pin_id
        ]
        for one in seen:
            there = [pin for pin in board.pins if overlap(one.box, pin.box) >= SAME_PLACE]
            if there:
                right.append(any(pin.pin_id == one.pin_id for pin in there))
    recall, precision = (sum(each) / max(1, len(each)) for each in (hits, right))
    return {
        "boards": len(boards),
        "recall": share(hits),
        "precision": share(right),
        "F1": 2 * recall * precision / max(recall + precision, 1e-9),
        "found without a box": sum(len(seen) for seen in found) - len(right),
    }


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (sum(areas) - shared)
