"""Compares a registered candidate with the photograph inside the candidate's own outline.

Only evidence that is specific to the pin counts. Features that other pins of the catalogue share (print of a
backing card, a watermark, the frame of a series) have a low weight, matching features must be spread over the
whole pin, and patches, lines and colours of the whole picture must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.colorimetry import lab_of_srgb
from pinactors.analysis.imaging.geometry import as_floats, as_image, at_side, resized, scaling
from pinactors.analysis.imaging.portrait import COARSE_SIDE, Portrait
from pinactors.analysis.matching import likeness, verification
from pinactors.analysis.matching.alignment import Template
from pinactors.analysis.matching.keypoints import Features
from pinactors.analysis.matching.likeness import Likeness
from pinactors.analysis.matching.verification import Registration
from pinactors.analysis.model import CROP_SIDE, Doubles, Flags, Floats, Image, Matrix, Reference

CELLS_A_SIDE = 8
"""Number of cells in each direction of the pin's box, in which found features are counted."""
MAX_CELL_WEIGHT = 3.0
"""Upper bound of the weight of a cell's features, so that a detailed corner does not dominate."""

PICTURE_SIDE = 256
PATCH_PIXELS, SEARCH_PIXELS, PATCH_STEP_PIXELS = 24, 4, 16
"""Patches that are compared, in pixels of a PICTURE_SIDE square: their side, the search distance around their
position, and the distance between patches."""
MIN_PATCH_DEVIATION = 5.0
"""Least standard deviation (Lab units) of a patch that is compared."""
FOUND_CORRELATION = 0.6
"""Correlation above which a patch counts as found."""
ALIGNMENT_STEPS = 8
"""Iterations of the alignment before lines and colours are compared."""


