"""The pin cut out of its background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.geometry import as_image, largest_outline
from pinactors.analysis.model import Image, Points

_SIDE = 256


@dataclass(frozen=True, slots=True)
class Segmentation:
    """`mask` (height, width) 0 or 255 and `outline` in the picture's pixels; None with a `problem` when no
    pin was found. `others`: further pin-like objects in the picture."""

    mask: Image | None
    outline: Points
    confidence: float
    cut_off: bool
    problem: str = ""
    others: int = 0


def segment(rgb: Image) -> Segmentation:
    """Finds the pin."""
    height, width = rgb.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = as_image(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (5, 5), 1.2), cv2.COLOR_RGB2LAB).astype(np.float32)
    border = np.zeros(small.shape[:2], bool)
    ring = max(2, round(0.04 * min(size)))
    border[:ring] = border[-ring:] = True
    border[:, :ring] = border[:, -ring:] = True
    samples = lab[border]
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.5)
    _, labels, _ = cv2.kmeans(samples, 4, np.empty(0, np.int32), criteria, 1, cv2.KMEANS_PP_CENTERS)
    distance = np.full(small.shape[:2], np.inf, np.float32)
    for cluster in range(4):
        members = samples[labels.ravel() == cluster]
        if len(members) < 0.03 * len(samples):
            continue
        centre = members.mean(axis=0)
        inverse = np.linalg.inv(np.cov(members.T) + np.eye(3) * 12.0)
        offset = lab - centre
        distance = np.minimum(distance, np.sqrt(np.einsum("hwi,ij,hwj->hw", offset, inverse, offset)))
    clipped = np.clip(distance * 20, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(clipped, 0, 255, cv2.THRESH_OTSU)
    seed = (clipped > max(level, 50)).astype(np.uint8)
    closed = cv2.morphologyEx(seed, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    seed = _main_region(as_image(cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))))
    share = float(seed.mean())
    if share < 0.01 or share > 0.95:
        return Segmentation(
            None, np.zeros((0, 2), np.float32), 0.0, False, "No pin stands out from its background."
        )
    labels2 = np.where(seed > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels2[border & (seed == 0)] = cv2.GC_BGD
    labels2[cv2.erode(seed, np.ones((15, 15), np.uint8)) > 0] = cv2.GC_FGD
    try:
        cv2.grabCut(
            small, labels2, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:
        labels2 = np.where(seed > 0, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    found = _main_region(((labels2 == cv2.GC_FGD) | (labels2 == cv2.GC_PR_FGD)).astype(np.uint8))
    if found.mean() < 0.01:
        return Segmentation(
            None, np.zeros((0, 2), np.float32), 0.0, False, "No pin stands out from its background."
        )
    soft = cv2.resize(found * 255, (width, height), interpolation=cv2.INTER_CUBIC)
    mask = np.where(soft >= 128, 255, 0).astype(np.uint8)
    outline = largest_outline(mask)
    touching = float(((outline <= 1) | (outline >= np.array([width, height]) - 2)).any(axis=1).mean())
    agreement = float((found & seed).sum() / max(1, (found | seed).sum()))
    return Segmentation(mask, outline, agreement, touching > 0.06)


def _main_region(mask: Image) -> Image:
    """The region that is large and central, its holes filled."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count < 2:
        return np.zeros_like(mask)
    size = np.array(mask.shape[::-1])
    off = np.linalg.norm((centres[1:] - size / 2) / size, axis=1)
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA] * np.exp(-3 * off**2)))
    region = (labels == best).astype(np.uint8)
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED).astype(np.uint8, copy=False)
