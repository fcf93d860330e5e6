"""Compares the pin's proportions with its catalogue picture's, independent of the camera's view: whether it
is longer in one direction, and whether its border is wider.

A tilted pin looks shorter in one direction, but no camera shows that alone: nearer parts look larger as well,
the more so the wider the lens. For every lens, therefore, one flat pin explains the photograph, and its
metric follows from the homography (the constraints of Zhang 2000, of which one plane gives two). A recast pin
has other proportions than the original under every lens.

A pin that was cast or cut again also tends to have more metal around the drawing. If it is registered by its
drawing, its edge is outside the catalogue's all around.
"""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, ramp
from pinactors.analysis.evidence.linework import Drawing, untraced_row
from pinactors.analysis.imaging import geometry
from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.model import Matrix

SHORTEST_FOCUS, LONGEST_FOCUS = 0.6, 3.0
"""Focal lengths that are tried, in diagonals of the photograph: a phone's wide camera has 26 mm for a
diagonal of 43 mm, its longest lens 120 mm, and so has the wide camera's picture cropped to a fifth."""

MAX_AXIS_OFFSET = 0.2
"""Largest distance of the camera's axis from the photograph's middle, horizontally and vertically, in
diagonals: photographs may be cropped."""

GOOD_STRETCH, NEUTRAL_STRETCH, BAD_STRETCH = 0.004, 0.01, 0.03
"""Stretch of a good pin, of one that gives no evidence, and of another casting. A catalogue picture taken at
eight degrees has the second itself, at fourteen degrees the third."""


IMPOSSIBLE_STRETCH = 0.1
"""Stretch that no casting has: lines were confused with others."""


def stretch(comparison: Comparison, drawing: Drawing) -> float:
    """Logarithm (no unit) of the pin's stretch in one direction relative to the perpendicular one, compared
    with the catalogue's, under the camera that explains most of it.

    A catalogue picture that was itself taken at a slant adds to it: 8 degrees 0.01, 14 degrees 0.03.
    """
    height, width = comparison.view.rgb.shape[:2]
    diagonal = float(np.hypot(height, width))
    to_photo = np.linalg.inv(comparison.to_target) @ drawing.correction
    camera = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, diagonal]]) / diagonal
    rows, columns = np.nonzero(comparison.target.mask)
    pin = np.array(
        [[comparison.diameter, 0, columns.mean()], [0, comparison.diameter, rows.mean()], [0, 0, 1]]
    )
    return least_anisotropy(camera @ to_photo @ pin)


_FOCUS, _ACROSS, _DOWN = (
    axis.ravel()
    for axis in np.meshgrid(
        np.geomspace(SHORTEST_FOCUS, LONGEST_FOCUS, 16),
        *[np.linspace(-MAX_AXIS_OFFSET, MAX_AXIS_OFFSET, 9)] * 2,
    )
)
"""The cameras that are tried: focal length, and position of the axis."""


def least_anisotropy(homography: Matrix) -> float:
    """The log ratio of the axes of the plane's metric, under the camera for which it is least. `homography`
    maps the plane to positions relative to the photograph's middle, in diagonals."""
    across, down, depth = (
        homography[0, :2] - _ACROSS[:, None] * homography[2, :2],
        homography[1, :2] - _DOWN[:, None] * homography[2, :2],
        _FOCUS[:, None] * homography[2, :2],
    )
    first, second = (across**2 + down**2 + depth**2).T
    product = across.prod(axis=1) + down.prod(axis=1) + depth.prod(axis=1)
    return float((np.hypot(first - second, 2 * product) / (first + second)).min())


def row(comparison: Comparison | None, drawing: Drawing | None) -> Measurement:
    """`front_proportions`: whether the pin is longer in one direction than the catalogue's (`stretch`)."""
    name = "front_proportions"
    if comparison is None or drawing is None:
        return untraced_row(name, comparison)
    amount = stretch(comparison, drawing)
    if not comparison.registered or amount > IMPOSSIBLE_STRETCH:
        return Measurement(
            name, "the front does not fit its catalogue picture well enough to measure its proportions"
        )
    score = ramp(amount, BAD_STRETCH, NEUTRAL_STRETCH, GOOD_STRETCH)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The pin has the same proportions as the catalogue's.", score)
    text = (
        f"The pin is {np.expm1(amount):.0%} longer in one direction than the catalogue's, whatever its tilt."
    )
    return Measurement(name, text, score)


