"""The shapes that designs consist of: outlines in pin units, x to the right, y down, the pin within -1 to
1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Outline = npt.NDArray[np.float64]
Point = tuple[float, float]

COLOURS = {
    "white": (244, 243, 238),
    "cream": (246, 232, 200),
    "black": (34, 32, 38),
    "grey": (150, 156, 166),
    "red": (206, 44, 48),
    "rose": (238, 132, 150),
    "pink": (248, 190, 202),
    "orange": (240, 128, 40),
    "amber": (248, 182, 56),
    "yellow": (252, 222, 82),
    "lime": (164, 206, 74),
    "green": (50, 142, 82),
    "pine": (24, 86, 70),
    "teal": (30, 150, 156),
    "aqua": (136, 214, 216),
    "sky": (122, 182, 234),
    "blue": (40, 98, 186),
    "navy": (28, 44, 96),
    "violet": (116, 78, 168),
    "lilac": (190, 162, 222),
    "plum": (104, 36, 84),
    "tan": (206, 160, 110),
    "brown": (124, 78, 46),
    "cocoa": (72, 46, 34),
}
"""The colours of the enamel, sRGB 0 to 255."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A field of enamel inside a metal line, or, if `colour` is None, only an open metal line."""

    points: Outline
    colour: str | None


def ellipse(
    colour: str, x: float, y: float, rx: float, ry: float | None = None, rotation: float = 0.0
) -> Shape:
    """An ellipse with semi-axes `rx` and `ry`, rotated clockwise by `rotation` degrees."""
    angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    points = np.stack([rx * np.cos(angles), (rx if ry is None else ry) * np.sin(angles)], axis=1)
    return Shape(_placed(_rotated(points, rotation), x, y), colour)


def polygon(colour: str, *points: Point) -> Shape:
    return Shape(np.array(points, dtype=float), colour)


def blob(colour: str, *points: Point) -> Shape:
    """A smooth closed curve through the points (Catmull-Rom)."""
    return Shape(_spline(points, closed=True), colour)


def line(*points: Point) -> Shape:
    """A smooth open stroke of bare metal."""
    return Shape(_spline(points, closed=False), None)


def box(
    colour: str, x: float, y: float, width: float, height: float, corner: float = 0.0, rotation: float = 0.0
) -> Shape:
    """A rectangle around (x, y), its corners rounded by the radius `corner`."""
    half = np.array([width / 2 - corner, height / 2 - corner])
    arc = np.linspace(0, math.pi / 2, 9 if corner else 1)
    points = [
        half * sign + corner * np.stack([np.cos(arc + start), np.sin(arc + start)], axis=1)
        for sign, start in (
            ((1, 1), 0.0),
            ((-1, 1), math.pi / 2),
            ((-1, -1), math.pi),
            ((1, -1), 3 * math.pi / 2),
        )
    ]
    return Shape(_placed(_rotated(np.concatenate(points), rotation), x, y), colour)


def star(
    colour: str, x: float, y: float, outer: float, inner: float, tips: int = 5, rotation: float = 0.0
) -> Shape:
    angles = np.linspace(0, 2 * math.pi, 2 * tips, endpoint=False) - math.pi / 2
    radii = np.where(np.arange(2 * tips) % 2 == 0, outer, inner)
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return Shape(_placed(_rotated(points, rotation), x, y), colour)


def sector(colour: str, x: float, y: float, outer: float, inner: float, start: float, end: float) -> Shape:
    """The part of a ring between two directions in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, max(4, int(abs(end - start) / 4))))
    rim = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Shape(_placed(np.concatenate([outer * rim, inner * rim[::-1]]), x, y), colour)


def mirrored(*shapes: Shape) -> list[Shape]:
    """The shapes and their mirror images (left and right exchanged), for example a pair of eyes."""
    return [*shapes, *(Shape(shape.points * (-1, 1), shape.colour) for shape in shapes)]


def _placed(points: Outline, x: float, y: float) -> Outline:
    return np.asarray(points + np.array([x, y]))


def _rotated(points: Outline, degrees: float) -> Outline:
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]))


def _spline(points: Sequence[Point], *, closed: bool, steps: int = 10) -> Outline:
    known = np.array(points, dtype=float)
    if closed:
        known = np.concatenate([known[-1:], known, known[:2]])
    else:
        known = np.concatenate([2 * known[:1] - known[1:2], known, 2 * known[-1:] - known[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(known, known[1:], known[2:], known[3:], strict=False)
    ]
    if not closed:
        pieces.append(known[-2:-1])
    return np.concatenate(pieces)
