"""Other ways a photograph's pin could have been cut out, for when the catalogue knows nothing like the
first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_image, crop_transform, largest_outline, warp_crop
from pinactors.analysis.imaging.portrait import SIDE, Portrait, scaling
from pinactors.analysis.model import CROP_SIDE, Matrix, PreparedView


@dataclass(frozen=True, slots=True)
class Alternative:
    """`to_crop` maps working pixels to the pixels of this alternative's own crop."""

    portrait: Portrait
    to_crop: Matrix


def alternatives(view: PreparedView) -> list[Alternative]:
    """Portraits of the view's proposals, unrefined, best first."""
    if view.proposals is None:
        return []
    masks = view.proposals.masks
    height, width = masks[0].shape
    size = width * 2, height * 2
    reduction = np.diag([width / view.rgb.shape[1], height / view.rgb.shape[0], 1.0])
    middle = cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA)
    found = []
    for proposal in masks:
        mask = cv2.resize(proposal * 255, size, interpolation=cv2.INTER_LINEAR)
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
