"""Fits a crop to a catalogue picture: homographies between the two, tried and refined on their edges.

If no start is known, all rotations of the silhouette are tried. The fit is then refined by ECC (Evangelidis
and Psarakis 2008) on the position of edges, which light changes least, not on their brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.evidence import gates
from pinactors.analysis.imaging.geometry import as_floats, as_image, at_side, resized
from pinactors.analysis.model import CROP_SIDE, Flags, Floats, Image, Matrix, Reference

TINY_SIDE, COARSE_SIDE, FINE_SIDE = 96, 128, 192
"""Sides in pixels of the pictures in which rotations are tried, the likeliest compared, and the best of them
refined."""

ROTATIONS_TRIED = 120
"""Number of rotations tried: three degrees apart, which is within reach of the refinement."""

ROTATIONS_KEPT = 5

NEAR_ROUNDS, ROTATED_ROUNDS, FAR_ROUNDS = ((5, 20),), ((9, 10), (3, 10)), ((9, 12), (3, 12))
"""Rounds of ECC, each with the width of its smoothing in pixels and its largest number of iterations: from
the registration of the catalogue search, from a rotation that was tried, and from the best of these."""

OVERLAP_WEIGHT = 3.0
"""Cost of the share of the silhouettes that does not overlap, in units of the correlation of edges inside
them. A counterfeit's inside may differ, and the outline may fit nearly as well under another rotation, so
each of the two decides where the other cannot."""

SUFFICIENT_EDGE_CORRELATION = 0.3
"""Correlation of edges inside the outline from which a fit is accepted without further support."""

ROTATION_MARGIN = 0.06
SURE_AGREEMENT = 0.6
ROTATION_OVERLAP_LEAD = 0.03
"""Least lead in `score` of a rotation over every other one; agreement of edges from which no lead is
required, because only the same pin reaches it; and least lead in overlap if the edges give no information
(the outline of a disc never has one)."""


def edge_map(rgb: Image, mask: Image, side: int) -> Floats:
    """The edges of a crop, 0 to about 1, independent of the light: the gradient over the mean gradient of its
    neighbourhood."""
    return _edges_within(_at_side(rgb, side), _at_side(mask, side))


def _edges_within(rgb: Image, mask: Image) -> Floats:
    """`edge_map` of a crop and its mask that already have the size of the result."""
    side = mask.shape[0]
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    total = np.zeros((side, side), np.float32)
    for plane in cv2.split(cv2.GaussianBlur(lab, (0, 0), 1.0)):
        dx, dy = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
        total += dx * dx + dy * dy
    strength = np.sqrt(total)
    inside = mask.astype(np.float32) / 255
    level = cv2.GaussianBlur(strength * inside, (0, 0), side / 16) / (
        cv2.GaussianBlur(inside, (0, 0), side / 16) + 1e-3
    )
    edges = strength / (strength + level + 6.0) * inside
    return as_floats(cv2.GaussianBlur(edges, (0, 0), side / 200))


def _at_side(picture: Image, side: int) -> Image:
    """The crop reduced to `side`. It is reduced by two first, which costs nearly nothing, because a reduction
    by a fraction has a high cost per source pixel."""
    return resized(resized(picture, (CROP_SIDE // 2, CROP_SIDE // 2)), (side, side))


def correlation(first: Floats, second: Floats, where: Flags) -> float:
    """Pearson's correlation of two pictures over `where`; 0 if `where` has fewer than 16 pixels."""
    weight = where.astype(np.float32)
    count = float(weight.sum())
    if count < 16:
        return 0.0
    a, b = first * weight, second * weight
    mean_a, mean_b = float(a.sum()) / count, float(b.sum()) / count
    covariance = float(np.vdot(a, b)) / count - mean_a * mean_b
    variance_a = float(np.vdot(a, a)) / count - mean_a * mean_a
    variance_b = float(np.vdot(b, b)) / count - mean_b * mean_b
    return covariance / max(float(np.sqrt(max(variance_a, 0.0) * max(variance_b, 0.0))), 1e-9)


@dataclass(frozen=True, slots=True)
class Fit:
    """A homography between crops, and how well edges and silhouettes agree under it."""

    matrix: Matrix
    agreement: float
    overlap: float

    @property
    def score(self) -> float:
        return self.agreement - OVERLAP_WEIGHT * (1 - self.overlap)


