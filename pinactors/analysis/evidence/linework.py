"""The front's drawing: searches every line of the catalogue picture in the photograph, across the line.

A line in the photograph is where the colour changes towards the same tint as in the catalogue picture,
whatever reflections are next to it.

The displacement of each piece of line from its place is measured. A homography is fitted to the displacements
(point to line, as in ICP), which removes the camera's view. What remains and changes slowly is a shape that
was drawn again; what changes along a line from one pixel to the next is a badly made line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.evidence.comparison import NOT_COMPARED, Comparison
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, ramp
from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.model import CROP_SIDE, Doubles, Floats, Matrix, Points

BLUR_PIXELS = 1.2
"""Smoothing, in crop pixels, of both pictures: a sharp photograph of a pin has about as much blur anyway."""

MIN_EDGE_GRADIENT = 2.2
"""Least gradient, in Lab units per pixel, of an edge in the catalogue picture."""

LINE_REACH_PIXELS = 7.0
"""Distance from its place, in crop pixels, within which a line is finally searched; nearer edges are
preferred to stronger ones."""

FITTING_REACHES_PIXELS = (24.0, 14.0, 7.0, 7.0)
"""The same distance in each round of fitting the view. Beyond `LINE_REACH_PIXELS` the fit is affine, because
many lines are confused with their neighbours and would distort a perspective."""

MAX_POINTS, ENOUGH_POINTS = 2400, 800
"""Largest number of pieces of line that are measured, and the number to which the view is fitted."""

MIN_POINTS = 150

LIGHTNESS_WEIGHTS = 1.0, 0.35
"""Weight of a change of lightness relative to one of tint, in the two ways in which a drawing is traced; the
better fit is used. The first is disturbed by bright reflections along a metal's edge that the catalogue
picture does not have; the second is coarser, because cameras store tints at half the resolution. The drawing
of another mould fits neither way."""

NEIGHBOURHOOD_PIXELS = 9.0
COARSE_STEP_PIXELS = 4
"""Sigma, in crop pixels, of the neighbourhood over which pieces of line share a displacement; and the crop
pixels per pixel of the map in which it is averaged."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The traced pieces of line: `points` (n, 2) and unit `normals` in reference pixels; `offset` the
    displacement of each along its normal. `correction` (3x3) maps reference pixels to where the
    comparison's photograph shows them."""

    points: Points
    normals: Points
    offset: Doubles
    correction: Matrix

    @property
    def shift(self) -> Doubles:
        """The displacement that each piece shares with its neighbourhood, along its normal."""
        side = CROP_SIDE // COARSE_STEP_PIXELS
        columns, rows = (self.points / COARSE_STEP_PIXELS).astype(int).T
        planes = np.zeros((side, side, 3), np.float32)
        moved = np.column_stack([self.offset[:, None] * self.normals, np.ones(len(self.points))])
        np.add.at(planes, (rows, columns), moved)
        smooth = cv2.GaussianBlur(planes, (0, 0), NEIGHBOURHOOD_PIXELS / COARSE_STEP_PIXELS)[rows, columns]
        shared = smooth[:, :2] / (smooth[:, 2:] + 1e-6)
        return np.asarray((shared * self.normals).sum(axis=1), np.float64)


def trace(comparison: Comparison) -> Drawing | None:
    """The catalogue picture's drawing traced in the photograph; None if the catalogue picture has too few
    lines."""
    reference = as_floats(cv2.GaussianBlur(comparison.target.lab, (0, 0), BLUR_PIXELS))
    points, normals = _edges(reference, comparison)
    if len(points) < MIN_POINTS:
        return None
    photo = as_floats(cv2.GaussianBlur(comparison.photo_lab, (0, 0), BLUR_PIXELS))
    traced = [_traced(photo, reference, points, normals, lightness) for lightness in LIGHTNESS_WEIGHTS]
    return min(traced, key=lambda drawing: float(np.median(np.abs(drawing.offset))))


