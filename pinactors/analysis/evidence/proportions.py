"""The pin's measures beside its catalogue picture's, whatever the camera's view: whether it is longer one
way, and whether its border is wider.

A tilted pin looks shorter one way, but no camera shows that alone: what is nearer is larger as well, the more
so the wider the lens. So for every lens there is one flat pin that looks like the photograph, and its metric
can be read off the homography (the constraints of Zhang 2000, of which one plane gives two). A recast pin has
other proportions than the original under all of them.

Who casts or cuts a pin anew also tends to leave more metal around the drawing. Registered by its drawing,
such a pin's edge lies outside the catalogue's all around.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, ramp
from pinactors.analysis.evidence.linework import Drawing, untraced
from pinactors.analysis.imaging import geometry
from pinactors.analysis.model import Matrix

Values = npt.NDArray[np.float64]

SHORTEST_FOCUS, LONGEST_FOCUS = 0.6, 3.0
"""Focal lengths thought possible, in diagonals of the photograph: a telephone's wide camera has 26 mm for a
diagonal of 43 mm, its longest lens 120 mm, and so has the wide one's picture cut down to a fifth."""

CUT_AWAY = 0.2
"""How far from the photograph's middle, across and down and in diagonals, the camera's axis may lie: pictures
are cut down."""

GOOD, NORMAL, BAD = 0.004, 0.01, 0.03
"""Stretch of a good pin, of one that says nothing, and of another casting. A catalogue picture taken
from eight degrees aside is off by the second itself, from fourteen by the third."""


IMPOSSIBLE_STRETCH = 0.1
"""Stretch that no casting has: the lines were taken for others."""


def stretch(seen: Comparison, drawing: Drawing) -> float:
    """Logarithm (no unit) of how much longer the pin is in one direction than across it, beside the
    catalogue's, under the camera that explains most of it.

    A catalogue picture that was itself taken at a slant moves it as well: 8 degrees by 0.01, 14 by 0.03.
    """
    height, width = seen.view.rgb.shape[:2]
    diagonal = float(np.hypot(height, width))
    to_photo = np.linalg.inv(seen.to_target) @ drawing.correction
    camera = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, diagonal]]) / diagonal
    rows, columns = np.nonzero(seen.target.mask)
    pin = np.array([[seen.diameter, 0, columns.mean()], [0, seen.diameter, rows.mean()], [0, 0, 1]])
    return least_anisotropy(camera @ to_photo @ pin)


_FOCUS, _ACROSS, _DOWN = (
    axis.ravel()
    for axis in np.meshgrid(
        np.geomspace(SHORTEST_FOCUS, LONGEST_FOCUS, 16), *[np.linspace(-CUT_AWAY, CUT_AWAY, 9)] * 2
    )
)
"""The cameras tried: focal length, and place of the axis."""


def least_anisotropy(homography: Matrix) -> float:
    """The log ratio of the axes of the plane's metric, under the camera for which it is least. `homography`
    takes the plane to diagonals from the photograph's middle."""
    across, down, depth = (
        homography[0, :2] - _ACROSS[:, None] * homography[2, :2],
        homography[1, :2] - _DOWN[:, None] * homography[2, :2],
        _FOCUS[:, None] * homography[2, :2],
    )
    one, other = (across**2 + down**2 + depth**2).T
    product = across.prod(axis=1) + down.prod(axis=1) + depth.prod(axis=1)
    return float((np.hypot(one - other, 2 * product) / (one + other)).min())


def row(seen: Comparison | None, drawing: Drawing | None) -> Measurement:
    """`front_proportions`."""
    name = "front_proportions"
    if seen is None or drawing is None:
        return untraced(name, seen)
    amount = stretch(seen, drawing)
    if not seen.registered or amount > IMPOSSIBLE_STRETCH:
        return Measurement(
            name, "the front lies too badly on its catalogue picture to measure its proportions"
        )
    score = ramp(amount, BAD, NORMAL, GOOD)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The pin is as long and as wide as the catalogue's.", score)
    text = f"The pin is {np.expm1(amount):.0%} longer one way than the catalogue's, however it was held."
    return Measurement(name, text, score, **seen.located(seen.frame))


