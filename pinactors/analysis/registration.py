"""Registration: the homography that lays one picture's pin on another's."""

from __future__ import annotations

from pinactors.analysis import features, matching
from pinactors.analysis.model import Cutout, Image, Match, Matrix, PreparedView, Reference
from pinactors.protocol import View


def register(crop: Image, mask: Image, reference: Reference) -> Matrix | None:
    """Crop pixels to the reference's crop pixels (3x3); None when the two do not show the same thing."""
    verified = matching.verify(
        features.local_features(crop, mask), features.local_features(reference.rgb, reference.mask)
    )
    if verified.homography is None or verified.inliers < matching.MIN_INLIERS:
        return None
    return verified.homography


def back_to_reference(match: Match, back: PreparedView | None) -> Matrix | None:
    """Back crop pixels to those of the claimed pin's catalogue back: as the match holds it, else computed; None
    when no pin is claimed, one of the two is missing, or they do not fit."""
    if not match.identified or back is None or back.pin is None:
        return None
    known = match.candidates[0].back_to_reference
    reference = match.references.get(View.BACK)
    if known is not None or reference is None:
        return known
    return register_back(back.pin, reference)


def register_back(back: Cutout, reference: Reference) -> Matrix | None:
    """Like `register`, for backs."""
    return register(back.rgb, back.crop_mask, reference)