class Edges:
    """A crop's edge map, its silhouette, and the inside of its mask. Edges are compared only inside, because
    outlines agree too easily to distinguish a right rotation from a wrong one. Silhouettes have no holes,
    because photographs are cut out along the outer outline."""

    def __init__(self, rgb: Image, mask: Image, side: int) -> None:
        self.side = side
        small = _at_side(mask, side)
        self.map = _edges_within(_at_side(rgb, side), small)
        mask = as_image(small > 127)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        self.mask = as_image(cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, -1))
        width = 2 * round(0.04 * side) + 1
        self.inside = as_image(cv2.erode(mask, np.ones((width, width), np.uint8), borderValue=0))

    def fit(self, target: Edges, matrix: Matrix) -> Fit:
        """How well the crop fits the target under a homography between crops."""
        small, size = at_side(matrix, CROP_SIDE, self.side), (self.side, self.side)
        moved = as_floats(cv2.warpPerspective(self.map, small, size))
        mask = as_image(cv2.warpPerspective(self.mask, small, size, flags=cv2.INTER_NEAREST))
        inside = as_image(cv2.warpPerspective(self.inside, small, size, flags=cv2.INTER_NEAREST))
        both, either = int(np.count_nonzero(mask & target.mask)), int(np.count_nonzero(mask | target.mask))
        overlap = both / max(either, 1)
        return Fit(matrix, correlation(moved, target.map, (inside & target.inside) > 0), overlap)

    def refine(self, target: Edges, start: Matrix, rounds: tuple[tuple[int, int], ...]) -> Fit:
        """The best fit among the start and the results of the ECC rounds."""
        best = self.fit(target, start)
        matrix = np.linalg.inv(at_side(start, CROP_SIDE, self.side))
        for blur, steps in rounds:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, steps, 1e-4)
            warp = (matrix / matrix[2, 2]).astype(np.float32)
            try:
                _, found = cv2.findTransformECC(  # type: ignore[call-overload]  # None is no mask
                    target.map, self.map, warp, cv2.MOTION_HOMOGRAPHY, criteria, None, blur
                )
            except cv2.error:  # no overlap or no convergence: keep the best fit so far
                break
            matrix = found.astype(np.float64)
            found_fit = self.fit(target, at_side(np.linalg.inv(matrix), self.side, CROP_SIDE))
            best = max(best, found_fit, key=lambda fit: fit.score)
        return best


def rotation_of(rgb: Image, mask: Image, reference: Reference) -> Matrix | None:
    """The homography from the crop to the reference by the silhouettes' moments and the best of all
    rotations; None if it fits badly and another rotation fits about as well. (A design that looks the same
    after a rotation fits well both ways.)"""
    unwhiten, whiten = np.linalg.inv(gates.whitening(reference.mask)), gates.whitening(mask)
    crop, target = Edges(rgb, mask, TINY_SIDE), Edges(reference.rgb, reference.mask, TINY_SIDE)
    for edges in (crop, target):  # three degrees are two pixels at the rim: neighbours must overlap
        edges.map = as_floats(cv2.GaussianBlur(edges.map, (0, 0), 0.8))
    tried: list[Fit] = []
    for step in range(ROTATIONS_TRIED):
        angle = 2 * np.pi * step / ROTATIONS_TRIED
        rotation = np.eye(3)
        rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        tried.append(crop.fit(target, unwhiten @ rotation @ whiten))
    crop, target = Edges(rgb, mask, COARSE_SIDE), Edges(reference.rgb, reference.mask, COARSE_SIDE)
    refined = [crop.refine(target, matrix, ROTATED_ROUNDS) for matrix in _peaks(tried)]
    best = max(refined, key=lambda fit: fit.score)
    if best.agreement >= SURE_AGREEMENT:
        return best.matrix
    other_rotations = [fit for fit in refined if mean_displacement(fit.matrix, best.matrix) > 0.1 * CROP_SIDE]
    if best.score < max((fit.score for fit in other_rotations), default=-9.0) + ROTATION_MARGIN:
        return None
    distinct = (
        best.overlap > max((fit.overlap for fit in other_rotations), default=0.0) + ROTATION_OVERLAP_LEAD
    )
    return best.matrix if distinct or best.agreement >= SUFFICIENT_EDGE_CORRELATION / 2 else None


def _peaks(tried: list[Fit]) -> list[Matrix]:
    """The likeliest rotations: local maxima of `score` around the circle."""
    score = np.array([fit.score for fit in tried])
    reach = ROTATIONS_TRIED // 24
    around = np.stack([np.roll(score, shift) for shift in range(-reach, reach + 1)])
    peaks = np.flatnonzero(score >= around.max(axis=0))
    best = peaks[np.argsort(-score[peaks])][:ROTATIONS_KEPT]
    return [tried[step].matrix for step in best]


def mean_displacement(first: Matrix, second: Matrix) -> float:
    """Mean distance, in crop pixels, between the images of the crop's quarter points under two
    homographies."""
    low, high = CROP_SIDE / 4, 3 * CROP_SIDE / 4
    points = np.array([[[low, low], [low, high], [high, low], [high, high]]])
    difference = cv2.perspectiveTransform(points, first) - cv2.perspectiveTransform(points, second)
    return float(np.linalg.norm(difference, axis=2).mean())
