"""Evidence from how well a pin was made: the enamel's surface, and the edge that stamping and tumbling left.

Either may also be a factory's reject, or wear: neither bars a verdict by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence import colours
from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, box_of, ramp
from pinactors.analysis.model import Points, PreparedView

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

PICTURE_SIDE = 256
"""Side of the pictures the surface is judged in: finer than that is the camera's noise."""

FINE, COARSE = 1.25, 2.5
"""Standard deviations, in those pixels, between which unevenness is looked for: 0.1 to 0.4 mm of a 35 mm
pin."""

DRAWN_LINE_GRADIENT = 4.0
"""Gradient of the catalogue picture (Lab units a pixel) from which a place belongs to a drawn line."""

LEAST_FIELD = 600
"""Pixels of even enamel below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Unevenness:
    """`level` is the 97th percentile of lightness differences between the two scales, in L*, over the
    even fields of the catalogue picture; `worst` where it is largest (reference pixels)."""

    level: float
    worst: Points


def unevenness(seen: Comparison | None, metals: list[npt.NDArray[np.float64]]) -> Unevenness | None:
    """How uneven the enamel is: |G(1.25) - G(2.5)| of lightness in a picture of 256 pixels, its 97th
    percentile over the even fields of the catalogue picture, in L* (a band-pass as in Marr and Hildreth
    1980). None without a comparison or with too little even enamel.

    Glitter, dust, a camera's noise and strong compression raise it as well; blur lowers it. Bare metal
    (`metals`: its Lab colours) mirrors whatever is around and is left out.
    """
    if seen is None:
        return None
    size = (PICTURE_SIDE, PICTURE_SIDE)
    photo, reference = (
        np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)
        for lab in (seen.photo_lab, seen.target.lab)
    )
    inside = cv2.resize(seen.inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    around = np.ones((5, 5), np.uint8)
    drawn = np.zeros(inside.shape, bool)
    for plane in cv2.split(reference):
        slope = np.hypot(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)) / 8
        drawn |= slope > DRAWN_LINE_GRADIENT
    even = (cv2.dilate(drawn.astype(np.uint8), around) == 0) & (cv2.erode(inside, around, borderValue=0) > 0)
    even &= ~colours.metallic(reference, metals)
    if np.count_nonzero(even) < LEAST_FIELD:
        return None
    lightness = np.asarray(photo[..., 0], np.float32)
    band = np.abs(_blur_within(lightness, even, FINE) - _blur_within(lightness, even, COARSE))
    band[~even] = 0
    level = float(np.percentile(band[even], 97))
    rows, columns = np.unravel_index(int(cv2.GaussianBlur(band, (0, 0), 6).argmax()), band.shape)
    reach = 0.08 * PICTURE_SIDE
    corners = [[columns - reach, rows - reach], [columns + reach, rows + reach]]
    return Unevenness(level, np.array(corners, np.float32) * (seen.inside.shape[0] / PICTURE_SIDE))


def enamel_fill(seen: Comparison | None, found: Unevenness | None) -> Measurement:
    """`enamel_fill` of one photograph: a dip says little, since factories allow some; a surface of waves and
    pits speaks of a reject."""
    name = "enamel_fill"
    if seen is None or found is None:
        return Measurement(name, "no even field of enamel to judge")
    if seen.view.quality.clipped > 0.05:
        return Measurement(name, "a reflection hides the enamel")
    score = ramp(found.level, WAVY, OPEN, EVEN)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The enamel lies evenly in its fields.", score)
    return Measurement(
        name, "The enamel's surface is uneven: waves, pits or specks.", score, **seen.located(found.worst)
    )


EVEN, OPEN, WAVY = 0.35, 0.9, 2.4
"""Unevenness, in L*, of a good surface, of one that says nothing, and of one badly filled."""


def _blur_within(plane: Floats, where: npt.NDArray[np.bool_], sigma: float) -> Floats:
    """Gaussian smoothing that only looks at places inside `where`."""
    weight = where.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), sigma) + 1e-3
    return np.asarray(cv2.GaussianBlur(plane * weight, (0, 0), sigma) / total, np.float32)


OUTLINE_SAMPLES = 1024
"""Points the outline is resampled to."""

SMOOTHING_DIAMETERS = 0.012
"""Smoothing, in pin diameters, that leaves the design's own shape and takes burrs away: 0.4 mm of 35."""

EDGE_REACH_DIAMETERS = 0.022
"""How far from the cut-out's outline, in diameters, the edge is looked for."""

OUTLINE_PULL_DIAMETERS = 0.008
"""How far, in diameters, the cut-out's own outline pulls: of two edges the nearer one wins."""

LEAST_SIDE = 250.0
"""Short side of the pin, in pixels of the photograph, below which its edge is not judged."""


@dataclass(frozen=True, slots=True)
class Roughness:
    """`typical` is the median distance of the edge from its smoothed self, in diameters; `worst` where
    along the outline it is largest (working pixels)."""

    typical: float
    worst: Points


