"""Conditions for evidence to count: the photographs differ, show the same pin, and are not blown out."""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.analysis.imaging import quality
from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.model import Doubles, Image, PreparedView

SAME_PICTURE_DIFFERENCE = 4.0
"""Mean difference of grey levels, at 32 x 32 pixels of the pin's box, below which two photographs are the
same picture. JPEG keeps the colours of a small pin less well than its grey levels."""

MIRRORED_OUTLINE_OVERLAP = 0.85
"""Least intersection over union of the mirrored front outline and the back outline of one pin."""

_SIDE = 96
_ROTATIONS = 120


def same_picture(first: PreparedView, second: PreparedView) -> bool:
    """True if two photographs are the same file, or the same picture compressed or scaled again.

    They are compared where either shows its pin, because of a small pin in a plain picture most is
    background. If no pin was found in either, the whole pictures are compared."""
    if first.sha256 and first.sha256 == second.sha256:
        return True
    ratios = [view.width / max(view.height, 1) for view in (first, second)]
    if abs(np.log(ratios[0] / ratios[1])) > 0.03:
        return False
    height, width = min(first.rgb.shape[:2], second.rgb.shape[:2])
    pictures = [
        cv2.resize(view.rgb, (width, height), interpolation=cv2.INTER_AREA) for view in (first, second)
    ]
    boxes = [_box(view, width, height) for view in (first, second) if view.pin is not None]
    for box in boxes or [(slice(None), slice(None))]:
        small = [
            cv2.cvtColor(cv2.resize(picture[box], (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
            for picture in pictures
        ]
        if cv2.absdiff(small[0], small[1]).mean() >= SAME_PICTURE_DIFFERENCE:
            return False
    return True


def _box(view: PreparedView, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the pin's box in the picture scaled to `width` and `height`."""
    assert view.pin is not None
    across, down = width / view.rgb.shape[1], height / view.rgb.shape[0]
    x, y, w, h = cv2.boundingRect(view.pin.mask)
    left, top = int(x * across), int(y * down)
    return slice(top, top + max(1, round(h * down))), slice(left, left + max(1, round(w * across)))


def has_glare(view: PreparedView) -> bool:
    return view.quality.clipped > quality.CLIPPED_SHARE


def mirror_overlap(front: PreparedView, back: PreparedView) -> float | None:
    """Intersection over union (0 to 1) of the mirrored front outline and the back outline, over all rotations
    and independent of the (affine) views of both photographs. None if an outline is missing or cut off."""
    if front.pin is None or back.pin is None or front.pin.cut_off or back.pin.cut_off:
        return None
    mirrored = _unit(np.ascontiguousarray(front.pin.crop_mask[:, ::-1]))
    target = _unit(back.pin.crop_mask) > 127
    best = 0.0
    middle = (_SIDE - 1) / 2
    for step in range(_ROTATIONS):
        rotation = cv2.getRotationMatrix2D((middle, middle), 360 * step / _ROTATIONS, 1.0)
        rotated = cv2.warpAffine(mirrored, rotation, (_SIDE, _SIDE)) > 127
        both, either = int(np.count_nonzero(rotated & target)), int(np.count_nonzero(rotated | target))
        best = max(best, both / max(either, 1))
    return best


def whitening(mask: Image) -> Doubles:
    """The affine map (3x3) that gives a silhouette zero mean and unit covariance. After it, two affine views
    of a silhouette differ only by a rotation."""
    moments = cv2.moments(mask, binaryImage=True)
    area = max(moments["m00"], 1.0)
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area
    values, vectors = np.linalg.eigh(covariance + np.eye(2))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    matrix = np.eye(3)
    matrix[:2, :2] = root
    matrix[:2, 2] = -root @ np.array([moments["m10"], moments["m01"]]) / area
    return matrix


def _unit(mask: Image) -> Image:
    """The whitened silhouette as a picture that extends three standard deviations to each side."""
    scale = _SIDE / 6
    middle = (_SIDE - 1) / 2
    placed = np.array([[scale, 0, middle], [0, scale, middle], [0, 0, 1]]) @ whitening(mask)
    return as_image(cv2.warpAffine(mask, placed[:2], (_SIDE, _SIDE), flags=cv2.INTER_LINEAR))
