"""The pin's proportions: whether it is longer one way than its catalogue picture, whatever the camera's view.

A tilted pin looks shorter one way, but no camera shows that alone: what is nearer is larger as well, the more
so the wider the lens. So for every lens there is one flat pin that looks like the photograph, and its metric
can be read off the homography (the constraints of Zhang 2000, of which one plane gives two). A recast pin has
other proportions than the original under all of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, ramp
from pinactors.analysis.evidence.linework import Drawing
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
    if seen is None:
        return Measurement(name, "no verified catalogue picture of the front")
    if drawing is None:
        return Measurement(name, "the catalogue picture has too few lines")
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
