"""Geometric verification: finds a homography under which the features of two pictures agree.

A single pair of similar features determines a similarity (a keypoint has a position, a size and a direction).
Every pair is therefore tried as a hypothesis and the best supported one kept: without random sampling, for
any rotation in the plane, never mirrored. It is refined to a homography by MAGSAC++ (Barath et al. 2020), and
the features are then paired again by the positions to which the homography maps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.matching.keypoints import AXES, Features
from pinactors.analysis.model import CROP_SIDE, Doubles, Flags, Floats, Matrix

Numbers = npt.NDArray[np.intp]

MIN_COSINE, MIN_COSINE_IN_PLACE = 0.62, 0.5
"""Least cosine of two descriptors that are paired by descriptors alone, and of two at the same position."""
MAX_PAIRS = 160
MIN_PAIRS = 4
"""Least number of pairs that must agree: three fit any affine mapping."""
ROTATION_TOLERANCE, LOG_SCALE_TOLERANCE = np.radians(30), np.log(1.6)
"""Largest difference between a pair's rotation and log scale and those of the mapping: keypoints give them
only roughly."""
SIMILARITY_TOLERANCE_PIXELS, HOMOGRAPHY_TOLERANCE_PIXELS, PAIRING_TOLERANCE_PIXELS = (
    0.06 * CROP_SIDE,
    0.015 * CROP_SIDE,
    0.02 * CROP_SIDE,
)
"""Largest distance (reference pixels) of a pair from a similarity, which only approximates a tilted view;
from the homography; and from the homography when features are paired again."""
MAX_STRETCH, MAX_PERSPECTIVE = 3.0, 2.5
"""Largest distortions of a pin in a real photograph: the ratio of the scales in two directions, and of the
perspective depths."""
MIN_SCALE, MAX_SCALE = 0.08, 6.0
"""Limits of photograph pixels per reference pixel: a pin 40 pixels across, and a pin of which the photograph
shows only a part."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A verified mapping: `to_photo` (3x3) maps reference pixels to photograph pixels; `query` and
    `reference` are the indices of the features that agree under it, one to one, `cosines` the cosines of
    their descriptors."""

    to_photo: Matrix
    query: Numbers
    reference: Numbers
    cosines: Floats


def register(query: Features, reference: Features) -> Registration | None:
    """The mapping on which most pairs of similar features agree; None if fewer than MIN_PAIRS agree. The
    reference's features must be in crop pixels."""
    q, r, cosines = _pairs(query, reference)
    if len(q) < MIN_PAIRS:
        return None
    query_points, reference_points = (
        query.points[q].astype(np.float64),
        reference.points[r].astype(np.float64),
    )
    rotation = (query.angles[q] - reference.angles[r]).astype(np.float64)
    log_scale = np.log(query.sizes[q] / reference.sizes[r]).astype(np.float64)
    cosine, sine = np.exp(log_scale) * np.cos(rotation), np.exp(log_scale) * np.sin(rotation)
    shift_x = query_points[:, 0] - cosine * reference_points[:, 0] + sine * reference_points[:, 1]
    shift_y = query_points[:, 1] - sine * reference_points[:, 0] - cosine * reference_points[:, 1]
    off_x = (
        cosine[:, None] * reference_points[:, 0]
        - sine[:, None] * reference_points[:, 1]
        + shift_x[:, None]
        - query_points[:, 0]
    )
    off_y = (
        sine[:, None] * reference_points[:, 0]
        + cosine[:, None] * reference_points[:, 1]
        + shift_y[:, None]
        - query_points[:, 1]
    )
    fits = off_x * off_x + off_y * off_y < np.square(SIMILARITY_TOLERANCE_PIXELS * np.exp(log_scale))[:, None]
    fits &= np.abs(log_scale[:, None] - log_scale) < LOG_SCALE_TOLERANCE
    direction = np.column_stack([np.cos(rotation), np.sin(rotation)])
    fits &= direction @ direction.T > np.cos(ROTATION_TOLERANCE)
    weight = np.square(cosines - 0.5)
    best: tuple[float, Matrix, Numbers] | None = None
    for start in _best_hypotheses(fits, fits @ weight):
        found = _mapping(
            query_points, reference_points, np.flatnonzero(fits[start]), float(np.exp(log_scale[start]))
        )
        if found is not None:
            matrix, inliers = found
            score = float(weight[inliers].sum())
            if best is None or score > best[0]:
                best = score, matrix, inliers
    if best is None:
        return None
    kept = _one_to_one(q, r, cosines, best[2])
    return Registration(best[1], q[kept], r[kept], cosines[kept]) if len(kept) >= MIN_PAIRS else None


