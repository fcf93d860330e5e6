"""Repeating patterns in a picture: a stamped lattice gives peaks in the autocorrelation of the relief,
whatever its motif."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.model import CROP_SIDE, Doubles, Flags, Floats

PICTURE_SIDE = 160
"""Side in pixels of the picture whose autocorrelation is computed: a lattice with twenty periods per pin
still has eight pixels per period."""

SHORTEST_PERIOD, LONGEST_PERIOD = 6.0, 45.0
"""Limits of a period in pixels of that picture."""

CLEAR_LATTICE = 0.38
"""Autocorrelation from which a pattern counts as repeating; plain metal stays below 0.2."""

CLEAR_GRID = 0.25
"""Average of the mean and the least autocorrelation of two repeats, their sum and their difference from which
even a faint pattern counts as repeating: random peaks do not form a parallelogram."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """A repeating pattern: `strength` of the best repeat (autocorrelation, 0 to 1), `period` in crop pixels,
    and the `repeats` found: rows of x, y (pixels of the small picture) and strength."""

    strength: float
    period: float
    repeats: Doubles


def lattice(correlogram: Floats) -> Lattice:
    """The strongest repeats in an autocorrelation with its origin in the middle."""
    places, strengths = _peaks(correlogram, 0.1, 12)
    repeats = np.column_stack([places, strengths]).astype(np.float64)
    if not len(repeats):
        return Lattice(0.0, 0.0, repeats)
    strong = repeats[repeats[:, 2] > 0.6 * repeats[0, 2]]
    period = float(np.hypot(strong[:, 0], strong[:, 1]).min()) * CROP_SIDE / correlogram.shape[0]
    return Lattice(float(repeats[0, 2]), period, strong[:6])


def _peaks(correlogram: Floats, least: float, count: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """The `count` strongest local maxima above `least` within the limits of a period: their offsets (n, 2; x,
    y) from the middle, and their values."""
    middle = correlogram.shape[0] // 2
    away = np.hypot(*np.ogrid[-middle:middle, -middle:middle])
    peaks = cv2.dilate(correlogram, np.ones((5, 5), np.uint8)) <= correlogram + 1e-6
    peaks &= (away >= SHORTEST_PERIOD) & (away <= LONGEST_PERIOD) & (correlogram > least)
    rows, columns = np.nonzero(peaks)
    strengths = correlogram[rows, columns]
    order = np.argsort(-strengths)[:count]
    return np.column_stack([columns[order], rows[order]]) - middle, strengths[order]


def grid(correlogram: Floats) -> float:
    """How strongly two repeats, their sum and their difference show together (0 to 1): a lattice of faint or
    thin figures has no single strong repeat, but shows all four."""
    middle = correlogram.shape[0] // 2
    near = cv2.dilate(correlogram, np.ones((5, 5), np.uint8))
    repeats, _ = _peaks(correlogram, 0.08, 24)
    best = 0.0
    for index, first in enumerate(repeats):
        for second in repeats[index + 1 :]:
            spread = abs(first[0] * second[1] - first[1] * second[0])
            corners = np.array([first, second, first + second, first - second])
            if (
                spread < 0.4 * np.linalg.norm(first) * np.linalg.norm(second)
                or np.abs(corners).max() >= middle
            ):
                continue
            strengths = near[corners[:, 1] + middle, corners[:, 0] + middle]
            best = max(best, float(strengths.mean() + strengths.min()) / 2)
    return best


def autocorrelation(plane: Floats, inside: Flags, reach: float = 3.2) -> Floats:
    """Autocorrelation of the relief inside a mask, normalised for every shift by the energy of the overlap;
    (PICTURE_SIDE, PICTURE_SIDE), -1 to 1, the origin in the middle."""
    small = cv2.resize(plane, (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_AREA)
    weight = cv2.resize(inside.astype(np.float32), (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_AREA)
    relief = _relief(as_floats(small), as_floats(weight), reach)
    shape = (2 * PICTURE_SIDE, 2 * PICTURE_SIDE)
    signal, window, energy = (np.fft.rfft2(plane, shape) for plane in (relief, weight, relief * relief))
    product = np.fft.irfft2(signal * signal.conj())
    energy_here = np.fft.irfft2(energy * window.conj())
    energy_shifted = np.roll(
        energy_here[::-1, ::-1], (1, 1), axis=(0, 1)
    )  # the other's energy is the same, mirrored
    covered = np.fft.irfft2(window * window.conj())
    normal = np.sqrt(np.maximum(energy_here * energy_shifted, 1.0))
    whole = np.where(covered > 0.2 * weight.sum(), product / normal, 0.0)
    half = PICTURE_SIDE // 2
    return as_floats(
        np.fft.fftshift(whole)[
            PICTURE_SIDE - half : PICTURE_SIDE + half, PICTURE_SIDE - half : PICTURE_SIDE + half
        ]
    )


def _relief(lightness: Floats, weight: Floats, reach: float) -> Floats:
    """Lightness minus its local mean, over its local spread: the relief, independent of the light."""
    around = cv2.GaussianBlur(weight, (0, 0), reach) + 1e-3
    level = cv2.GaussianBlur(lightness * weight, (0, 0), reach) / around
    difference = (lightness - level) * weight
    spread = np.sqrt(cv2.GaussianBlur(difference * difference, (0, 0), reach) / around)
    return as_floats(difference / (spread + 1.0))