@dataclass(frozen=True)  # no slots: cached properties need a __dict__
class CandidateFront:
    """The catalogue's data on one pin's front: `features` in crop pixels, their `weights` (0 to 1) by how
    distinctive they are in the catalogue, `outlined` whether its outline is known (else its mask is the
    middle of the picture), and `load`, which reads its picture and returns None if the picture is gone."""

    number: int
    features: Features
    weights: Floats
    outlined: bool
    load: Callable[[], Reference | None]

    @cached_property
    def reference(self) -> Reference:
        """The catalogue picture. Raises `LookupError` if it is gone."""
        reference = self.load()
        if reference is None:
            raise LookupError(f"the picture of pin {self.number} is gone")
        return reference

    @cached_property
    def portrait(self) -> Portrait:
        return Portrait.of(self.reference.rgb, self.reference.mask)

    @cached_property
    def outline(self) -> Doubles:
        """The outline of the picture's mask (n, 2) in crop pixels."""
        contours, _ = cv2.findContours(self.reference.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        longest = max(contours, key=cv2.contourArea, default=np.zeros((0, 1, 2), np.int32))
        return np.asarray(longest.reshape(-1, 2), np.float64)


@dataclass(frozen=True, slots=True)
class CandidateAgreement:
    """How well a photograph agrees with a candidate that was registered on it.

    `weight`: sum over the found features, each weighted by its distinctiveness and similarity; `covered`:
    share (0 to 1) of the pin's visible cells with found features, each cell weighted by its distinctive
    features. `patches`: share of textured patches found, `patch_mean`: mean of their correlation. `likeness`:
    agreement of lines and colours, None if too little is visible.
    """

    weight: float
    covered: float
    patches: float
    patch_mean: float
    likeness: Likeness | None


@dataclass(frozen=True, slots=True)
class CandidateComparison:
    """The result of `compare`: `registration` completed inside the outline, `portrait` of the photograph
    warped to the candidate's crop, and `to_portrait`, the alignment that maps the candidate's crop pixels to
    the portrait's crop pixels."""

    registration: Registration
    agreement: CandidateAgreement
    portrait: Portrait
    to_portrait: Matrix


def compare(
    rgb: Image, query: Features, candidate: CandidateFront, found: Registration
) -> CandidateComparison:
    """Compares the photograph `rgb`, which must be in the pixels of `query`, with a registered candidate."""
    found = verification.complete(query, candidate.features, found)
    small, seen = _warped(rgb, found.to_photo)
    mask = np.minimum(cv2.resize(candidate.reference.mask, (PICTURE_SIDE, PICTURE_SIDE)), seen)
    picture = resized(candidate.reference.rgb, (PICTURE_SIDE, PICTURE_SIDE))
    patches, patch_mean = _patches(small, picture, mask)
    portrait = Portrait.of(small, mask)
    template = Template(candidate.portrait.planes, candidate.portrait.coarse[1])
    aligned, _ = template.refine(portrait.planes, np.eye(3), ALIGNMENT_STEPS)
    to_portrait = at_side(aligned, COARSE_SIDE, CROP_SIDE)
    weights, chosen = candidate.weights, found.reference
    visible = _visible(candidate.features.points, found.to_photo, rgb.shape)
    agreement = CandidateAgreement(
        weight=float((weights[chosen] * np.square(found.cosines - 0.4)).sum() / 0.09),
        covered=_covered(candidate, chosen, visible),
        patches=patches,
        patch_mean=patch_mean,
        likeness=likeness.compare(portrait, candidate.portrait, to_portrait),
    )
    return CandidateComparison(found, agreement, portrait, to_portrait)


def _warped(rgb: Image, to_photo: Matrix) -> tuple[Image, Image]:
    """The photograph warped to the candidate's crop at PICTURE_SIDE, and a mask (0 or 255) of the pixels that
    the photograph covers."""
    matrix = scaling(CROP_SIDE, PICTURE_SIDE) @ np.linalg.inv(to_photo)
    middle = np.array([(CROP_SIDE - 1) / 2, (CROP_SIDE - 1) / 2])
    reduction = PICTURE_SIDE / CROP_SIDE / verification.scale_and_rotation(to_photo, middle)[0]
    if reduction < 0.7:  # sampling alone would alias
        height, width = rgb.shape[:2]
        size = max(8, round(width * reduction)), max(8, round(height * reduction))
        rgb = resized(rgb, size)
        matrix = matrix @ np.diag([width / size[0], height / size[1], 1.0])
    square = (PICTURE_SIDE, PICTURE_SIDE)
    warped = cv2.warpPerspective(rgb, matrix, square, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    whole = np.full(rgb.shape[:2], 255, np.uint8)
    seen = cv2.warpPerspective(whole, matrix, square, flags=cv2.INTER_NEAREST)
    return as_image(warped), as_image(seen)


def _visible(points: Floats, to_photo: Matrix, shape: tuple[int, ...]) -> Flags:
    photo_points = cv2.perspectiveTransform(points[None].astype(np.float64), to_photo)[0]
    return np.asarray(((photo_points >= 0) & (photo_points < (shape[1], shape[0]))).all(1))


def _covered(candidate: CandidateFront, chosen: npt.NDArray[np.intp], visible: Flags) -> float:
    points, weights = candidate.features.points, candidate.weights
    low, high = candidate.outline.min(0), candidate.outline.max(0)
    at = np.clip(((points - low) / np.maximum(high - low, 1) * CELLS_A_SIDE).astype(int), 0, CELLS_A_SIDE - 1)
    cell = at[:, 1] * CELLS_A_SIDE + at[:, 0]
    cell_weights = np.minimum(np.bincount(cell[visible], weights[visible], CELLS_A_SIDE**2), MAX_CELL_WEIGHT)
    found_cells = np.bincount(cell[chosen], weights[chosen], CELLS_A_SIDE**2) > 0.25
    return float((cell_weights * found_cells).sum() / max(float(cell_weights.sum()), 1e-6))


def _patches(photo: Image, picture: Image, mask: Image) -> tuple[float, float]:
    """Share of textured patches found near their position, and mean of their correlations, each on the axis
    of L*a*b* that agrees best. Both are 0 if there are no textured patches."""
    photo_planes, picture_planes = _planes(photo), _planes(picture)
    starts = np.arange(SEARCH_PIXELS, PICTURE_SIDE - PATCH_PIXELS - SEARCH_PIXELS + 1, PATCH_STEP_PIXELS)
    inside = _sums(cv2.integral((mask > 127).astype(np.uint8)), starts) >= 0.7 * PATCH_PIXELS * PATCH_PIXELS
    textured = np.stack([_deviation(plane, starts) >= MIN_PATCH_DEVIATION for plane in picture_planes])
    best = []
    for row, column in np.argwhere(inside & textured.any(0)):
        y, x = starts[row], starts[column]
        values = []
        for axis in np.flatnonzero(textured[:, row, column]):
            patch = picture_planes[axis][y : y + PATCH_PIXELS, x : x + PATCH_PIXELS]
            around = photo_planes[axis][
                y - SEARCH_PIXELS : y + PATCH_PIXELS + SEARCH_PIXELS,
                x - SEARCH_PIXELS : x + PATCH_PIXELS + SEARCH_PIXELS,
            ]
            values.append(float(cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED).max()))
        best.append(max(values))
    if not best:
        return 0.0, 0.0
    found = np.array(best)
    return float((found > FOUND_CORRELATION).mean()), float(found.mean())


def _sums(integral: npt.NDArray[Any], starts: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """The sum over each patch (rows, columns), from the integral of a picture. The patches begin at all
    combinations of `starts`."""
    ends = starts + PATCH_PIXELS
    return np.asarray(
        integral[np.ix_(ends, ends)]
        - integral[np.ix_(starts, ends)]
        - integral[np.ix_(ends, starts)]
        + integral[np.ix_(starts, starts)]
    )


def _deviation(plane: Floats, starts: npt.NDArray[np.intp]) -> Doubles:
    """The standard deviation of each patch (rows, columns)."""
    mean, square = (_sums(integral, starts) / PATCH_PIXELS**2 for integral in cv2.integral2(plane))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float64)


def _planes(rgb: Image) -> list[Floats]:
    return [as_floats(plane) for plane in cv2.split(lab_of_srgb(rgb))]
