"""Evidence from how well a pin was made: the enamel's surface, and its edge after stamping and tumbling.

Faults of either may also be those of a factory's reject, or wear, so neither bars a verdict by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.evidence import colours, gates
from pinactors.analysis.evidence.comparison import NOT_COMPARED, Comparison
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, box_of, ramp
from pinactors.analysis.imaging import geometry
from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.model import CROP_SIDE, Doubles, Flags, Floats, Image, Points, PreparedView, Reference

FINE_PIXELS, COARSE_PIXELS = 2.0, 4.0
"""Standard deviations, in crop pixels, of the band-pass that measures unevenness: 0.15 and 0.3 mm on a pin of
35 mm."""

AVERAGING_SIGMA_PIXELS = 12.0
"""Standard deviation, in crop pixels, over which unevenness is averaged, because the same pit is slightly
displaced in a photograph from the side."""

MIN_LINE_GRADIENT = 4.0
"""Gradient of the catalogue picture (Lab units per two crop pixels) above which a pixel belongs to a drawn
line."""

MIN_FIELD_PIXELS = 2400
"""Least number of crop pixels of even enamel for a measurement."""

UNEVENNESS_QUANTILE = 0.9
"""Quantile of the fields that is judged: a badly filled tenth of the fields is enough."""

SINGLE_PHOTOGRAPH_FACTOR = 0.5
"""Factor for the unevenness of a single photograph, because it includes reflections."""

GOOD_UNEVENNESS, NEUTRAL_UNEVENNESS, BAD_UNEVENNESS = 0.23, 0.42, 0.75
"""Unevenness, in L*, of a good surface, of one that gives no evidence, and of a badly filled one: of 113
genuine simulated pins half have less than the first and one in twelve more than the second."""


@dataclass(frozen=True, slots=True)
class Unevenness:
    """The unevenness of the enamel: `level` in L*, over the even fields of the catalogue picture; `worst` two
    corners around its maximum (reference pixels)."""

    level: float
    worst: Points


def unevenness(
    straight: Comparison | None, tilted: Comparison | None, metals: list[Doubles]
) -> Unevenness | None:
    """How uneven the enamel is, in L*: the local root mean square of G(2) - G(4) of lightness (a band-pass as
    in Marr and Hildreth 1980), the geometric mean of two photographs, its 90th percentile over the even
    fields of the catalogue picture. If there is only one photograph, `SINGLE_PHOTOGRAPH_FACTOR` times its
    value. None without the photograph taken straight on or with too little even enamel.

    A pit or a wave shows in both photographs; a reflection of the room, noise and compression only in one.
    Glitter, dust and scratches show in both as well; blur lowers the value. Bare metal (`metals`: its Lab
    colours) reflects its surroundings and is left out.
    """
    if straight is None:
        return None
    views = [straight, *([tilted] if tilted is not None else [])]
    even = _even(
        straight.target.lab, np.logical_and.reduce([comparison.inside for comparison in views]), metals
    )
    if tilted is not None and np.count_nonzero(even) < MIN_FIELD_PIXELS:
        return unevenness(straight, None, metals)
    if np.count_nonzero(even) < MIN_FIELD_PIXELS:
        return None
    bands = [_band(as_floats(comparison.photo_lab[..., 0]), even) for comparison in views]
    combined = np.sqrt(bands[0] * bands[1]) if len(bands) == 2 else SINGLE_PHOTOGRAPH_FACTOR * bands[0]
    combined[~even] = 0
    level = float(np.quantile(combined[even], UNEVENNESS_QUANTILE))
    rows, columns = np.unravel_index(int(combined.argmax()), combined.shape)
    reach = 0.08 * CROP_SIDE
    corners = [[columns - reach, rows - reach], [columns + reach, rows + reach]]
    return Unevenness(level, np.array(corners, np.float32))


def _catalogue_unevenness(comparison: Comparison, metals: list[Doubles]) -> float:
    """The unevenness of the catalogue picture itself, measured as in `unevenness`."""
    even = _even(comparison.target.lab, comparison.inside, metals)
    band = _band(as_floats(comparison.target.lab[..., 0]), even)
    return float(np.quantile(band[even], UNEVENNESS_QUANTILE))


def _even(lab: Floats, inside: Flags, metals: list[Doubles]) -> Flags:
    """Where the catalogue picture has neither lines nor bare metal, well within `inside`."""
    size = (CROP_SIDE // 2, CROP_SIDE // 2)
    small = as_floats(cv2.resize(lab, size, interpolation=cv2.INTER_AREA))
    within = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    around = np.ones((5, 5), np.uint8)
    drawn = np.zeros(within.shape, bool)
    for plane in cv2.split(small):
        slope = np.hypot(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)) / 8
        drawn |= slope > MIN_LINE_GRADIENT
    even = (cv2.dilate(drawn.astype(np.uint8), around) == 0) & (cv2.erode(within, around, borderValue=0) > 0)
    even &= ~colours.metallic(small, metals)
    whole = (CROP_SIDE, CROP_SIDE)
    return np.asarray(cv2.resize(even.astype(np.uint8), whole, interpolation=cv2.INTER_NEAREST) > 0)


def _band(lightness: Floats, even: Flags) -> Floats:
    """Local root mean square of the difference of lightness between the two scales."""
    band = _blur_within(lightness, even, FINE_PIXELS) - _blur_within(lightness, even, COARSE_PIXELS)
    return np.sqrt(np.maximum(_blur_within(np.square(band), even, AVERAGING_SIGMA_PIXELS), 0))


def enamel_fill(straight: Comparison | None, tilted: Comparison | None, metals: list[Doubles]) -> Measurement:
    """`enamel_fill`: how evenly the enamel fills its fields. A dip is weak evidence, because factories allow
    some; a surface of waves and pits indicates a reject. A photograph with blown highlights is not used."""
    name = "enamel_fill"
    if straight is None:
        return Measurement(name, NOT_COMPARED)
    if gates.has_glare(straight.view):
        return Measurement(name, "a reflection hides the enamel")
    if tilted is not None and gates.has_glare(tilted.view):
        tilted = None
    found = unevenness(straight, tilted, metals)
    if found is None:
        return Measurement(name, "no plain area of enamel to judge")
    if _catalogue_unevenness(straight, metals) > NEUTRAL_UNEVENNESS:
        return Measurement(name, "the enamel is as uneven in the catalogue's picture, from glitter or grain")
    score = ramp(found.level, BAD_UNEVENNESS, NEUTRAL_UNEVENNESS, GOOD_UNEVENNESS)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The enamel fills its areas evenly.", score)
    return Measurement(
        name,
        "The enamel's surface is uneven: waves, pits or specks.",
        score,
        **straight.boxes_around(found.worst),
    )


def _blur_within(plane: Floats, where: Flags, sigma: float) -> Floats:
    """Gaussian smoothing that uses only the pixels inside `where`."""
    weight = where.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), sigma) + 1e-3
    return as_floats(cv2.GaussianBlur(plane * weight, (0, 0), sigma) / total)


OUTLINE_SAMPLES = 1024
"""Number of points to which the outline is resampled."""

SMOOTHING_DIAMETERS = 0.012
"""Smoothing, in pin diameters, that keeps the design's own shape and removes burrs: 0.4 mm of 35."""