OUTLINE_SAMPLES = 1024
"""Number of points of the catalogue picture's outline at which the photograph's edge is searched."""

DESIGN_SMOOTHING = 0.006
"""Smoothing of that outline, in diameters, that keeps its shape and removes the steps of a cut-out."""

INWARDS_PIXELS, OUTWARDS_PIXELS = 2.0, 14.0
"""Distances inside and outside the outline within which the edge is searched, in crop pixels. A narrower
border is not judged, because every pin looks narrower if its dark rim is on a dark background."""

DIRECTIONS = 8
"""Number of directions into which the outline is divided. A view from the side shows the pin's flank in up to
half of them."""

MIN_SAMPLES = 20
"""Least number of outline points of a direction that counts."""

MIN_EDGE_CONTRAST = 4.0
"""Change of colour, in Lab units, below which a point has no edge."""

GOOD_MARGIN, NEUTRAL_MARGIN, BAD_MARGIN = 0.001, 0.005, 0.012
"""How far outside the edge is, in diameters: of a good pin, of one that gives no evidence, and of another
casting; the last two are 0.2 and 0.4 mm of 35 mm. None of 81 genuine simulated pins had more than the
second."""


def margin(comparison: Comparison) -> float | None:
    """How far the pin's edge is outside the catalogue picture's, in diameters (at least -`INWARDS_PIXELS` of
    the crop).

    The photograph's change of colour is measured along each normal of the catalogue picture's outline,
    divided by its maximum there, and averaged for each of eight directions of normals; the edge is at the
    maximum of each average. The lower quartile of the directions counts: a wider border is wider all around,
    whereas a shadow, the flank of a tilted pin or another object are on one side. `comparison` must be
    registered by its drawing. A catalogue outline that lacks the rim also increases the value. None if the
    pin is cut off, or too little of its outline is known.
    """
    assert comparison.view.pin is not None
    if comparison.view.pin.cut_off:
        return None
    outline = comparison.target.outline.astype(np.float64)
    points, step = geometry.resampled(outline, OUTLINE_SAMPLES)
    smooth = geometry.smoothed(points, DESIGN_SMOOTHING * comparison.diameter / step)
    normals = geometry.normals_of(smooth)
    if float((normals * (smooth - smooth.mean(axis=0))).sum()) < 0:
        normals = -normals
    offsets = np.arange(-INWARDS_PIXELS, OUTWARDS_PIXELS + 0.1, 0.5)
    lab = as_floats(cv2.GaussianBlur(comparison.photo_lab, (0, 0), 1.0))
    change = geometry.change_along(lab, smooth, normals, offsets)
    change /= np.maximum(change.max(axis=1, keepdims=True), MIN_EDGE_CONTRAST)
    direction = (np.arctan2(normals[:, 1], normals[:, 0]) / (2 * np.pi) % 1 * DIRECTIONS).astype(
        int
    ) % DIRECTIONS
    edges = [
        float(offsets[change[direction == number].mean(axis=0).argmax()])
        for number in range(DIRECTIONS)
        if np.count_nonzero(direction == number) >= MIN_SAMPLES
    ]
    return float(np.percentile(edges, 25)) / comparison.diameter if edges else None


def border(comparison: Comparison | None, drawing: Drawing | None) -> Measurement:
    """`front_border`: how far outside the catalogue's the pin's edge is (`margin`). `comparison` must be
    registered by its drawing."""
    name = "front_border"
    if comparison is None or drawing is None:
        return untraced_row(name, comparison)
    if not comparison.registered:
        return Measurement(
            name, "the front does not fit its catalogue picture well enough to compare the edges"
        )
    wider = margin(comparison)
    if wider is None:
        return Measurement(name, "too little of the pin's edge is in the photograph")
    score = ramp(wider, BAD_MARGIN, NEUTRAL_MARGIN, GOOD_MARGIN)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The border around the drawing is no wider than the catalogue's.", score)
    text = "The border around the drawing is wider than the catalogue's."
    return Measurement(name, text, score)
