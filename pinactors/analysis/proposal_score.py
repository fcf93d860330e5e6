"""How much a proposed region looks like a pin cut out of its background: measures and their fitted sum."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.model import Image
from pinactors.analysis.proposals import BINS, Floats, Scene, disk


@dataclass(frozen=True, slots=True)
class Measures:
    """What can be said of a region and its outline. Each has a reason that holds for real pins:

    `weakest_edge`: log of the outline's 10th percentile gradient over the surroundings' texture (their 90th):
    a pin's rim is an edge all round. `gaps`: share of the outline no stronger than that texture. `focus`: log
    ratio of fine to coarse gradient along the outline over that of the surroundings: the pin is what was
    focused on. `contrast`: histogram difference (chi-squared, 0 to 1) of just inside against just outside;
    `difference`: of all inside against all outside; `halo`: of just outside against the rest, large where
    part of the object was left out. `left_out`: log of strange area outside over area inside; `left_edges`:
    the same of edges that a plain background does not have, times its plainness. `roughness`:
    perimeter over the hull's; `solidity`: area over the hull's; `size_odd`: squared log ratio of the area to
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
    solidity: float
    size_odd: float
    off_centre: float
    on_border: float

    def vector(self) -> npt.NDArray[np.float64]:
        return np.array([getattr(self, name) for name in _NAMES])


_NAMES = tuple(entry.name for entry in fields(Measures))


def measure(mask: Image, scene: Scene) -> Measures | None:
    """Measures of a filled region (0 or 1, at the scene's size); None when it is too small or fills
    everything.

    The outline is followed at full size, regions are compared on every second pixel.
    """
    height, width = mask.shape
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    contour = max(contours, key=cv2.contourArea)
    xs, ys = contour[:, 0, 0], contour[:, 0, 1]
    framed = (xs <= 1) | (ys <= 1) | (xs >= width - 2) | (ys >= height - 2)
    xs, ys = xs[~framed], ys[~framed]
    half = np.ascontiguousarray(mask[::2, ::2])
    outside = cv2.dilate(half, disk(2)) == 0
    around = (cv2.dilate(half, disk(4)) > 0) & (cv2.dilate(half, disk(1)) == 0)
    within = (half > 0) & (cv2.erode(half, disk(3), borderValue=0) == 0)
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
        left_out=math.log(0.02 + 4 * np.count_nonzero(coarse.odd & outside) / area),
        left_edges=scene.plain * math.log(0.01 + 4 * np.count_nonzero(coarse.foreign & outside) / area),
        roughness=cv2.arcLength(contour, True) / cv2.arcLength(hull, True),
        solidity=area / (cv2.contourArea(hull) + 1.0),
        size_odd=math.log(5 * area / mask.size) ** 2,
        off_centre=((centre_x - width / 2) / width) ** 2 + ((centre_y - height / 2) / height) ** 2,
        on_border=float(framed.mean()),
    )


def _focus(fine: Floats, coarse: Floats) -> float:
    return math.log((float(fine.sum()) + 1.0) / (float(coarse.sum()) + 1.0))


def _histogram(bins: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    return np.bincount(bins, minlength=math.prod(BINS)) / max(1, len(bins))


def _chi_squared(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return 0.5 * float(((one - other) ** 2 / (one + other + 1e-12)).sum())


# Fitted (logistic and list-wise, L2, each sign held to what its reason says) to half of a labelled set of
# simulated photographs and to drawn pins and catalogue pictures laid on photographs of other things; weights
# fitted to either source alone choose as well on the other. `left_edges` was added with the rest held, for
# pale pins in shop pictures: it says nothing on textured surfaces.
_WEIGHTS = Measures(
    weakest_edge=0.51,
    gaps=-1.1,
    focus=0.77,
    contrast=2.0,
    difference=4.4,
    halo=-6.0,
    left_out=-0.39,
    left_edges=-0.6,
    roughness=-2.5,
    solidity=3.8,
    size_odd=-0.83,
    off_centre=-7.9,
    on_border=-6.5,
)
_SCALE = _WEIGHTS.vector()
_INTERCEPT = -4.5

# The same photographs, with blank surfaces and other things as counter-examples: score of the refined cut,
# its overlap with the proposal, and the support by other cues.
_CONFIDENCE = (0.96, 3.2, 2.1)
_CONFIDENCE_INTERCEPT = -4.4


def score(measures: Measures) -> float:
    """Log odds that the region is the pin."""
    return _INTERCEPT + float(measures.vector() @ _SCALE)


def confidence(refined: float, agreement: float, support: float) -> float:
    """Probability that a cut covers the pin (overlap of at least 0.8): from the score of the refined cut, its
    overlap with the proposal it came from, and the share of evidence that agrees with it."""
    signs = (min(8.0, max(-8.0, refined)), agreement, support)
    total = _CONFIDENCE_INTERCEPT + sum(
        weight * sign for weight, sign in zip(_CONFIDENCE, signs, strict=True)
    )
    return 1 / (1 + math.exp(-total))
