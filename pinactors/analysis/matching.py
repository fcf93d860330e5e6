"""Geometric verification: do the local features of two pictures agree on one view of one flat thing?"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.features import Floats, LocalFeatures
from pinactors.analysis.model import Matrix

RATIO = 0.85
"""A match counts when its descriptor distance is below this share of the second best (Lowe 2004 used 0.8 on
one photograph's clutter; here a vote on the common turn and scale follows, so more may enter)."""

NEAR = 6.0
"""Reprojection error in crop pixels below which MAGSAC++ looks for inliers."""

MIN_INLIERS = 6


@dataclass(frozen=True, slots=True)
class Verification:
    """`homography` maps the first picture's crop pixels to the second's; None when nothing agreed. `inliers` of
    `tentative` matches; `area` of the inliers' hull in the second picture, in squared crop pixels."""

    homography: Matrix | None
    inliers: int
    tentative: int
    area: float
    query_points: Floats
    reference_points: Floats


_NOTHING = np.zeros((0, 2), np.float32)


def verify(query: LocalFeatures, reference: LocalFeatures) -> Verification:
    """Matches descriptors within each channel, lets them vote on turn and scale, and fits a homography to
    the winners by MAGSAC++ (Barath et al. 2020)."""
    first, second = match(query, reference)
    tentative = len(first)
    if tentative >= MIN_INLIERS:
        keep = _consensus(query, reference, first, second)
        first, second = first[keep], second[keep]
    if len(first) < MIN_INLIERS:
        return Verification(None, 0, tentative, 0.0, _NOTHING, _NOTHING)
    source, target = query.points[first], reference.points[second]
    homography, mask = cv2.findHomography(
        source, target, cv2.USAC_MAGSAC, NEAR, maxIters=2000, confidence=0.999
    )
    if homography is None or not plausible(homography, query.points):
        return Verification(None, 0, tentative, 0.0, _NOTHING, _NOTHING)
    inside = mask.ravel() > 0
    source, target = _distinct(source[inside], target[inside])
    hull = float(cv2.contourArea(cv2.convexHull(target))) if len(target) >= 3 else 0.0
    matrix = np.asarray(homography, np.float64)
    return Verification(matrix, len(target), tentative, hull, source, target)


def match(
    query: LocalFeatures, reference: LocalFeatures
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of mutually nearest descriptors of one channel that pass the ratio test."""
    firsts, seconds = [], []
    for channel in range(3):
        rows, columns = (
            np.flatnonzero(query.channels == channel),
            np.flatnonzero(reference.channels == channel),
        )
        if len(rows) < 2 or len(columns) < 2:
            continue
        a = query.descriptors[rows].astype(np.float32)
        b = reference.descriptors[columns].astype(np.float32)
        distances = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * (a @ b.T)
        order = np.argpartition(distances, 1, axis=1)[:, :2]
        near = np.take_along_axis(distances, order, axis=1)
        swap = near[:, 0] > near[:, 1]
        order[swap], near[swap] = order[swap][:, ::-1], near[swap][:, ::-1]
        mutual = distances.argmin(axis=0)[order[:, 0]] == np.arange(len(rows))
        good = mutual & (near[:, 0] < RATIO**2 * near[:, 1])
        firsts.append(rows[good])
        seconds.append(columns[order[good, 0]])
    if not firsts:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    return np.concatenate(firsts), np.concatenate(seconds)


def _consensus(
    query: LocalFeatures, reference: LocalFeatures, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Matches whose turn and scale lie near the most popular ones (a coarse Hough vote, Lowe 2004)."""
    turn = np.deg2rad(reference.angles[second] - query.angles[first])
    growth = np.log2(np.maximum(reference.sizes[second], 0.1) / np.maximum(query.sizes[first], 0.1))
    bins = np.arange(36) * (2 * np.pi / 36)
    near_turn = np.cos(turn[:, None] - bins) > np.cos(np.deg2rad(32))
    levels = np.arange(-2.0, 2.01, 0.5)
    near_level = np.abs(growth[:, None] - levels) < 0.8
    votes = near_turn.astype(np.float32).T @ near_level.astype(np.float32)
    best_turn, best_level = np.unravel_index(int(votes.argmax()), votes.shape)
    chosen: npt.NDArray[np.bool_] = near_turn[:, best_turn] & near_level[:, best_level]
    return chosen


def _distinct(source: Floats, target: Floats) -> tuple[Floats, Floats]:
    """One inlier a place: the channels often find the same corner."""
    cells = np.round(target / 5).astype(np.int64)
    _, kept = np.unique(cells, axis=0, return_index=True)
    return source[kept], target[kept]


def plausible(homography: Matrix, points: Floats) -> bool:
    """No mirror, no collapse, no stretch a pin photographed within 70° would not show."""
    low, high = points.min(0), points.max(0)
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]], np.float64)
    lifted = np.column_stack([corners, np.ones(4)]) @ np.asarray(homography, np.float64).T
    if (lifted[:, 2] <= 1e-6).any():
        return False
    depth = lifted[:, 2].max() / lifted[:, 2].min()
    flat = lifted[:, :2] / lifted[:, 2:]
    edges = np.roll(flat, -1, 0) - flat
    turns = edges[:, 0] * np.roll(edges, -1, 0)[:, 1] - edges[:, 1] * np.roll(edges, -1, 0)[:, 0]
    if (turns <= 0).any() or depth > 2.0:
        return False
    middle = corners.mean(0)
    jacobian = _jacobian(homography, middle)
    stretch = np.linalg.svd(jacobian, compute_uv=False)
    return bool(stretch[0] / max(stretch[1], 1e-9) < 3.0 and stretch[1] > 0.2 and stretch[0] < 5.0)


def _jacobian(homography: Matrix, point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    h = np.asarray(homography, np.float64)
    x, y = point
    denominator = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    u = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / denominator
    v = (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / denominator
    return np.array([h[0, :2] - u * h[2, :2], h[1, :2] - v * h[2, :2]]) / denominator