OUTLINE_SAMPLES = 1024
"""Points of the catalogue picture's outline across which the photograph's edge is looked for."""

DESIGN_SMOOTHING = 0.006
"""Smoothing of that outline, in diameters, that leaves its shape and takes a cut-out's steps away."""

INWARDS_PIXELS, OUTWARDS_PIXELS = 2.0, 14.0
"""How far inside and outside of the outline the edge is looked for, in crop pixels. A border that looks
narrower is not judged: where a dark rim is lost on a dark ground, any pin's does."""

WAYS = 8
"""Directions the outline is divided into. A view from the side shows the pin's flank in up to half of
them."""

LEAST_SAMPLES = 20
"""Points of the outline in one direction from which it counts."""

LEAST_CONTRAST = 4.0
"""Change of colour, in Lab units, under which a place has no edge."""

IN_PLACE, OPEN, WIDER = 0.001, 0.005, 0.012
"""How far outside the edge lies, in diameters, of a good pin, where nothing can be said, and of another
casting: 0.2 and 0.4 mm of 35 mm. None of 81 genuine simulated pins had more than the second."""


def margin(seen: Comparison) -> float | None:
    """How far the pin's edge lies outside of the catalogue picture's, in diameters (at least
    -`INWARDS_PIXELS` of the crop).

    Across the catalogue picture's outline, the change of colour along each normal of the photograph is taken
    over its largest there and averaged for each of eight directions of normals; where that is largest is the
    edge. What counts is the lower quartile of the directions: a border is wider all around, a shadow, the
    flank of a tilted pin or something beside it are not. `seen` must be registered by its drawing. A
    catalogue picture's outline that lost the rim moves it as well. None where the pin is cut off, or too
    little of its outline was cut out.
    """
    assert seen.view.pin is not None
    if seen.view.pin.cut_off:
        return None
    outline = geometry.largest_outline(geometry.as_image(seen.target.mask)).astype(np.float64)
    points, step = geometry.resampled(outline, OUTLINE_SAMPLES)
    smooth = geometry.smoothed(points, DESIGN_SMOOTHING * seen.diameter / step)
    normals = geometry.normals_of(smooth)
    if float((normals * (smooth - smooth.mean(axis=0))).sum()) < 0:
        normals = -normals
    offsets = np.arange(-INWARDS_PIXELS, OUTWARDS_PIXELS + 0.1, 0.5)
    lab = np.asarray(cv2.GaussianBlur(seen.photo_lab, (0, 0), 1.0), np.float32)
    change = geometry.change_along(lab, smooth, normals, offsets)
    change /= np.maximum(change.max(axis=1, keepdims=True), LEAST_CONTRAST)
    way = (np.arctan2(normals[:, 1], normals[:, 0]) / (2 * np.pi) % 1 * WAYS).astype(int) % WAYS
    edges = [
        float(offsets[change[way == one].mean(axis=0).argmax()])
        for one in range(WAYS)
        if np.count_nonzero(way == one) >= LEAST_SAMPLES
    ]
    return float(np.percentile(edges, 25)) / seen.diameter if edges else None


def border(seen: Comparison | None, drawing: Drawing | None) -> Measurement:
    """`front_border`: how far beyond its place the pin's edge lies (`margin`), the photograph being
    registered by its drawing."""
    name = "front_border"
    if seen is None or drawing is None:
        return untraced(name, seen)
    if not seen.registered:
        return Measurement(name, "the front lies too badly on its catalogue picture to compare their edges")
    wider = margin(seen)
    if wider is None:
        return Measurement(name, "the pin's edge is not all in the photograph")
    score = ramp(wider, WIDER, OPEN, IN_PLACE)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The pin ends where the catalogue's does.", score)
    text = "The border around the drawing is wider than the catalogue's."
    return Measurement(name, text, score, **seen.located(seen.frame))