EDGE_REACH_DIAMETERS = 0.022
"""Distance from the cut-out's outline, in diameters, within which the edge is searched."""

OUTLINE_PULL_DIAMETERS = 0.008
"""Width, in diameters, of the weight by distance from the cut-out's outline: of two edges the nearer is
preferred."""

MIN_SIDE_PIXELS = 250.0
"""Short side of the pin, in pixels of the photograph, below which its edge is not judged."""


@dataclass(frozen=True, slots=True)
class Roughness:
    """The roughness of an edge: `typical` is the median distance of the edge from its smoothed course, in
    diameters; `worst` the part of the outline where it is largest (working pixels)."""

    typical: float
    worst: Points


def roughness(view: PreparedView) -> Roughness | None:
    """How far the edge is from its smoothed course: the median distance, in pin diameters, between the
    strongest change of colour along each normal and the same smoothed over 0.012 diameters (the high-pass
    residual of ISO 4287's roughness, along an outline). None if the pin is too small, cut off or not found.

    A cut-out on a textured background, glare on the rim and cloth in front of it raise it as well; blur
    lowers it.
    """
    if (
        view.pin is None
        or view.pin.cut_off
        or view.quality.short_side < MIN_SIDE_PIXELS
        or len(view.pin.outline) < 200
    ):
        return None
    return _measure_roughness(view.rgb, view.pin.mask, view.pin.outline)