def complete(query: Features, reference: Features, found: Registration) -> Registration:
    """The registration with every pair of features that it maps to the same position, refined by these
    pairs."""
    for _ in range(2):
        q, r, cosines = _pairs_in_place(query, reference, found.to_photo)
        kept = _one_to_one(q, r, cosines, np.arange(len(q)))
        if len(kept) < len(found.query):
            break
        found = Registration(found.to_photo, q[kept], r[kept], cosines[kept])
        if len(kept) < 12:
            break
        query_points = query.points[found.query].astype(np.float64)
        reference_points = reference.points[found.reference].astype(np.float64)
        radius = HOMOGRAPHY_TOLERANCE_PIXELS * scale_and_rotation(found.to_photo, reference_points.mean(0))[0]
        refined = _homography(query_points, reference_points, radius)
        if refined is None:
            break
        found = Registration(refined, found.query, found.reference, found.cosines)
    return found


def without_pairs(to_photo: Matrix) -> Registration:
    """The registration of a mapping that was found without features: it has no pairs."""
    none = np.zeros(0, np.intp)
    return Registration(to_photo, none, none, np.zeros(0, np.float32))


def scale_and_rotation(matrix: Matrix, point: npt.NDArray[Any]) -> tuple[float, float]:
    """The factor by which a homography scales around a point, and the angle (radians) by which it rotates."""
    local = _jacobian(matrix, point)
    scale = np.sqrt(max(float(np.linalg.det(local)), 1e-9))
    return float(scale), float(np.arctan2(local[1, 0] - local[0, 1], local[0, 0] + local[1, 1]))


def plausible(matrix: Matrix, points: Doubles) -> bool:
    """Whether a photograph can show the plane's `points` under this mapping: not mirrored, and within the
    limits of scale, stretch and perspective."""
    depth = points @ matrix[2, :2] + matrix[2, 2]
    if depth.min() <= 0 or depth.max() > MAX_PERSPECTIVE * depth.min():
        return False
    local = _jacobian(matrix, points.mean(0))
    if not MIN_SCALE**2 < np.linalg.det(local) < MAX_SCALE**2:
        return False
    stretch = np.linalg.svd(local, compute_uv=False)
    return bool(stretch[0] < MAX_STRETCH * stretch[1])


def _jacobian(matrix: Matrix, point: npt.NDArray[Any]) -> Doubles:
    x, y, w = matrix @ (point[0], point[1], 1.0)
    return np.asarray((matrix[:2, :2] - np.outer((x / w, y / w), matrix[2, :2])) / w, np.float64)


def _pairs(query: Features, reference: Features) -> tuple[Numbers, Numbers, Floats]:
    """Each of the photograph's features with the most similar of the reference's, and vice versa."""
    rows: list[tuple[Numbers, Numbers, Floats]] = []
    for query_rows, reference_rows in _by_axis(query, reference):
        cosine = query.descriptors[query_rows] @ reference.descriptors[reference_rows].T
        for best, flat in ((cosine.argmax(1), True), (cosine.argmax(0), False)):
            at = np.arange(len(best))
            value = cosine[at, best] if flat else cosine[best, at]
            keep = value > MIN_COSINE
            one, other = (at, best) if flat else (best, at)
            rows.append((query_rows[one[keep]], reference_rows[other[keep]], value[keep]))
    q, r, cosines = _joined(rows)
    _, first = np.unique(q * len(reference) + r, return_index=True)
    q, r, cosines = q[first], r[first], cosines[first]
    if len(q) > MAX_PAIRS:
        best = np.argpartition(-cosines, MAX_PAIRS)[:MAX_PAIRS]
        q, r, cosines = q[best], r[best], cosines[best]
    return q, r, cosines


