"""Moves outlines by a graph cut to where the colours on both sides differ most (GrabCut, Rother et al. 2004).

`recut` makes new proposals from rough ones, at half size and in a wide band; `refine` finishes the chosen
one.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_image, resized, window_of
from pinactors.analysis.model import Image
from pinactors.analysis.segmentation.proposals import Proposal, Scene, add_regions, disk

SURE_OBJECT_DEVIATIONS = 6.0
"""Standard deviations from every background colour above which a pixel of a proposal stays in the object."""

BAND_HALF_WIDTH = 0.15
"""Half width of the band in which an outline is cut again, over the square root of the area."""


def recut(scene: Scene, proposal: Proposal) -> Image | None:
    """The region (0 or 1, at the scene's size) of the best cut near a proposal's outline; None if there is
    none. The colour models are learnt next to the outline, which separates objects that no model of the whole
    background can. Half the size is sufficient for a proposal and costs a quarter."""
    height, width = proposal.mask.shape
    size = max(1, width // 2), max(1, height // 2)
    rgb, mask = resized(scene.rgb, size), resized(proposal.mask * 255, size) // 128
    band = int(np.clip(round(BAND_HALF_WIDTH * math.sqrt(proposal.area / 4)), 3, 10))
    window = window_of(mask, 2 * band + 2)
    labels = _labels(mask[window], band)
    segmented = np.zeros_like(mask)
    segmented[window] = _grab_cut(rgb[window], labels)
    enlarged = cv2.resize(segmented * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    return _largest(as_image(enlarged) // 128)


def refine(scene: Scene, proposal: Proposal, shadow: Image | None) -> Image:
    """The proposal after GrabCut in a narrow band around its outline. Pixels inside the outline whose colour
    is clearly not the background's are fixed as object: otherwise a silver rim on white would become
    background, because its colour is nearer to white than to the enamel."""
    mask = proposal.mask
    band = int(np.clip(round(0.06 * math.sqrt(proposal.area)), 3, 8))
    window = window_of(mask, 3 * band)
    inside = mask[window]
    labels = _labels(inside, band)
    labels[(inside > 0) & (scene.deviations[window] > SURE_OBJECT_DEVIATIONS)] = cv2.GC_FGD
    if shadow is not None:
        labels[shadow[window] > 0] = cv2.GC_BGD
    # The outline stays as proposed at the picture's edge: there are no pixels beyond it to limit the cut.
    frame = np.zeros(mask.shape, bool)
    frame[:2] = frame[-2:] = frame[:, :2] = frame[:, -2:] = True
    labels[frame[window] & (inside == 0)] = cv2.GC_BGD
    segmented = np.zeros_like(mask)
    segmented[window] = _grab_cut(scene.rgb[window], labels)
    found = _largest(segmented)
    return mask if found is None else found


def _labels(inside: Image, band: int) -> Image:
    labels = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(inside, disk(band)) > 0] = cv2.GC_PR_BGD
    labels[inside > 0] = cv2.GC_PR_FGD
    labels[cv2.erode(inside, disk(band), borderValue=1) > 0] = cv2.GC_FGD
    return labels


def _grab_cut(rgb: Image, labels: Image) -> Image:
    """Foreground (1), sure or probable, after one iteration of GrabCut (more gave no gain); empty if no sure
    foreground or no sure background is labelled."""
    if not ((labels == cv2.GC_BGD).any() and (labels == cv2.GC_FGD).any()):
        return np.zeros_like(labels)
    cv2.setRNGSeed(1)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(rgb), labels, (0, 0, 1, 1), *models, 1, cv2.GC_INIT_WITH_MASK)
    return as_image(labels & 1)


def _largest(mask: Image) -> Image | None:
    regions: list[Proposal] = []
    add_regions(as_image(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disk(1))), "cut", regions, keep=1)
    return regions[0].mask if regions else None
