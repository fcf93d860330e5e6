"""Scores how much a proposed region looks like a pin: measures and their fitted weighted sum."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_image, on_frame
from pinactors.analysis.model import Doubles, Floats, Image
from pinactors.analysis.segmentation.proposals import HISTOGRAM_BINS, Scene, disk

COVERING_OVERLAP = 0.8
"""Intersection over union from which a region counts as covering the pin."""

RIM_DEPTH_PIXELS, RIM_POINTS = 1.5, 72
"""Distance inside the outline, in pixels, and number of points at which the rim's tint is sampled."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of a region and its outline. Each has a reason that holds for real pins.

    `weakest_edge`: log of the outline's 10th percentile gradient over the surroundings' texture (their 90th
    percentile): a pin's rim is an edge all round. `gaps`: share of the outline no stronger than that texture.
    `focus`: log ratio of fine to coarse gradient along the outline over that of the surroundings: the camera
    was focused on the pin. `contrast`: histogram difference (chi-squared, 0 to 1) between just inside and
    just outside; `difference`: between all inside and all outside; `halo`: between just outside and the rest,
    large if part of the object was left out. `left_out`: log of the area outside with colours that the
    background does not have, over the area inside; `left_edges`: the same for edges that a plain background
    does not have, times its plainness. `roughness`: perimeter over the hull's; `rim`: log of 1 + spread (75th
    percentile of the distance of a* and b* from their median) of the colours just inside the outline: a pin's
    rim is one metal all round, so its lightness varies but its tint does not; other objects and parts of the
    enamel have several tints. `solidity`: area over the hull's; `size_odd`: squared log ratio of the area to
    a fifth of the picture; `off_centre`: squared distance from the middle; `on_border`: share of the outline
    on the picture's frame.
    """

    weakest_edge: float
    gaps: float
    focus: float
    contrast: float
    difference: float
    halo: float
    left_out: float
    left_edges: float
    roughness: float
    rim: float
    solidity: float
    size_odd: float
    off_centre: float
    on_border: float

    def vector(self) -> Doubles:
        return np.array([getattr(self, name) for name in NAMES])


NAMES = tuple(entry.name for entry in fields(Measures))

CONFIDENCE_NAMES = (*NAMES, "agreement", "support")
"""Inputs of the confidence in a cut: its measures, its overlap with its proposal, and the share of the
evidence that agrees with that proposal."""

SIGNS = {
    "weakest_edge": 1,
    "gaps": -1,
    "focus": 1,
    "contrast": 1,
    "difference": 1,
    "halo": -1,
    "left_out": -1,
    "left_edges": -1,
    "roughness": -1,
    "rim": -1,
    "solidity": 1,
    "size_odd": -1,
    "off_centre": -1,
    "on_border": -1,
    "agreement": 1,
    "support": 1,
}
"""The sign that each coefficient must have by the measure's reason; a fit must not reverse it."""


