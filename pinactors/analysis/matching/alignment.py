"""Registration: finds the transformation that maps one picture's pin to another's.

Whole pins are aligned by the frames of their silhouettes, their rotation by their layouts; the result is
refined on colour, outline and lines together (Lucas and Kanade; robust inverse compositional algorithm as in
Baker and Matthews 2004).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_floats, at_side, scaling
from pinactors.analysis.imaging.portrait import COARSE_SIDE, Portrait
from pinactors.analysis.matching import layout
from pinactors.analysis.model import CROP_SIDE, Floats, Matrix

_SAMPLE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
HUBER_RESIDUAL = 0.5
"""Residual (in the planes' units) up to which a difference counts squared; glare and fingers exceed it and
count linearly."""
MAX_STEP_WIDTHS = 0.12
"""Largest change of one parameter in one iteration, in picture widths."""
CONVERGED_STEP = 2e-3
ITERATIONS, TRIAL_ITERATIONS = 10, 3
"""Iterations of a refinement, and those after which the worse of two starting rotations is dropped."""
STARTING_ROTATIONS = 3


@dataclass(frozen=True, slots=True)
class Alignment:
    """The result of a registration. `to_query` maps crop pixels of the reference to crop pixels of the query;
    `cost` (0 to 1) is the mean remaining difference, each bounded by 1."""

    to_query: Matrix
    cost: float


class Template:
    """The gradients of one reference and their products with the coordinates, computed once for all
    alignments to the reference."""

    def __init__(self, planes: Floats, mask: Floats) -> None:
        self.side = side = planes.shape[0]
        self.planes = planes
        self.inside = np.flatnonzero(cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0.05)
        gx = self._sampled(cv2.Sobel(planes, cv2.CV_32F, 1, 0, scale=side / 8))
        gy = self._sampled(cv2.Sobel(planes, cv2.CV_32F, 0, 1, scale=side / 8))
        ys, xs = np.divmod(self.inside, side)
        x = as_floats((xs - (side - 1) / 2) / side)[:, None]
        y = as_floats((ys - (side - 1) / 2) / side)[:, None]
        rows = [gx * x, gx * y, gx, gy * x, gy * y, gy]
        self.values = self._sampled(planes)
        self.steepest = np.stack(rows).reshape(len(rows), -1)
        unit = np.array(
            [[1 / side, 0, -(side - 1) / 2 / side], [0, 1 / side, -(side - 1) / 2 / side], [0, 0, 1]]
        )
        self._to_unit, self._from_unit = unit, np.linalg.inv(unit)

    def cost(self, query: Floats, to_query: Matrix) -> float:
        return float(np.minimum(np.abs(self._residual(query, to_query)), 1.0).mean())

    def _residual(self, query: Floats, to_query: Matrix) -> Floats:
        warped = cv2.warpPerspective(query, to_query, (self.side, self.side), flags=_SAMPLE)
        return self._sampled(warped) - self.values

    def _sampled(self, planes: npt.NDArray[Any]) -> Floats:
        """A picture's values at the pixels in and around the mask: (pixels, channels)."""
        return as_floats(planes.reshape(self.side * self.side, -1).take(self.inside, axis=0))

    def refine(self, query: Floats, to_query: Matrix, iterations: int) -> tuple[Matrix, float]:
        """The refined transformation (in the planes' pixels) and its cost."""
        matrix = np.asarray(to_query, np.float64)
        damping = np.eye(len(self.steepest), dtype=np.float32) * 1e-3 * len(self.values)
        for _ in range(iterations):
            residual = self._residual(query, matrix).reshape(-1)
            weight = 1 / np.maximum(1, np.abs(residual) / HUBER_RESIDUAL)
            weighted = self.steepest * weight
            step = np.linalg.solve(weighted @ self.steepest.T + damping, weighted @ residual)
            step = np.clip(step, -MAX_STEP_WIDTHS, MAX_STEP_WIDTHS)
            change = np.eye(3)
            change.flat[: len(step)] += step
            matrix = matrix @ self._from_unit @ np.linalg.inv(change) @ self._to_unit
            matrix /= matrix[2, 2]
            if np.abs(step).max() < CONVERGED_STEP:
                break
        return matrix, self.cost(query, matrix)


def register(query: Portrait, reference: Portrait) -> Alignment:
    """The best affine alignment of two portraits, starting from the likeliest rotations of their layouts."""
    rotations = layout.likely_rotations(layout.layout(query), layout.layout(reference), STARTING_ROTATIONS)
    template = Template(reference.planes, reference.coarse[1])
    down, up = scaling(CROP_SIDE, COARSE_SIDE), scaling(COARSE_SIDE, CROP_SIDE)
    starts = []
    for angle in rotations:
        cosine, sine = np.cos(angle), np.sin(angle)
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        matrix = down @ query.frame @ rotation @ np.linalg.inv(reference.frame) @ up
        starts.append((template.cost(query.planes, matrix), matrix))
    starts.sort(key=lambda start: start[0])
    best_starts = [matrix for cost, matrix in starts if cost <= 1.15 * starts[0][0]][:2]
    iterations = ITERATIONS
    if len(best_starts) > 1:  # a few iterations show which start is better
        tried = [template.refine(query.planes, matrix, TRIAL_ITERATIONS) for matrix in best_starts]
        best_starts = [min(tried, key=lambda found: found[1])[0]]
        iterations -= TRIAL_ITERATIONS
    matrix, cost = template.refine(query.planes, best_starts[0], iterations)
    return Alignment(at_side(matrix, COARSE_SIDE, CROP_SIDE), cost)


BACK_OVERLAP = 0.85
"""Least intersection over union of the registered outlines of two backs."""


def overlap(query: Portrait, reference: Portrait, to_query: Matrix) -> float:
    """Intersection over union of the two silhouettes after alignment."""
    matrix = at_side(to_query, CROP_SIDE, COARSE_SIDE)
    warped = cv2.warpPerspective(query.coarse[1], matrix, (COARSE_SIDE, COARSE_SIDE), flags=_SAMPLE)
    mask = reference.coarse[1]
    return float(np.minimum(warped, mask).sum() / max(float(np.maximum(warped, mask).sum()), 1.0))
