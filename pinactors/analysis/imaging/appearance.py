"""Describes a pin's appearance: its metal, its enamel colours, its proportions.

Colours are taken from the photograph without correction. Phones are off by more than 10 ΔE00 on average, so
only coarse colour names are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.colorimetry import lab_of_srgb, srgb_of_lab
from pinactors.analysis.imaging.geometry import resized
from pinactors.analysis.model import Doubles, Floats, Image, PreparedView

PICTURE_SIDE = 96
COLOUR_CLUSTERS = 8
SAME_COLOUR_DISTANCE = 14.0
"""ΔE*ab below which two clusters are taken as one enamel under uneven light."""

MIN_COLOUR_SHARE = 0.04
MAX_COLOURS = 6

SILVER_CHROMA = 9.0
"""Chroma at L* 50 below which metal counts as untinted; gold plating has 20 and more."""

DARK_METAL_LIGHTNESS = 32.0
"""Median L* under which untinted metal is called black nickel."""

COPPER_HUE_DEGREES = 58.0
"""Hue angle in degrees, a*b* plane: copper below, gold and brass above."""

_COLOUR_NAMES = {
    "black": (12, 0, 0),
    "dark grey": (35, 0, 0),
    "grey": (58, 0, 0),
    "light grey": (78, 0, 0),
    "white": (96, 0, 0),
    "red": (45, 62, 40),
    "dark red": (28, 42, 22),
    "orange": (66, 38, 62),
    "brown": (38, 18, 28),
    "tan": (70, 8, 26),
    "olive": (50, -5, 34),
    "yellow": (86, 0, 74),
    "pale yellow": (84, -7, 42),
    "cream": (92, 0, 14),
    "green": (50, -42, 32),
    "dark green": (30, -24, 14),
    "light green": (80, -32, 34),
    "turquoise": (68, -32, -8),
    "blue": (40, 14, -52),
    "dark blue": (20, 12, -32),
    "light blue": (76, -10, -22),
    "purple": (36, 42, -42),
    "lilac": (72, 20, -22),
    "pink": (72, 34, 2),
    "magenta": (50, 68, -8),
}
"""Reference L*a*b* colours (D65) of common colour names: the foci of the basic colour terms (Berlin and Kay
1969) and the light and dark shades that enamel comes in."""


@dataclass(frozen=True, slots=True)
class EnamelColour:
    """One colour of the pin's front; `share` is its share of the front's area, 0 to 1."""

    name: str
    hex: str
    share: float


def enamel_colours(front: PreparedView) -> list[EnamelColour]:
    """The dominant colours of the front, largest first; empty if no pin was found or too little of it is
    visible."""
    if front.pin is None:
        return []
    lab = _inside(front.pin.rgb, front.pin.crop_mask)
    if len(lab) < COLOUR_CLUSTERS * 10:
        return []
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    cv2.setRNGSeed(1)  # the same photograph must always give the same colours
    start = np.zeros((len(lab), 1), np.int32)
    _, labels, centres = cv2.kmeans(lab, COLOUR_CLUSTERS, start, criteria, 2, cv2.KMEANS_PP_CENTERS)
    counts = np.bincount(labels.ravel(), minlength=COLOUR_CLUSTERS)
    merged: list[tuple[Doubles, int]] = []
    for index in np.argsort(-counts):
        centre, count = centres[index].astype(np.float64), int(counts[index])
        for place, (other, size) in enumerate(merged):
            near = np.linalg.norm(other - centre) < SAME_COLOUR_DISTANCE
            if near or colour_name(other) == colour_name(centre):
                merged[place] = (other, size + count)
                break
        else:
            merged.append((centre, count))
    found = [
        EnamelColour(colour_name(centre), _hex(centre), round(count / len(lab), 2))
        for centre, count in sorted(merged, key=lambda one: -one[1])
        if count / len(lab) >= MIN_COLOUR_SHARE
    ]
    return found[:MAX_COLOURS]


def metal(back: PreparedView) -> str | None:
    """`gold`, `silver`, `copper` or `black nickel`, by the tint of the bare metal; None if too little metal
    is visible or if coloured light gives a tint that no plating has.

    The tint is the chroma scaled to equal lightness (metal reflects its colour in proportion to the light),
    as the median over pixels that are neither highlight nor shadow.
    """
    if back.pin is None:
        return None
    lab = _inside(back.pin.rgb, back.pin.crop_mask).astype(np.float64)
    lightness = lab[:, 0]
    usable = (lightness > 10) & (lightness < 92)
    if np.count_nonzero(usable) < 200:
        return None
    tint = np.median(lab[usable, 1:] / (lightness[usable, None] + 16) * 66, axis=0)
    chroma, hue = float(np.hypot(*tint)), float(np.degrees(np.arctan2(tint[1], tint[0])))
    if chroma < SILVER_CHROMA:
        return "black nickel" if np.median(lightness) < DARK_METAL_LIGHTNESS else "silver"
    if not 0 <= hue <= 115:
        return None  # no plating has this tint: the light is coloured
    return "copper" if hue < COPPER_HUE_DEGREES else "gold"


def proportions(front: PreparedView) -> float | None:
    """Longer over shorter side of the smallest rectangle around the outline; None if there is no pin or part
    of it is outside the photograph."""
    if front.pin is None or front.pin.cut_off:
        return None
    _, (width, height), _ = cv2.minAreaRect(front.pin.outline)
    return round(max(width, height) / max(min(width, height), 1.0), 2)


def _inside(rgb: Image, mask: Image) -> Floats:
    """L*a*b* of the pixels well inside the mask (n, 3), after reducing the picture to `PICTURE_SIDE`."""
    small = resized(rgb, (PICTURE_SIDE, PICTURE_SIDE))
    inner = cv2.resize(cv2.erode(mask, np.ones((15, 15), np.uint8)), (PICTURE_SIDE, PICTURE_SIDE)) > 127
    return lab_of_srgb(small)[inner]


def colour_name(lab: npt.NDArray[np.floating]) -> str:
    """The name in `_COLOUR_NAMES` whose colour is nearest to a Lab colour."""
    return min(
        _COLOUR_NAMES, key=lambda each: float(np.linalg.norm(lab - np.array(_COLOUR_NAMES[each], np.float64)))
    )


def _hex(lab: Doubles) -> str:
    rgb = srgb_of_lab(lab.astype(np.float32).reshape(1, 1, 3))[0, 0]
    red, green, blue = (round(float(value) * 255) for value in rgb)
    return f"#{red:02x}{green:02x}{blue:02x}"