def _traced(photo: Floats, reference: Floats, points: Points, normals: Points, lightness: float) -> Drawing:
    """The drawing by changes of colour in which lightness has the weight `lightness` relative to tint."""
    steps = _colour_steps(reference, points, normals, lightness)
    ideal = _line_positions(reference, points, normals, steps, np.eye(3))
    correction = np.eye(3)
    subset = slice(None, None, max(1, len(points) // ENOUGH_POINTS))
    for reach in FITTING_REACHES_PIXELS:
        measured = _line_positions(photo, points[subset], normals[subset], steps[subset], correction, reach)
        offset = measured - ideal[subset]
        correction = correction @ _fit(
            points[subset], normals[subset], offset, perspective=reach <= LINE_REACH_PIXELS
        )
    measured = _line_positions(photo, points, normals, steps, correction)
    return Drawing(points, normals, measured - ideal, correction)


def _edges(lab: Floats, comparison: Comparison) -> tuple[Points, Points]:
    """Ridge points of the colour gradient (Di Zenzo 1986) inside the outline, thinned evenly, and their
    normals."""
    xx, yy, xy = (np.zeros(lab.shape[:2], np.float32) for _ in range(3))
    for plane in cv2.split(lab):
        dx = cv2.Sobel(plane, cv2.CV_32F, 1, 0, scale=1 / 8)
        dy = cv2.Sobel(plane, cv2.CV_32F, 0, 1, scale=1 / 8)
        xx += dx * dx
        yy += dy * dy
        xy += dx * dy
    spread = cv2.magnitude(xx - yy, 2 * xy)
    strength = as_floats(cv2.sqrt(np.maximum(0.5 * (xx + yy + spread), 0)))
    core = cv2.erode(comparison.target.mask.astype(np.uint8), np.ones((17, 17), np.uint8), borderValue=0) > 0
    y, x = np.nonzero((strength > MIN_EDGE_GRADIENT) & core & comparison.inside)
    angle = 0.5 * np.arctan2(2 * xy[y, x], xx[y, x] - yy[y, x])
    ux, uy = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    if len(x) == 0:
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    dx8, dy8 = np.rint(ux).astype(int), np.rint(uy).astype(int)  # the nearest of the eight neighbours
    ahead, behind = strength[y + dy8, x + dx8], strength[y - dy8, x - dx8]
    ridge = (strength[y, x] >= ahead) & (strength[y, x] > behind)
    x, y, ux, uy = x[ridge], y[ridge], ux[ridge], uy[ridge]
    if len(x) > MAX_POINTS:
        kept = np.linspace(0, len(x) - 1, MAX_POINTS).astype(int)
        x, y, ux, uy = x[kept], y[kept], ux[kept], uy[kept]
    return np.column_stack([x, y]).astype(np.float32), np.column_stack([ux, uy])


def _colour_steps(lab: Floats, points: Points, normals: Points, lightness: float) -> Floats:
    """The change of colour across each line of the catalogue picture, as a direction in Lab (n, 3)."""
    beside = np.stack([points + 1.5 * normals, points - 1.5 * normals]).astype(np.float32)
    ahead, behind = cv2.remap(lab, beside[..., 0], beside[..., 1], cv2.INTER_LINEAR)
    scale = np.array([lightness, 1, 1], np.float32)
    step = (ahead - behind) * scale
    return as_floats(scale * step / (np.linalg.norm(step, axis=1, keepdims=True) + 1e-6))


def _line_positions(
    lab: Floats,
    points: Points,
    normals: Points,
    steps: Floats,
    correction: Matrix,
    reach: float = LINE_REACH_PIXELS,
) -> Doubles:
    """The position of each line along its normal: where the colour changes most in the direction of `steps`
    (n, 3), with either sign. `correction` maps reference pixels to the picture's."""
    step = 0.5 if reach <= 8 else 1.0
    offsets = np.arange(-reach, reach + 0.1, step)
    places = points[:, None, :] + offsets.astype(np.float32)[None, :, None] * normals[:, None, :]
    positions = cv2.perspectiveTransform(places.reshape(1, -1, 2), correction).reshape(places.shape)
    profiles = cv2.remap(lab, positions[..., 0], positions[..., 1], cv2.INTER_LINEAR)
    along = np.einsum("ijk,ik->ij", profiles, steps)
    change = np.abs(np.gradient(along, axis=1)) / step
    weighted = change * np.exp(-np.square(offsets / (0.57 * reach)))
    best = weighted.argmax(axis=1)
    inner = np.clip(best, 1, len(offsets) - 2)
    rows = np.arange(len(points))
    before, middle, after = weighted[rows, inner - 1], weighted[rows, inner], weighted[rows, inner + 1]
    bend = before - 2 * middle + after
    fraction = np.where(np.abs(bend) > 1e-6, 0.5 * (before - after) / np.where(bend == 0, 1, bend), 0.0)
    return np.asarray(offsets[inner] + step * np.clip(fraction, -1, 1), np.float64)


def _fit(points: Points, normals: Points, offset: Doubles, *, perspective: bool) -> Matrix:
    """The homography (with `perspective`) or affine map that moves the points by `offset` along their
    normals, fitted robustly (Tukey's biweight)."""
    centre, scale = points.mean(axis=0), 128.0
    x, y = ((points - centre) / scale).T.astype(np.float64)
    nx, ny = normals.T.astype(np.float64)
    radial = nx * x + ny * y
    columns = np.column_stack([nx * x, nx * y, nx, ny * x, ny * y, ny, -x * radial, -y * radial])
    damping = np.diag([1e-5] * 6 + [1e-4] * 2) * len(points)
    if not perspective:
        columns, damping = columns[:, :6], damping[:6, :6]
    solution = np.zeros(columns.shape[1])
    target = offset / scale
    for _ in range(6):
        residual = target - columns @ solution
        width = max(4.685 * 1.4826 * float(np.median(np.abs(residual))), 0.5 / scale)
        weight = np.square(np.maximum(1 - np.square(residual / width), 0))
        weighted = columns * weight[:, None]
        solution = np.linalg.solve(weighted.T @ columns + damping, weighted.T @ target)
    a, b, c, d, e, f, g, h = np.pad(solution, (0, 8 - len(solution)))
    change = np.array([[1 + a, b, c], [d, 1 + e, f], [g, h, 1.0]])
    place = np.array([[1 / scale, 0, -centre[0] / scale], [0, 1 / scale, -centre[1] / scale], [0, 0, 1]])
    return np.asarray(np.linalg.inv(place) @ change @ place, np.float64)


GOOD_SHAPE, NEUTRAL_SHAPE, BAD_SHAPE = 0.08, 0.27, 0.6
GOOD_LINES, NEUTRAL_LINES, BAD_LINES = 0.1, 0.28, 0.6
"""Median displacement of the drawing, and median of the remaining displacement of its lines, in crop pixels:
of a good pin, of one that gives no evidence, of another mould. Half a crop pixel is 40 micrometres on a pin
of 35 mm."""


def untraced_row(name: str, comparison: Comparison | None) -> Measurement:
    """The row `name` for a front whose drawing could not be traced, with the reason."""
    if comparison is None:
        return Measurement(name, NOT_COMPARED)
    return Measurement(name, "the catalogue picture has too few lines to compare")


def rows(comparison: Comparison | None, drawing: Drawing | None) -> list[Measurement]:
    """`front_geometry`: the drawing's shape; `front_lines`: how well its lines are made.

    Both are medians over the pieces of line, in crop pixels (a 512th of the crop, about 75 micrometres on a
    pin of 35 mm), after a homography is fitted to all pieces (point-to-line ICP; Chen and Medioni 1992): the
    first of the displacement that a piece shares with its neighbourhood, the second of the rest of its
    displacement. A catalogue picture taken at a slant, a lens's distortion and relief seen from the side also
    affect the first; blur, noise and glare on the lines the second.
    """
    if comparison is None or drawing is None:
        return [untraced_row(name, comparison) for name in ("front_geometry", "front_lines")]
    shift = drawing.shift
    return [
        _row(
            "front_geometry",
            "The drawing has the same shape as the catalogue's.",
            "Parts of the drawing are out of place, by more than the camera's angle explains.",
            (BAD_SHAPE, NEUTRAL_SHAPE, GOOD_SHAPE),
            comparison,
            drawing,
            np.abs(shift),
        ),
        _row(
            "front_lines",
            "The lines run where the catalogue's do.",
            "The lines are uneven: they stray from the catalogue's.",
            (BAD_LINES, NEUTRAL_LINES, GOOD_LINES),
            comparison,
            drawing,
            np.abs(drawing.offset - shift),
        ),
    ]


def _row(
    name: str,
    good: str,
    bad: str,
    limits: tuple[float, float, float],
    comparison: Comparison,
    drawing: Drawing,
    displacements: Doubles,
) -> Measurement:
    """The row of the pieces' `displacements`, worded `good` or `bad`; `limits` are those of `ramp`."""
    score = ramp(float(np.median(displacements)), *limits)
    if score < 0 and not comparison.registered:
        return Measurement(
            name, "the front does not fit its catalogue picture well enough to judge its lines"
        )
    if score >= SLIGHT_SCORE:
        return Measurement(name, good, score)
    return Measurement(name, bad, score, **comparison.boxes_around(_worst(drawing, displacements)))


def _worst(drawing: Drawing, amount: Doubles) -> Points:
    """Two corners (reference pixels) of the square around the largest local sum of the amounts."""
    plane = np.zeros((CROP_SIDE, CROP_SIDE), np.float32)
    columns, rows = drawing.points.round().astype(int).T
    plane[rows, columns] = amount
    reach = 0.08 * CROP_SIDE
    y, x = divmod(int(cv2.GaussianBlur(plane, (0, 0), reach / 2).argmax()), CROP_SIDE)
    return np.array([[x - reach, y - reach], [x + reach, y + reach]], np.float32)


METAL_SIDE_PIXELS = 5.0
"""Distance from an edge, in crop pixels, at which the colours of its two sides are compared with metal."""

METAL_COLOUR_MARGIN = 8.0
"""How much nearer to the metal's colour, in Lab units (lightness counts half), one side must be than the
other to count as metal."""

MIN_METAL_POINTS = 100

GOOD_WIDENING, NEUTRAL_WIDENING, BAD_WIDENING = 0.0, 0.12, 0.4
"""Outward displacement of a line's edges, in crop pixels: of a good pin, of one that gives no evidence, and
of thick lines: the last two are 10 and 30 micrometres on either side, on a pin of 35 mm. Of 79 genuine
simulated pins none had more than 0.08 in both photographs."""


def widening(comparison: Comparison, drawing: Drawing, metals: Sequence[Doubles]) -> float | None:
    """How much further out the edges of metal lines are than in the catalogue picture: the median, in crop
    pixels, of each edge's offset (`Drawing`) away from the side that has a metal's colour (`metals`, Lab).

    Blur, glare along a line, and light that brightens one side of raised lines affect it as well. None if too
    few edges have metal on one side only.
    """
    lab = as_floats(cv2.GaussianBlur(comparison.target.lab, (0, 0), BLUR_PIXELS))
    ahead, behind = (
        np.min(
            [_metal_distance(lab, drawing.points + reach * drawing.normals, tone) for tone in metals], axis=0
        )
        for reach in (METAL_SIDE_PIXELS, -METAL_SIDE_PIXELS)
    )
    outwards = np.where(
        behind < ahead - METAL_COLOUR_MARGIN, 1.0, np.where(ahead < behind - METAL_COLOUR_MARGIN, -1.0, 0.0)
    )
    one_sided = outwards != 0
    if np.count_nonzero(one_sided) < MIN_METAL_POINTS:
        return None
    return float(np.median((drawing.offset * outwards)[one_sided]))


def _metal_distance(lab: Floats, points: Points, tone: Doubles) -> Doubles:
    """Distance in Lab of the picture's colour at each point from a metal's; lightness counts half."""
    x, y = points[:, :1].astype(np.float32), points[:, 1:].astype(np.float32)
    colour = cv2.remap(lab, x, y, cv2.INTER_LINEAR)[:, 0]
    return np.asarray(np.linalg.norm((colour - tone) * (0.5, 1, 1), axis=1), np.float64)


def width(
    views: Sequence[tuple[Comparison | None, Drawing | None]], metals: Sequence[Doubles]
) -> Measurement:
    """`front_line_width`: whether metal lines are thicker than the catalogue's (`widening`). The smallest
    value of the photographs counts, because light and blur can thicken lines in one of them. The first of
    `views` is the photograph taken straight on; without it the row is not assessed."""
    name = "front_line_width"
    comparison, drawing = views[0]
    if comparison is None or drawing is None:
        return untraced_row(name, comparison)
    if not comparison.registered:
        return Measurement(
            name, "the front does not fit its catalogue picture well enough to measure its lines"
        )
    straight = widening(comparison, drawing, metals) if metals else None
    if straight is None:
        return Measurement(name, "too few lines of bare metal to measure their thickness")
    others = [
        widening(other, its_drawing, metals)
        for other, its_drawing in views[1:]
        if other is not None and its_drawing is not None
    ]
    amount = min([straight, *(value for value in others if value is not None)])
    score = ramp(amount, BAD_WIDENING, NEUTRAL_WIDENING, GOOD_WIDENING)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The lines are as thick as the catalogue's.", score)
    return Measurement(name, "The lines are thicker than the catalogue's.", score)