def measure(mask: Image, scene: Scene) -> Measures | None:
    """Measures of a filled region (0 or 1, at the scene's size); None if it is too small or fills the whole
    picture.

    The outline is measured at full size, regions are compared on every second pixel.
    """
    height, width = mask.shape
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    contour = max(contours, key=cv2.contourArea)
    framed = on_frame(contour[:, 0], width, height)
    xs, ys = contour[~framed, 0].T
    half = np.ascontiguousarray(mask[::2, ::2])
    outside = cv2.dilate(half, disk(2)) == 0
    around = as_image(cv2.dilate(half, disk(4))) != cv2.dilate(half, disk(1))
    within = half != cv2.erode(half, disk(3), borderValue=0)
    if len(xs) < 15 or np.count_nonzero(outside) < 30 or not around.any():
        return None
    edge = np.sort(scene.ridge[ys, xs])
    coarse = scene.coarse
    elsewhere = np.flatnonzero(outside)
    texture = coarse.edges.take(elsewhere)
    level = float(np.partition(texture, int(0.9 * (len(texture) - 1)))[int(0.9 * (len(texture) - 1))]) + 0.4
    rest = _histogram(coarse.bins.take(elsewhere))
    beside = _histogram(coarse.bins[around])
    moments = cv2.moments(contour)
    area = moments["m00"] + 1.0
    centre_x, centre_y = moments["m10"] / area, moments["m01"] / area
    hull = cv2.convexHull(contour)
    focus = _focus(scene.fine[ys, xs], edge) - _focus(coarse.fine.take(elsewhere), texture)
    return Measures(
        weakest_edge=math.log((float(edge[len(edge) // 10]) + 0.05) / level),
        gaps=float((edge < level).mean()),
        focus=focus,
        contrast=_chi_squared(_histogram(coarse.bins[within]), beside),
        difference=_chi_squared(_histogram(coarse.bins[half > 0]), rest),
        halo=_chi_squared(beside, rest),
        left_out=math.log(0.02 + 4 * np.count_nonzero(coarse.object_colours & outside) / area),
        left_edges=scene.plainness
        * math.log(0.01 + 4 * np.count_nonzero(coarse.strong_edges & outside) / area),
        roughness=cv2.arcLength(contour, True) / cv2.arcLength(hull, True),
        rim=math.log(1 + _rim_spread(contour[:, 0], scene)),
        solidity=area / (cv2.contourArea(hull) + 1.0),
        size_odd=math.log(5 * area / mask.size) ** 2,
        off_centre=((centre_x - width / 2) / width) ** 2 + ((centre_y - height / 2) / height) ** 2,
        on_border=float(framed.mean()),
    )


def _rim_spread(outline: npt.NDArray[Any], scene: Scene) -> float:
    """75th percentile of the distance from their median of the tints `RIM_DEPTH_PIXELS` pixels inside an
    outline (as `findContours` gives it)."""
    at = np.arange(RIM_POINTS) * len(outline) // RIM_POINTS
    along = (outline[(at + 4) % len(outline)] - outline[at - 4]).astype(np.float64)
    inward = np.column_stack([along[:, 1], -along[:, 0]])
    inward *= RIM_DEPTH_PIXELS / np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-6)
    xs, ys = np.rint(outline[at] + inward).astype(np.intp).T
    height, width = scene.edges.shape
    kept = (xs > 1) & (ys > 1) & (xs < width - 2) & (ys < height - 2)
    count = np.count_nonzero(kept)
    if count < RIM_POINTS // 8:
        return 0.0
    tints = scene.lab[ys[kept], xs[kept], 1:]
    offsets = tints - np.sort(tints, axis=0)[count // 2]
    return float(np.sort(np.hypot(offsets[:, 0], offsets[:, 1]))[3 * count // 4])


def _focus(fine: Floats, coarse: Floats) -> float:
    return math.log((float(fine.sum()) + 1.0) / (float(coarse.sum()) + 1.0))


def _histogram(bins: npt.NDArray[np.intp]) -> Doubles:
    return np.bincount(bins, minlength=math.prod(HISTOGRAM_BINS)) / max(1, len(bins))


def _chi_squared(first: Doubles, second: Doubles) -> float:
    return 0.5 * float(((first - second) ** 2 / (first + second + 1e-12)).sum())


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The natural log odds that a unit of each measure adds: `region` (`NAMES`) for comparing the regions of
    one picture, `cut` (intercept, then `CONFIDENCE_NAMES`) for comparing the cuts of different pictures."""

    region: Doubles
    cut: Doubles

    def probability(self, cut: Doubles) -> float:
        """The probability that a cut with these values (`CONFIDENCE_NAMES`) covers the pin (overlap of at
        least `COVERING_OVERLAP`)."""
        return 1 / (1 + math.exp(-float(self.cut[0] + cut @ self.cut[1:])))


@cache
def shipped() -> Coefficients:
    """The coefficients in `score.json`, which says what they were fitted to; `pinactors calibrate-cutouts`
    writes such a file."""
    model = json.loads(Path(__file__).with_name("score.json").read_text("utf-8"))
    return Coefficients(
        np.array([model["region"][name] for name in NAMES]),
        np.array([model["cut"][name] for name in ("intercept", *CONFIDENCE_NAMES)]),
    )


def score(measures: Measures) -> float:
    """Log odds that the region is the pin; only differences between regions of one picture are meaningful."""
    return float(measures.vector() @ shipped().region)


def confidence(measures: Measures, agreement: float, support: float) -> float:
    """Probability that a cut covers the pin, from the values in `CONFIDENCE_NAMES`."""
    return shipped().probability(np.array([*measures.vector(), agreement, support]))
