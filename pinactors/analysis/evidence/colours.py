"""Colour: the paints of a pin, and the evidence row that compares them with the catalogue's.

A phone's colour error is larger than that of most counterfeiters, so colours are not compared absolutely. All
paints share one light (a gain for each channel, a veil of reflection); a paint counts against the pin if no
plausible light explains it together with the others. Above `FULL_WEIGHT_AREA` all paints count the same,
however large: a field in another colour is as often the largest as any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence.comparison import NOT_COMPARED, Comparison, lab_of
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, ramp
from pinactors.analysis.imaging import appearance
from pinactors.analysis.imaging.colorimetry import LUMINANCE, difference, lab_of_linear, linear
from pinactors.analysis.imaging.geometry import as_floats, as_image
from pinactors.analysis.model import Doubles, Flags, Floats, Points, Reference
from pinactors.protocol import View

PICTURE_SIDE = 256
"""Side in pixels of the pictures in which paints are found."""

MIN_PAINT_AREA = 0.006
"""Least share of the pin that a paint must have."""

MAX_PAINTS = 12

SAME_PAINT_DISTANCE = 10.0
"""Distance in Lab within which pixels of the catalogue picture belong to one paint."""

VEIL_LIGHTS = np.array([0.0, 0.03, 0.1, 0.25], np.float32)
"""Reflected light, in linear units of a white paint, that may lie over a paint; each step adds half a unit of
CIEDE2000 to the distance."""

WARMTH_DEVIATION, GREENNESS_DEVIATION = 0.14, 0.05
"""Standard deviations of the light's log gains after a phone's white balance: half of red over blue, and
green over the mean of both. Daylight and lamps differ along the first (Planck's locus), hardly along the
second."""

LEVEL_STEP, WARMTH_STEP, GREENNESS_STEP = 0.12, 0.07, 0.05
"""Steps of the lights that are tried, in log units; three standard deviations of tint to either side."""

PAINT_NOISE, METAL_NOISE = 4.0, 7.0
"""Standard deviations, in CIEDE2000 units, of a paint's colour and of bare metal's from the catalogue's
colour under the same light. Bare metal's is larger because it reflects its surroundings."""

MAX_PAINT_COST_NATS = 4.5
"""Bound of the cost (nats) that one deviating paint adds to a light: three standard deviations."""

FULL_WEIGHT_AREA = 0.02
"""Share of the pin from which a paint has full weight."""

MIN_RECORDED_LIGHT = 0.004
"""Linear units of a white paint below which a camera does not record colours."""

LIGHTNESS_SLACK = 6.0
"""Difference of lightness that is ignored, because light is uneven and gloss differs."""


@dataclass(frozen=True, slots=True)
class Paint:
    """One colour of the pin: linear RGB in the photograph and in the reference, `area` as a share of the pin,
    `spread` the log ratio of its upper to its lower quartile of brightness in the photograph, `points` its
    pixels in the reference; `metal` is True if its tint may be that of bare metal."""

    photo: Doubles
    reference: Doubles
    area: float
    spread: float
    points: Points
    metal: bool

    @property
    def weight(self) -> float:
        """The paint's weight, 0 to 1: low if it is tiny, or if glare or glitter covers it."""
        return min(1.0, self.area / FULL_WEIGHT_AREA) * float(np.clip((0.9 - self.spread) / 0.5, 0, 1))


def metal_tones(references: dict[View, Reference]) -> list[Doubles]:
    """Lab colours of a pin's bare metal in its catalogue pictures: the median of the back, if there is one,
    then that of the front's rim (which may be enamel)."""
    size = (128, 128)
    tones = []
    for view in (View.BACK, View.FRONT):
        reference = references.get(view)
        if reference is None:
            continue
        small = cv2.resize(reference.rgb, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(reference.mask, size, interpolation=cv2.INTER_NEAREST)
        if view is View.FRONT:
            mask = cv2.erode(mask, np.ones((3, 3), np.uint8)) - cv2.erode(mask, np.ones((5, 5), np.uint8))
        if np.count_nonzero(mask):
            tones.append(np.median(lab_of(as_image(small))[mask > 0], axis=0).astype(np.float64))
    return tones


def metallic(lab: npt.NDArray[np.floating], metals: list[Doubles]) -> Flags:
    """Where a Lab picture has the tint of one of `metals`, at any lightness that reflections cause."""
    found = np.zeros(lab.shape[:-1], bool)
    for tone in metals:
        tint = np.hypot(lab[..., 1] - tone[1], lab[..., 2] - tone[2])
        found |= (tint < 10) & (np.abs(lab[..., 0] - tone[0]) < 25)
    return found


def paints(comparison: Comparison, metals: list[Doubles]) -> list[Paint]:
    """The flat fields of the catalogue picture, by colour, with their colour in both pictures.

    Fields that may be bare metal (`metals`: its Lab colours) are marked, because white enamel and silver look
    similar. Blown highlights and the brighter half of each field, which has the gloss, are not used.
    """
    size = (PICTURE_SIDE, PICTURE_SIDE)
    reference, photo = (
        as_floats(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)) / np.float32(255)
        for rgb in (comparison.target.rgb, comparison.photo)
    )
    inside = cv2.resize(comparison.inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    lab = as_floats(cv2.cvtColor(reference, cv2.COLOR_RGB2LAB))
    slope = np.zeros(size, np.float32)
    for dx in (0, 1):
        for plane in cv2.split(np.abs(cv2.Sobel(lab, cv2.CV_32F, dx, 1 - dx))):
            slope += plane
    flat = (cv2.dilate(slope, np.ones((3, 3), np.uint8)) < 40) & (
        cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0
    )
    flat_pixels = np.flatnonzero(flat)
    lab, reference, photo = (
        plane.reshape(-1, 3).take(flat_pixels, axis=0) for plane in (lab, reference, photo)
    )
    whole = int(
        (cv2.resize(comparison.target.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0).sum()
    )
    found: list[Paint] = []
    scale = comparison.inside.shape[0] / PICTURE_SIDE
    for members in clusters(lab, MIN_PAINT_AREA * whole):
        tone = np.median(lab[members], axis=0)
        photo_colours = photo[members]
        clear = np.maximum.reduce(photo_colours.T) < 0.985
        if clear.mean() < 0.3:
            continue
        colours = linear(photo_colours[clear])
        brightness = np.add.reduce(colours.T)
        low, middle, high = np.percentile(brightness, [10, 55, 75])
        quarter = float(np.percentile(brightness, 25))
        matte = (brightness >= low) & (brightness <= middle)
        reference_colour = np.median(reference[members], axis=0)
        rows, columns = np.divmod(flat_pixels[members], PICTURE_SIDE)
        found.append(
            Paint(
                np.median(colours[matte], axis=0),
                np.asarray(linear(reference_colour), np.float64),
                len(members) / max(whole, 1),
                float(np.log((high + 0.03) / (quarter + 0.03))),
                np.column_stack([columns, rows]).astype(np.float32) * scale,
                bool(metallic(tone, metals)),
            )
        )
    return found


def clusters(lab: Floats, least: float) -> list[npt.NDArray[np.intp]]:
    """Indices of the pixels of each colour cluster, usually the largest first: repeatedly, the densest colour
    cell of the remaining pixels and all pixels within `SAME_PAINT_DISTANCE` of it."""
    groups: list[npt.NDArray[np.intp]] = []
    cells = np.floor((lab + np.array([0, 128, 128])) / 6).astype(np.int64) @ np.array([10_000, 100, 1])
    _, cells = np.unique(cells, return_inverse=True)
    remaining = np.arange(len(lab))
    while len(remaining) > least and len(groups) < MAX_PAINTS:
        colours, cell = lab[remaining], cells[remaining]
        densest = cell == np.bincount(cell).argmax()
        centre = np.median(colours[densest], axis=0)
        for _ in range(2):
            members = _within(colours, centre, SAME_PAINT_DISTANCE)
            centre = np.median(colours[members], axis=0) if members.any() else centre
        members = _within(colours, centre, SAME_PAINT_DISTANCE)
        if members.sum() > least:
            groups.append(remaining[members])
        remaining = remaining[~(densest | _within(colours, centre, 1.3 * SAME_PAINT_DISTANCE))]
    return groups


def _within(lab: Floats, centre: npt.NDArray[np.floating], reach: float) -> Flags:
    away = lab - centre.astype(np.float32)
    return np.asarray(np.einsum("ij,ij->i", away, away) < reach * reach)


def deviations(found: list[Paint]) -> Doubles:
    """How far each paint is from the catalogue's colour under any light that the other paints allow, in
    standard deviations.

    The measure is the profile likelihood ratio of "this paint is under the light of the others" against "it
    is another colour", over all lights: the less the others determine the light, the further a paint must be
    off. The others' costs are bounded, so that another deviating paint does not shift the light.
    """
    photo, reference = (
        np.array([getattr(paint, name) for paint in found], np.float32) for name in ("photo", "reference")
    )
    metal = np.array([paint.metal for paint in found])
    noise = np.where(metal, METAL_NOISE, PAINT_NOISE)
    weight = np.array([paint.weight for paint in found])
    light_determining = ~metal | metal.all()  # the paints that determine how bright the light was
    lights, prior = _lights(photo[light_determining], reference[light_determining])
    differences = _colour_differences(lights, photo, reference, metal)
    cost = 0.5 * np.square(differences / noise)
    bounded = np.minimum(cost, MAX_PAINT_COST_NATS) * weight
    total = bounded.sum(axis=1) + prior
    others = total[:, None] - bounded
    evidence = weight * ((others + cost).min(axis=0) - others.min(axis=0))
    return np.asarray(np.sqrt(2 * np.maximum(evidence, 0.0)), np.float64)


def _lights(photo: Floats, reference: Floats) -> tuple[Floats, Doubles]:
    """Lights (n, 3), as log gains, on a grid of level, warmth and greenness, and the cost of each in nats."""
    levels = np.log(photo.sum(axis=1) + 0.02) - np.log(reference.sum(axis=1) + 0.02)
    low, high = float(levels.min()) - 0.2, float(levels.max()) + 0.2
    warm, green = (
        step * np.arange(-round(3 * deviation / step), round(3 * deviation / step) + 1)
        for deviation, step in ((WARMTH_DEVIATION, WARMTH_STEP), (GREENNESS_DEVIATION, GREENNESS_STEP))
    )
    grid = np.meshgrid(np.linspace(low, high, 1 + round((high - low) / LEVEL_STEP)), warm, green)
    level, warmth, greenness = (axis.ravel() for axis in grid)
    lights = np.stack(
        [
            level + warmth - greenness / 3,
            level + 2 * greenness / 3,
            level - warmth - greenness / 3,
        ],
        axis=1,
    )
    return lights.astype(np.float32), 0.5 * (
        np.square(warmth / WARMTH_DEVIATION) + np.square(greenness / GREENNESS_DEVIATION)
    )


def _colour_differences(lights: Floats, photo: Floats, reference: Floats, metal: Flags) -> Doubles:
    """CIEDE2000 of every paint (columns) under every light (rows: log gains), under its most favourable veil.

    Metal reflects between nearly all and nearly none of the light, depending on the room behind the camera,
    so only its tint is compared.
    """
    level = np.exp(lights.mean(axis=1))[:, None, None]
    tint = np.exp(lights - lights.mean(axis=1, keepdims=True))[:, None, None, :]
    veils = VEIL_LIGHTS * np.minimum(1, 0.3 / np.maximum(level, 0.05))
    expected = reference[None, :, None, :] * tint + veils[..., None]
    photographed = np.maximum(photo, MIN_RECORDED_LIGHT)
    metal_gain = expected @ LUMINANCE / (photographed @ LUMINANCE)[None, :, None]
    gain = np.where(metal[None, :, None], metal_gain, 1 / level)
    expected = lab_of_linear(expected)
    measured = lab_of_linear(photographed[None, :, None, :] * gain[..., None])
    lightness_error = measured[..., 0] - expected[..., 0]
    measured[..., 0] = expected[..., 0] + 0.6 * np.sign(lightness_error) * np.maximum(
        np.abs(lightness_error) - LIGHTNESS_SLACK, 0
    )
    costs = np.arange(len(VEIL_LIGHTS)) / 2
    return np.asarray((difference(expected, measured) + costs).min(axis=2), np.float64)


def regions(comparison: Comparison | None, tilted: Comparison | None, metals: list[Doubles]) -> Measurement:
    """`colour_regions`: whether a paint deviates under every light that the others allow, in both photographs
    of the front if there are two. The value is the largest of the paints' signed roots of twice the
    log-likelihood ratio (`deviations`), in standard deviations.

    Paint shows in both photographs, but a coloured reflection on one field only in one, so the smaller of a
    paint's two deviations is used. Translucent or glittering enamel and a catalogue picture with other
    colours than the pin (a drawing, a scan) affect the value as well. With two paints it is unknown which one
    deviates, only that no plausible light explains both.
    """
    name = "colour_regions"
    views = [view for view in (comparison, tilted) if view is not None]
    if not views:
        return Measurement(name, NOT_COMPARED)
    found = [(view, paints(view, metals)) for view in views]
    if all(len(in_view) < 2 for _, in_view in found):
        return Measurement(name, "fewer than two colours could be compared")
    usable = [(view, in_view) for view, in_view in found if sum(paint.weight > 0.5 for paint in in_view) >= 2]
    if not usable:
        return Measurement(name, "glare or glitter hides the colours")
    view, first = usable[0]
    deviation = deviations(first)
    for _, in_other in usable[1:]:
        deviation = _smaller_deviations(first, deviation, in_other, deviations(in_other))
    worst = int(deviation.argmax())
    score = ramp(float(deviation[worst]), BAD_DEVIATION, NEUTRAL_DEVIATION, GOOD_DEVIATION)
    if score >= SLIGHT_SCORE:
        text = f"The {len(first)} colours match the catalogue's, allowing for the light."
        return Measurement(name, text, score, **view.boxes_of_pin)
    colour = appearance.colour_name(lab_of_linear(first[worst].reference))
    text = f"The {colour} differs from the catalogue's by more than the light explains."
    return Measurement(name, text, score, **view.boxes_around(first[worst].points))


def _smaller_deviations(
    first: list[Paint], deviation: Doubles, other: list[Paint], other_deviation: Doubles
) -> Doubles:
    """The smaller of each paint's deviations in two photographs, times `BOTH_PHOTOGRAPHS_FACTOR`; its only
    deviation if the other photograph does not show the paint."""
    tones = np.array([lab_of_linear(paint.reference) for paint in other])
    lesser = deviation.copy()
    for index, paint in enumerate(first):
        distances = np.linalg.norm(tones - lab_of_linear(paint.reference), axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] < SAME_PAINT_DISTANCE:
            lesser[index] = BOTH_PHOTOGRAPHS_FACTOR * min(deviation[index], other_deviation[nearest])
    return lesser


GOOD_DEVIATION, NEUTRAL_DEVIATION, BAD_DEVIATION = 0.5, 1.7, 3.5
"""Deviation, in standard deviations, of the most deviating of a dozen paints: of a good pin, of one that
gives no evidence, and of another colour."""

BOTH_PHOTOGRAPHS_FACTOR = 1.75
"""Factor for a deviation that two photographs show: on genuine pins, 1.0 in both is as rare (one in ten of 46
simulated ones) as 1.7 in one of them."""
