"""Finds the angle by which one pin's picture is rotated relative to another's.

The layout is a polar grid in the silhouette's frame: any affine view of the pin gives the same grid, and a
rotation of the pin is a shift along one axis. Each cell holds colour, silhouette and, with the greatest
weight, the direction of lines, which depends neither on the light nor on reflections in the metal.
"""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_floats, scaling
from pinactors.analysis.imaging.portrait import COARSE_SIDE, PORTRAIT_SIDE, Portrait
from pinactors.analysis.model import CROP_SIDE, Floats

RINGS, SECTORS, CHANNELS = 4, 16, 6

GRID_RADIUS_DEVIATIONS = 2.15
"""Radius of the grid in standard deviations of the silhouette; that of a disc is 2.0, of a long bar 1.7."""

SAMPLES_A_CELL = 4
"""Number of samples in each direction that are averaged in a cell."""

PLANE_WEIGHTS = as_floats([0.3, 1.0, 1.0, 0.6, 2.0, 2.0])
"""L (standardised), a, b (per 25), silhouette (as in `Portrait.planes`), lines along and across the radius.
Chosen on photographs of 280 pins among 1,757. Lightness has little weight, because polished metal is bright
in one picture and dark in another."""


def layout(portrait: Portrait) -> Floats:
    """The grid (RINGS, SECTORS, CHANNELS), scaled to length 1."""
    radii = (np.arange(RINGS * SAMPLES_A_CELL) + 0.5) / (RINGS * SAMPLES_A_CELL) * GRID_RADIUS_DEVIATIONS
    angles = np.arange(SECTORS * SAMPLES_A_CELL) / (SECTORS * SAMPLES_A_CELL) * 2 * np.pi
    grid = as_floats(radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1))
    colours = _sample(portrait.planes, as_floats(scaling(CROP_SIDE, COARSE_SIDE) @ portrait.frame), grid)
    frame = as_floats(scaling(CROP_SIDE, PORTRAIT_SIDE) @ portrait.frame)
    lines = _sample(portrait.lines, frame, grid)
    along, across = _relative(lines, frame, grid)
    cells = np.concatenate([colours, along[..., None], across[..., None]], axis=2)
    found = (
        cells.reshape(RINGS, SAMPLES_A_CELL, SECTORS, SAMPLES_A_CELL, CHANNELS).mean((1, 3)) * PLANE_WEIGHTS
    )
    found *= np.sqrt((np.arange(RINGS) + 0.5) / RINGS)[:, None, None]  # cells grow with the radius
    return as_floats(found / max(float(np.linalg.norm(found)), 1e-6))


def _sample(planes: Floats, frame: Floats, grid: Floats) -> Floats:
    places = as_floats(grid @ frame[:2, :2].T + frame[:2, 2])
    return as_floats(cv2.remap(planes, places[..., 0], places[..., 1], cv2.INTER_LINEAR))


def _relative(lines: Floats, frame: Floats, grid: Floats) -> tuple[Floats, Floats]:
    """Line vectors (of the doubled angle) with the angle measured from the radius through their position, so
    that rotating the pin moves the vectors without changing them."""
    radius = grid @ frame[:2, :2].T
    angle = 2 * np.arctan2(radius[..., 1], radius[..., 0])
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = lines[..., 0], lines[..., 1]
    return as_floats(x * cosine + y * sine), as_floats(y * cosine - x * sine)


def likely_rotations(query: Floats, reference: Floats, count: int) -> list[float]:
    """The likeliest rotations (radians) from the reference's layout to the query's: peaks of their circular
    correlation, best first."""
    spectrum = (np.fft.rfft(query, axis=1) * np.conj(np.fft.rfft(reference, axis=1))).sum((0, 2))
    curve = np.fft.irfft(spectrum, SECTORS * 4)
    peaks = np.flatnonzero((curve >= np.roll(curve, 1)) & (curve > np.roll(curve, -1)))
    best = peaks[np.argsort(-curve[peaks])][:count]
    return [float(step) for step in best * (2 * np.pi / len(curve))] or [0.0]