def _pairs_in_place(
    query: Features, reference: Features, to_photo: Matrix
) -> tuple[Numbers, Numbers, Floats]:
    """Pairs that the mapping brings to the same position, with similar size, direction and descriptor."""
    mapped = cv2.perspectiveTransform(reference.points[None].astype(np.float64), to_photo)[0]
    scale, rotation = scale_and_rotation(to_photo, reference.points.mean(0))
    radius = PAIRING_TOLERANCE_PIXELS * scale
    rows: list[tuple[Numbers, Numbers, Floats]] = []
    for query_rows, reference_rows in _by_axis(query, reference):
        low, high = mapped[reference_rows].min(0) - radius, mapped[reference_rows].max(0) + radius
        query_rows = query_rows[
            ((query.points[query_rows] >= low) & (query.points[query_rows] <= high)).all(1)
        ]
        offsets = mapped[reference_rows][:, None] - query.points[query_rows]
        one, other = np.nonzero(np.einsum("rqd,rqd->rq", offsets, offsets) < radius * radius)
        r, q = reference_rows[one], query_rows[other]
        keep = np.abs(np.log(query.sizes[q] / (reference.sizes[r] * scale))) < LOG_SCALE_TOLERANCE
        keep &= np.cos(query.angles[q] - reference.angles[r] - rotation) > np.cos(ROTATION_TOLERANCE)
        q, r = q[keep], r[keep]
        cosines = np.einsum("nd,nd->n", query.descriptors[q], reference.descriptors[r])
        keep = cosines > MIN_COSINE_IN_PLACE
        rows.append((q[keep], r[keep], cosines[keep]))
    return _joined(rows)


def _by_axis(query: Features, reference: Features) -> list[tuple[Numbers, Numbers]]:
    """For each axis on which both pictures have features, the indices of these features."""
    both = [
        (np.flatnonzero(query.axes == axis), np.flatnonzero(reference.axes == axis)) for axis in range(AXES)
    ]
    return [
        (query_rows, reference_rows)
        for query_rows, reference_rows in both
        if len(query_rows) and len(reference_rows)
    ]


def _joined(rows: list[tuple[Numbers, Numbers, Floats]]) -> tuple[Numbers, Numbers, Floats]:
    if not rows:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32)
    q, r, cosines = (np.concatenate(column) for column in zip(*rows, strict=True))
    return q, r, cosines


def _best_hypotheses(fits: Flags, support: Floats) -> list[int]:
    """The best supported hypothesis, and a second one if mostly other pairs give it more than half of that
    support."""
    first = int(support.argmax())
    others = (fits & ~fits[first]).sum(1) > 0.5 * fits.sum(1)
    rest = np.where(others, support, 0)
    second = int(rest.argmax())
    return [first, second] if rest[second] > 0.5 * support[first] else [first]


def _mapping(
    query_points: Doubles,
    reference_points: Doubles,
    chosen: Numbers,
    scale: float,
) -> tuple[Matrix, Numbers] | None:
    """The homography of the chosen pairs (an affine mapping if there are few or no homography fits), and the
    pairs that agree with it; None if fewer than MIN_PAIRS agree."""
    if len(chosen) < MIN_PAIRS:
        return None
    radius = HOMOGRAPHY_TOLERANCE_PIXELS * scale
    points = np.asarray(reference_points[chosen], np.float64)
    matrix = _homography(query_points[chosen], points, radius) if len(chosen) >= 8 else None
    if matrix is None:
        affine, _ = cv2.estimateAffine2D(
            reference_points[chosen],
            query_points[chosen],
            method=cv2.RANSAC,
            ransacReprojThreshold=radius,
            maxIters=500,
        )
        if affine is None:
            return None
        matrix = np.asarray(np.vstack([affine, (0.0, 0.0, 1.0)]), np.float64)
        if not plausible(matrix, points):
            return None
    mapped = cv2.perspectiveTransform(reference_points[chosen][None], matrix)[0]
    inliers = chosen[np.linalg.norm(mapped - query_points[chosen], axis=1) < 2 * radius]
    return (matrix, inliers) if len(inliers) >= MIN_PAIRS else None


def _homography(query_points: Doubles, reference_points: Doubles, radius: float) -> Matrix | None:
    cv2.setRNGSeed(1)  # the same photograph must always give the same result
    matrix, _ = cv2.findHomography(
        reference_points, query_points, cv2.USAC_MAGSAC, radius, maxIters=500, confidence=0.999
    )
    if matrix is None:
        return None
    found = np.asarray(matrix, np.float64)
    return found if plausible(found, reference_points) else None


def _one_to_one(q: Numbers, r: Numbers, cosines: Floats, chosen: Numbers) -> Numbers:
    """The chosen pairs, most similar first, reduced so that each feature is in one pair only."""
    order = chosen[np.argsort(-cosines[chosen], kind="stable")]
    for side in (q, r):
        _, first = np.unique(side[order], return_index=True)
        order = order[np.sort(first)]
    return order
