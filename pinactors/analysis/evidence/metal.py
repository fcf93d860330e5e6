"""Evidence from the back's bare metal: its plating and its posts."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence.comparison import Comparison, lab_of
from pinactors.analysis.evidence.likelihood import SLIGHT, Measurement, box_of, ramp
from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.model import Points, PreparedView

EVEN, NORMAL, BLOTCHY = 3.0, 9.0, 18.0
"""Spread of a* and b* over a back, in Lab units after smoothing, of even plating, of plating that says
nothing, and of blotches."""

HOUGH_SIDE = 320

POST_RADII = (0.018, 0.06)
"""Radius of a post's foot, in pin diameters: 1 to 2 mm on pins of 20 to 50 mm."""


def uniformity(back: PreparedView) -> Measurement:
    """`plating_uniformity`: how much the metal's tint changes over the back, highlights and shadows left
    out."""
    name = "plating_uniformity"
    if back.pin is None:
        return Measurement(name, "no pin was found in the photograph of the back")
    if back.quality.clipped > 0.05 or back.quality.glare > 0.1:
        return Measurement(name, "reflections tint the metal")
    size = (128, 128)
    lab = lab_of(as_image(cv2.resize(back.pin.rgb, size, interpolation=cv2.INTER_AREA)))
    inside = cv2.resize(cv2.erode(back.pin.crop_mask, np.ones((25, 25), np.uint8)), size) > 127
    lightness = lab[..., 0]
    metal = inside & (lightness > 12) & (lightness < 92)
    if np.count_nonzero(metal) < 400:
        return Measurement(name, "too little metal is visible")
    # Chroma grows with lightness under one light: what is compared is chroma at equal lightness.
    tint = lab[..., 1:] / (lightness[..., None] + 16) * 66
    smooth = cv2.GaussianBlur(tint * metal[..., None], (0, 0), 4) / (
        cv2.GaussianBlur(metal.astype(np.float32), (0, 0), 4)[..., None] + 1e-3
    )
    low, high = np.percentile(smooth[metal], [10, 90], axis=0)
    spread = float(np.hypot(*((high - low) / 2.56)))
    score = ramp(spread, BLOTCHY, NORMAL, EVEN)
    if score >= SLIGHT:
        return Measurement(name, "The plating has one tint all over.", score)
    return Measurement(
        name, "The plating's tint changes over the back.", score, box_of(back, back.pin.outline)
    )


def posts(seen: Comparison | None) -> Measurement:
    """`posts`: something round stands out where the catalogue's back has its posts.

    A post, with or without its clutch, is higher than the back: it looks different from every side, but
    always different from what is around it. So it is its contrast with the ring around it that is measured.
    """
    name = "posts"
    if seen is None:
        return Measurement(name, "no catalogue back to compare the posts with")
    places = _circles(seen)
    if not places:
        return Measurement(name, "no post stands out in the catalogue's back")
    if seen.view.quality.clipped > 0.05:
        return Measurement(name, "a reflection covers part of the back")
    lab = seen.photo_lab
    contrast = [_stands_out(lab, *place) for place in places]
    score = ramp(float(np.mean(contrast)), 0.2, 0.7, 2.0)
    if score >= SLIGHT:
        return Measurement(name, "The posts are where the catalogue has them.", score)
    corners: Points = np.array(
        [[x + way * radius, y + way * radius] for x, y, radius in places for way in (-1.5, 1.5)], np.float32
    )
    return Measurement(
        name, "No post stands out where the catalogue has one.", score, **seen.located(corners)
    )


def _stands_out(lab: npt.NDArray[np.floating], x: float, y: float, radius: float) -> float:
    """Difference of mean colour between disc and ring, over the ring's spread; the best of nine places
    around."""
    reach = round(3.2 * radius)
    left, top = max(round(x) - reach, 0), max(round(y) - reach, 0)
    part = lab[top : round(y) + reach, left : round(x) + reach]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    best = 0.0
    for dx in (-0.7, 0.0, 0.7):
        for dy in (-0.7, 0.0, 0.7):
            away = np.hypot(columns - (x - left + dx * radius), rows - (y - top + dy * radius)) / radius
            disc, ring = as_image(away < 1.1), as_image((away > 1.5) & (away < 2.4))
            if cv2.countNonZero(disc) > 10 and cv2.countNonZero(ring) > 20:
                (inner, _), (outer, spread) = cv2.meanStdDev(part, mask=disc), cv2.meanStdDev(part, mask=ring)
                best = max(best, float(np.linalg.norm(inner - outer)) / (float(spread.mean()) + 1))
    return best


def _circles(seen: Comparison) -> list[tuple[float, float, float]]:
    """Round feet in the catalogue's back, x, y and radius, by Hough's transform on gradients; at most two."""
    grey = (cv2.resize(seen.target.lab[..., 0], (HOUGH_SIDE, HOUGH_SIDE)) * 2.55).astype(np.uint8)
    ratio = HOUGH_SIDE / seen.inside.shape[0]
    low, high = (max(3, round(share * seen.diameter * ratio)) for share in POST_RADII)
    circles = cv2.HoughCircles(
        cv2.GaussianBlur(grey, (0, 0), 1.0),
        cv2.HOUGH_GRADIENT_ALT,
        1.5,
        4 * low,
        param1=120,
        param2=0.8,
        minRadius=low,
        maxRadius=high,
    )
    if circles is None:
        return []
    kept = []
    for x, y, radius in np.asarray(circles[0], np.float64) / ratio:
        row, column = round(y), round(x)
        if (
            0 <= row < seen.inside.shape[0]
            and 0 <= column < seen.inside.shape[1]
            and seen.inside[row, column]
        ):
            kept.append((float(x), float(y), float(radius)))
    return kept[:2]