def roughness(view: PreparedView) -> Roughness | None:
    """How far the edge lies from its smoothed self: median distance, in pin diameters, between the
    strongest change of colour along each normal and the same smoothed over 0.012 diameters (the high-pass
    residual of ISO 4287's roughness, along an outline). None where the pin is too small, cut off or not
    found.

    A cut-out on a busy background, glare on the rim and cloth in front of it raise it as well; blur lowers
    it.
    """
    if (
        view.pin is None
        or view.pin.cut_off
        or view.quality.short_side < LEAST_SIDE
        or len(view.pin.outline) < 200
    ):
        return None
    diameter = 2 * float(np.sqrt(np.count_nonzero(view.pin.mask) / np.pi))
    outline, step = _resample(view.pin.outline.astype(np.float64))
    smooth = _smooth(outline, SMOOTHING_DIAMETERS * diameter / step)
    tangent = np.roll(smooth, -1, axis=0) - np.roll(smooth, 1, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
    offsets = np.arange(
        -np.ceil(EDGE_REACH_DIAMETERS * diameter), np.ceil(EDGE_REACH_DIAMETERS * diameter) + 0.1, 0.5
    )
    change = _change_along(view, smooth, normal, offsets)
    own = ((outline - smooth) * normal).sum(axis=1)
    near = np.exp(-np.square((offsets[None] - own[:, None]) / (OUTLINE_PULL_DIAMETERS * diameter)))
    edge = offsets[(change * near).argmax(axis=1)] / diameter
    edge -= _smooth(edge[:, None], SMOOTHING_DIAMETERS * diameter / step)[:, 0]
    window = max(3, OUTLINE_SAMPLES // 24)
    local = np.convolve(
        np.concatenate([np.abs(edge), np.abs(edge[:window])]), np.ones(window) / window, "valid"
    )
    start = int(local[:OUTLINE_SAMPLES].argmax())
    worst = smooth[np.arange(start, start + window) % OUTLINE_SAMPLES]
    return Roughness(float(np.median(np.abs(edge))), worst.astype(np.float32))


def edge_roughness(
    front: PreparedView, back: PreparedView | None, angled: PreparedView | None
) -> Measurement:
    """`edge_roughness`, the mean of the views straight on; the tilted view only where there is no other."""
    name = "edge_roughness"
    measured = [(view, roughness(view)) for view in (front, back) if view is not None]
    if all(found is None for _, found in measured) and angled is not None:
        measured = [(angled, roughness(angled))]
    found = [(view, rough) for view, rough in measured if rough is not None]
    if not found:
        return Measurement(name, "no edge large and whole enough to measure")
    typical = float(np.mean([rough.typical for _, rough in found]))
    score = ramp(typical, ROUGH, NORMAL, SMOOTH)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The edge is clean and smooth.", score)
    view, worst = max(found, key=lambda entry: entry[1].typical)
    return Measurement(name, "The edge is rough: burrs, or a ragged cut.", score, box_of(view, worst.worst))


SMOOTH, NORMAL, ROUGH = 0.00042, 0.0007, 0.0011
"""Median straying in diameters of a clean edge, of one that says nothing, and of one with burrs all
around."""


def _change_along(view: PreparedView, points: Values, normal: Values, offsets: Values) -> Values:
    """How fast colour changes along each normal, (points, offsets)."""
    assert view.pin is not None
    x, y, w, h = cv2.boundingRect(view.pin.mask)
    margin = int(np.abs(offsets).max()) + 4
    left, top = max(x - margin, 0), max(y - margin, 0)
    part = view.rgb[top : y + h + margin, left : x + w + margin]
    lab = cv2.GaussianBlur(cv2.cvtColor(part, cv2.COLOR_RGB2LAB), (0, 0), 1.0).astype(np.float32)
    xs = (points[:, :1] + offsets * normal[:, :1] - left).astype(np.float32)
    ys = (points[:, 1:] + offsets * normal[:, 1:] - top).astype(np.float32)
    profiles = cv2.remap(lab, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.abs(np.gradient(profiles, axis=1)).sum(axis=2), np.float64)


def _resample(outline: Values) -> tuple[Values, float]:
    """`OUTLINE_SAMPLES` points evenly along a closed outline, and the distance between them."""
    closed = np.vstack([outline, outline[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    places = np.linspace(0, along[-1], OUTLINE_SAMPLES, endpoint=False)
    points = np.column_stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)])
    return points, float(along[-1] / OUTLINE_SAMPLES)


def _smooth(values: Values, sigma: float) -> Values:
    """Gaussian smoothing of closed curves, columns by themselves; `sigma` in samples."""
    frequency = np.fft.rfftfreq(len(values))
    response = np.exp(-2 * np.square(np.pi * frequency * sigma))
    return np.fft.irfft(np.fft.rfft(values, axis=0) * response[:, None], len(values), axis=0)
