"""Evidence from the enamel's surface: waves, pits and specks where a well filled field is even."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence import colours
from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.evidence.likelihood import SLIGHT, Measurement, ramp
from pinactors.analysis.model import Points

Floats = npt.NDArray[np.float32]

SIDE = 256
"""Side of the pictures the surface is judged in: finer than that is the camera's noise."""

FINE, COARSE = 1.25, 2.5
"""Standard deviations, in those pixels, between which unevenness is looked for: 0.1 to 0.4 mm of a 35 mm
pin."""

FLAT = 4.0
"""Gradient of the catalogue picture (Lab units a pixel) from which a place belongs to a drawn line."""

LEAST_FIELD = 600
"""Pixels of even enamel below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Surface:
    """`unevenness` is the 97th percentile of lightness differences between the two scales, in L*, over the
    even fields of the catalogue picture; `worst` where it is largest (reference pixels)."""

    unevenness: float
    worst: Points


def measure(seen: Comparison | None, metals: list[npt.NDArray[np.float64]]) -> Surface | None:
    """The enamel's surface in the front's photograph. None without a comparison or with too little even
    enamel.

    Bare metal (`metals`: its Lab colours) mirrors whatever is around and is left out.
    """
    if seen is None:
        return None
    size = (SIDE, SIDE)
    photo, reference = (
        np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)
        for lab in (seen.photo_lab, seen.target.lab)
    )
    inside = cv2.resize(seen.inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    around = np.ones((5, 5), np.uint8)
    drawn = np.zeros(inside.shape, bool)
    for plane in cv2.split(reference):
        slope = np.hypot(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)) / 8
        drawn |= slope > FLAT
    even = (cv2.dilate(drawn.astype(np.uint8), around) == 0) & (cv2.erode(inside, around, borderValue=0) > 0)
    even &= ~colours.metallic(reference, metals)
    if np.count_nonzero(even) < LEAST_FIELD:
        return None
    lightness = np.asarray(photo[..., 0], np.float32)
    band = np.abs(_within(lightness, even, FINE) - _within(lightness, even, COARSE))
    band[~even] = 0
    level = float(np.percentile(band[even], 97))
    rows, columns = np.unravel_index(int(cv2.GaussianBlur(band, (0, 0), 6).argmax()), band.shape)
    reach = 0.08 * SIDE
    corners = [[columns - reach, rows - reach], [columns + reach, rows + reach]]
    return Surface(level, np.array(corners, np.float32) * (seen.inside.shape[0] / SIDE))


def fill(seen: Comparison | None, surface: Surface | None) -> Measurement:
    """`enamel_fill`: a dip says little, since factories allow some; a surface of waves and pits speaks of a
    reject."""
    name = "enamel_fill"
    if seen is None or surface is None:
        return Measurement(name, "no even field of enamel to judge")
    if seen.view.quality.clipped > 0.05:
        return Measurement(name, "a reflection hides the enamel")
    score = ramp(surface.unevenness, WAVY, NORMAL, SMOOTH)
    if score >= SLIGHT:
        return Measurement(name, "The enamel lies evenly in its fields.", score)
    return Measurement(
        name, "The enamel's surface is uneven: waves, pits or specks.", score, **seen.located(surface.worst)
    )


SMOOTH, NORMAL, WAVY = 0.35, 0.9, 2.4
"""Unevenness, in L*, of a good surface, of one that says nothing, and of one badly filled."""


def _within(plane: Floats, where: npt.NDArray[np.bool_], sigma: float) -> Floats:
    """Gaussian smoothing that only looks at places inside `where`."""
    weight = where.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), sigma) + 1e-3
    return np.asarray(cv2.GaussianBlur(plane * weight, (0, 0), sigma) / total, np.float32)
