"""Evaluates photographs of many pins (boards): recall and precision of the pins found on them.

DIR/boards.csv   board, pin_id (empty: a pin the catalogue lacks), x0, y0, x1, y1 in pixels
DIR/<board>.jpg

Not every pin of a board needs a box, so a pin found outside all boxes counts neither as right nor as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.matching import boards, sightings
from pinactors.catalog.importing.csv_table import read_table
from pinactors.catalog.pictures import MAX_PIXELS
from pinactors.catalog.reader import Catalog
from pinactors.evaluation.dataset import rows_of
from pinactors.evaluation.metrics import share
from pinactors.protocol import View

SAME_PIN_OVERLAP = 0.4
"""Intersection over union from which two boxes belong to one pin. It is low because boxes are drawn by hand,
and a round pin fills three quarters of its box."""

_SIDES = ("x0", "y0", "x1", "y1")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class BoxedPin:
    """A pin in a picture: `box` is x0, y0, x1, y1 in the picture's pixels; `pin_id` is empty if the catalogue
    lacks the pin. A pin that was found also has its name and the probability that it is there."""

    pin_id: str
    box: Box
    name: str = ""
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Board:
    path: Path
    pins: tuple[BoxedPin, ...]


def load(folder: Path) -> tuple[Board, ...]:
    """The boards in `folder`. Raises `FileNotFoundError`, and `ValueError` with the line of a bad row."""
    path = folder / "boards.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no boards.csv")
    pins: dict[str, list[BoxedPin]] = {}
    table = read_table(path, ("board", "pin_id", *_SIDES))
    for where, row in rows_of(table):
        if not row["board"]:
            raise ValueError(f"{where}: board is empty")
        try:
            x0, y0, x1, y1 = (_pixels(row[name], table.separator) for name in _SIDES)
        except ValueError:
            raise ValueError(f"{where}: {', '.join(_SIDES)} must be numbers") from None
        pins.setdefault(row["board"], []).append(BoxedPin(row["pin_id"], (x0, y0, x1, y1)))
    found = []
    for name, boxed in sorted(pins.items()):
        picture = next((path for path in sorted(folder.glob(f"{name}.*")) if path.suffix != ".csv"), None)
        if picture is None:
            raise FileNotFoundError(f"there is no picture of board {name} in {folder}")
        found.append(Board(picture, tuple(boxed)))
    return tuple(found)


def _pixels(text: str, separator: str) -> float:
    """A coordinate; where commas do not separate the values, one may stand before its fraction."""
    return float(text if separator == "," else text.replace(",", "."))


def find_pins(catalog: Path, path: Path) -> list[BoxedPin]:
    """The catalogued pins found on one board, likeliest first. Raises `PinactorsError`, `OSError`."""
    picture = decode(path.read_bytes(), View.FRONT, MAX_PIXELS)
    rgb = picture.rgb
    source = Catalog.open(catalog)
    with source.connected:
        sightings_found = boards.find_all_pins(source, rgb)
        pins = source.numbered([sighting.candidate.number for sighting in sightings_found])
    found = []
    for sighting in sightings_found:
        if sighting.candidate.number in pins:
            x, y, w, h = sightings.box_of(sighting, rgb)
            across, down = picture.width, picture.height  # boxes are in the pixels of the file
            box = x * across, y * down, (x + w) * across, (y + h) * down
            pin = pins[sighting.candidate.number]
            found.append(BoxedPin(pin.pin_id, box, pin.name, sighting.probability))
    return found


def figures(boards: Sequence[Board], found: Sequence[Sequence[BoxedPin]]) -> dict[str, Any]:
    """Recall over the boxes of catalogued pins, precision over the pins found on a box, and F1."""
    hits: list[bool] = []
    correct: list[bool] = []
    for board, found_pins in zip(boards, found, strict=True):
        hits += [
            any(
                found_pin.pin_id == pin.pin_id and overlap(found_pin.box, pin.box) >= SAME_PIN_OVERLAP
                for found_pin in found_pins
            )
            for pin in board.pins
            if pin.pin_id
        ]
        for found_pin in found_pins:
            boxes_here = [pin for pin in board.pins if overlap(found_pin.box, pin.box) >= SAME_PIN_OVERLAP]
            if boxes_here:
                correct.append(any(pin.pin_id == found_pin.pin_id for pin in boxes_here))
    recall, precision = (sum(each) / max(1, len(each)) for each in (hits, correct))
    return {
        "boards": len(boards),
        "recall": share(hits),
        "precision": share(correct),
        "F1": 2 * recall * precision / max(recall + precision, 1e-9),
        "found without a box": sum(len(found_pins) for found_pins in found) - len(correct),
    }


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (sum(areas) - shared)
