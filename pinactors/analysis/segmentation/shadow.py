"""Separates a pin from the shadow that it casts on its background.

A raised pin under one lamp casts a shadow with as much contrast as the pin, so that every cue finds both.
"""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.model import Flags, Floats, Image
from pinactors.analysis.segmentation.proposals import Proposal, Scene, add_regions, disk

SHADOW_AREA_SHARES = (0.02, 0.45)
"""Least and largest share of a proposal's area that can be its shadow."""

RIM_SHARE = 0.75
"""Largest share of the pin's outline that a shadow may touch; a region that touches more is a rim."""

MIN_EDGE_OVER_TEXTURE, MIN_EDGE_OVER_OUTER_EDGE = 4.0, 1.6
"""Least ratio of the edge between pin and shadow to the texture in the shadow, and to the shadow's own edge,
which is soft because a lamp has a size."""

NEUTRAL_TINT = 0.25
"""Length of the log channel ratios (red and blue over green) below which a background counts as grey."""

GREY_LIGHT_SHARES = (0.1, 0.55)
"""Limits of the share of light that remains in a shadow on a grey background. Tint cannot distinguish a
shadow from metal there, but black plating has less light and silver more."""

BLEACHED_TINT = 0.3
"""Largest distance of a shadow's tint from the background's towards grey. Shadows keep the tint or deepen it
(they are lit by light that the same surface reflects); black rims and lines are grey."""


def cast_shadow(scene: Scene, proposal: Proposal) -> Image | None:
    """The part (0 or 1) of a proposal that is the pin's shadow; None if no shadow was recognised.

    A shadow has the background's tint in less light, lies on one side of the pin and has little texture. Its
    edge towards the pin is sharp, its outer edge is softer.
    """
    mask = proposal.mask
    dimmed = _dimmed(scene, mask > 0)
    dark = as_image(cv2.morphologyEx(dimmed.astype(np.uint8), cv2.MORPH_OPEN, disk(1)))
    regions: list[Proposal] = []
    add_regions(as_image(cv2.morphologyEx(mask - dark, cv2.MORPH_OPEN, disk(2))), "rest", regions, keep=1)
    if not regions:
        return None
    pin = as_image(cv2.morphologyEx(regions[0].mask, cv2.MORPH_CLOSE, disk(3))) & mask
    shadow = as_image(cv2.morphologyEx(mask - pin, cv2.MORPH_OPEN, disk(1)))
    if (
        not SHADOW_AREA_SHARES[0] * proposal.area
        < cv2.countNonZero(shadow)
        < SHADOW_AREA_SHARES[1] * proposal.area
    ):
        return None
    pin = mask - shadow
    rim = (cv2.dilate(pin, disk(1)) > 0) & (pin == 0)
    contact = rim & (shadow > 0)
    outer = (cv2.dilate(shadow, disk(1)) > 0) & (mask == 0)
    within = cv2.erode(shadow, disk(2)) > 0
    if not (contact.any() and outer.any() and within.any()) or dimmed[shadow > 0].mean() < 0.85:
        return None
    if np.count_nonzero(contact) > RIM_SHARE * np.count_nonzero(rim):
        return None
    edge = float(np.median(scene.ridge[contact]))
    texture, outer_edge = float(np.median(scene.edges[within])), float(np.median(scene.ridge[outer]))
    if edge <= MIN_EDGE_OVER_TEXTURE * texture or edge <= MIN_EDGE_OVER_OUTER_EDGE * outer_edge:
        return None
    beside = (cv2.dilate(shadow, disk(14)) > 0) & (cv2.dilate(mask, disk(3)) == 0)
    return shadow if _same_surface(scene.rgb, cv2.erode(shadow, disk(1)) > 0, beside) else None


def _dimmed(scene: Scene, inside: Flags) -> Flags:
    """The pixels in `inside` whose colour is roughly one of the background's in less light. The tolerance is
    larger for dark pixels, whose tint is mostly noise."""
    rgb = as_image(cv2.GaussianBlur(scene.rgb, (0, 0), 1.0))
    border = rgb[scene.border]
    tint, light = _tint_and_light(border[:: len(border) // 1200 + 1])
    samples = np.column_stack([tint, 0.5 * np.log(light)])
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.02)
    _, labels, _ = cv2.kmeans(samples, 3, np.empty(0, np.int32), criteria, 1, cv2.KMEANS_PP_CENTERS)
    tint, light = _tint_and_light(rgb[inside])
    tolerance = 2 * (0.05 + 0.004 / light)
    dim = np.zeros(len(light), bool)
    for cluster in range(3):
        members = samples[labels.ravel() == cluster]
        if len(members) < 0.1 * len(samples):
            continue
        centre, spread = members.mean(axis=0), members[:, :2].std(axis=0)
        tint_distance = np.abs(tint - centre[:2]) - 2 * spread
        light_share = light / np.exp(2 * centre[2])
        dim |= (
            (np.maximum(tint_distance[:, 0], tint_distance[:, 1]) < tolerance)
            & (light_share > 0.02)
            & (light_share < 0.85)
        )
    dimmed = np.zeros(inside.shape, bool)
    dimmed[inside] = dim
    return dimmed


def _tint_and_light(rgb: Image) -> tuple[Floats, Floats]:
    linear = _linear(rgb) + np.float32(0.002)
    return _tint(linear), linear @ np.array([0.25, 0.65, 0.1], np.float32)


def _same_surface(rgb: Image, shadow: Flags, beside: Flags) -> bool:
    """Whether the mean colour of a shadow is that of the surface beside it in less light. Means do not have
    the noise of single dark pixels."""
    if not shadow.any() or not beside.any():
        return False
    linear = _linear(rgb) + 0.0005
    dark, bright = linear[shadow].mean(axis=0), linear[beside].mean(axis=0)
    tint = _tint(bright)
    strength = float(np.linalg.norm(tint))
    if strength < NEUTRAL_TINT:
        return GREY_LIGHT_SHARES[0] < float((dark / bright).mean()) < GREY_LIGHT_SHARES[1]
    return float((_tint(dark) - tint) @ tint) / strength > -BLEACHED_TINT


_LINEAR_LIGHT = np.power(np.arange(256, dtype=np.float32) / 255, np.float32(2.2))


def _linear(rgb: Image) -> Floats:
    """Linear light, 0 to 1, from sRGB code values, by a power of 2.2."""
    return _LINEAR_LIGHT[rgb]


def _tint(linear: Floats) -> Floats:
    """Log ratios of red and blue to green, which do not depend on the amount of light."""
    logs = np.log(linear)
    return np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], axis=-1)
