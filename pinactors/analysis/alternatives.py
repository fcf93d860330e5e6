"""Other ways a photograph's pin could have been cut out, for when the catalogue knows nothing like the
first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis import proposals, segmentation
from pinactors.analysis.geometry import as_image, crop_transform, largest_outline, warp_crop
from pinactors.analysis.model import CROP_SIDE, Image, Matrix
from pinactors.analysis.portrait import SIDE, Portrait, scaling


@dataclass(frozen=True, slots=True)
class Alternative:
    """`to_crop` maps working pixels to the pixels of this alternative's own crop."""

    portrait: Portrait
    to_crop: Matrix


def alternatives(rgb: Image, limit: int) -> list[Alternative]:
    """Portraits of the `limit` best proposals of the working picture, unrefined, best first."""
    scale = min(1.0, proposals.SIDE / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    small = as_image(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
    if min(small.shape[:2]) < 16:
        return []
    reduction = np.diag([size[0] / rgb.shape[1], size[1] / rgb.shape[0], 1.0])
    middle = cv2.resize(rgb, (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_AREA)
    found = []
    for ranked in segmentation.rank(proposals.look(small))[:limit]:
        mask = cv2.resize(
            ranked.proposal.mask * 255, (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_LINEAR
        )
        mask = as_image(np.where(mask > 127, 255, 0))
        outline = largest_outline(mask)
        if len(outline) < 8:
            continue
        to_crop = crop_transform(outline)
        # Twice a portrait's side is all that it keeps anything of.
        crop, crop_mask = warp_crop(as_image(middle), mask, scaling(CROP_SIDE, 2 * SIDE) @ to_crop, 2 * SIDE)
        found.append(
            Alternative(Portrait.of(crop, crop_mask), to_crop @ np.diag([2.0, 2.0, 1.0]) @ reduction)
        )
    return found