def _measure_roughness(rgb: Image, mask: Image, cutout_outline: Points) -> Roughness:
    """The roughness of the edge near the outline `cutout_outline` of `mask`, in the picture's pixels."""
    diameter = 2 * float(np.sqrt(np.count_nonzero(mask) / np.pi))
    outline, step = geometry.resampled(cutout_outline.astype(np.float64), OUTLINE_SAMPLES)
    smooth = geometry.smoothed(outline, SMOOTHING_DIAMETERS * diameter / step)
    normal = geometry.normals_of(smooth)
    offsets = np.arange(
        -np.ceil(EDGE_REACH_DIAMETERS * diameter), np.ceil(EDGE_REACH_DIAMETERS * diameter) + 0.1, 0.5
    )
    change = _change_along(rgb, mask, smooth, normal, offsets)
    outline_offset = ((outline - smooth) * normal).sum(axis=1)
    near = np.exp(-np.square((offsets[None] - outline_offset[:, None]) / (OUTLINE_PULL_DIAMETERS * diameter)))
    edge = offsets[(change * near).argmax(axis=1)] / diameter
    edge -= geometry.smoothed(edge[:, None], SMOOTHING_DIAMETERS * diameter / step)[:, 0]
    window = max(3, OUTLINE_SAMPLES // 24)
    local = np.convolve(
        np.concatenate([np.abs(edge), np.abs(edge[:window])]), np.ones(window) / window, "valid"
    )
    start = int(local[:OUTLINE_SAMPLES].argmax())
    worst = smooth[np.arange(start, start + window) % OUTLINE_SAMPLES]
    return Roughness(float(np.median(np.abs(edge))), worst.astype(np.float32))


def edge_roughness(
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    catalogued: Reference | None = None,
) -> Measurement:
    """`edge_roughness`: the geometric mean of the views taken straight on, or the tilted view if there is no
    other: burrs show on both sides of a pin, a shadow or a bad cut-out mostly on one. Not assessed
    if the outline of the pin's front in the catalogue (`catalogued`, None if unknown) is itself rougher than
    `NEUTRAL_ROUGHNESS`: hair, fur and leaves are so by design. If it is rougher than `GOOD_ROUGHNESS`, the
    roughness is divided by the ratio."""
    name = "edge_roughness"
    by_design = 1.0
    if catalogued is not None and catalogued.outlined:
        known = _measure_roughness(catalogued.rgb, catalogued.mask, geometry.largest_outline(catalogued.mask))
        if known.typical > NEUTRAL_ROUGHNESS:
            return Measurement(name, "the edge is ragged by design: the catalogue's is, too")
        by_design = max(1.0, known.typical / GOOD_ROUGHNESS)
    measured = [(view, roughness(view)) for view in (front, back) if view is not None]
    if all(found is None for _, found in measured) and angled is not None:
        measured = [(angled, roughness(angled))]
    found = [(view, rough) for view, rough in measured if rough is not None]
    if not found:
        return Measurement(name, "no edge is large and complete enough to measure")
    typical = math.prod(rough.typical for _, rough in found) ** (1 / len(found)) / by_design
    score = ramp(typical, BAD_ROUGHNESS, NEUTRAL_ROUGHNESS, GOOD_ROUGHNESS)
    view, worst = max(found, key=lambda entry: entry[1].typical)
    if score >= SLIGHT_SCORE:
        whole = box_of(view, view.pin.outline) if view.pin is not None else None
        return Measurement(name, "The edge is clean and smooth.", score, whole)
    return Measurement(name, "The edge is rough: burrs or a ragged cut.", score, box_of(view, worst.worst))


GOOD_ROUGHNESS, NEUTRAL_ROUGHNESS, BAD_ROUGHNESS = 0.00042, 0.0007, 0.0011
"""Median distance from the smoothed course, in diameters: of a clean edge, of one that gives no evidence, and
of one with burrs all around."""


def _change_along(rgb: Image, mask: Image, points: Doubles, normal: Doubles, offsets: Doubles) -> Doubles:
    """The rate of colour change along each normal: (points, offsets)."""
    x, y, w, h = cv2.boundingRect(mask)
    margin = int(np.abs(offsets).max()) + 4
    left, top = max(x - margin, 0), max(y - margin, 0)
    part = rgb[top : y + h + margin, left : x + w + margin]
    lab = cv2.GaussianBlur(cv2.cvtColor(part, cv2.COLOR_RGB2LAB), (0, 0), 1.0).astype(np.float32)
    change = geometry.change_along(lab, points - (left, top), normal, offsets)
    return np.asarray(change, np.float64)
