"""Evidence from the back's pattern: whether there is a lattice, the catalogue's lattice, and one that runs
off the edge.

The pattern is measured in the reference's pixels if there is a reference, else in those of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.evidence.comparison import Comparison, Target, lab_of
from pinactors.analysis.evidence.fitting import edge_map
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, ramp
from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.imaging.lattice import (
    CLEAR_GRID,
    CLEAR_LATTICE,
    Lattice,
    autocorrelation,
    grid,
    lattice,
)
from pinactors.analysis.model import Cutout, Flags, Floats, Points, PreparedView

MIN_PERIOD_PIXELS = 12.0
"""Least length of a period, in pixels of the photograph, for the pattern to be judged."""

MIN_PATTERN_SHARE = 0.35
"""Share of the back that must remain without the stamp for the pattern to be measured without it."""

SAME_PERIOD = 0.05
"""Largest relative difference of two lattices' shortest repeats that count as equally long."""

NEAREST_REPEATS = 2.2
"""Length, relative to the shortest, up to which the catalogue's repeats are searched in a photograph."""

SAME_LATTICE_EXCESS, NEUTRAL_LATTICE_EXCESS, OTHER_LATTICE_EXCESS = 0.0, 0.25, 0.45
"""Autocorrelation of a photograph's strongest repeat minus that of the catalogue's repeats: of the same
lattice, of one that gives no evidence, and of another lattice. Of 94 genuine simulated backs two had more
than the second, of 9 with another lattice one had less than the third."""

PLAIN_SCORE = -0.5
"""Score of a back without a visible pattern, but with a legible stamp, that could not be registered on the
picture of a back with a pattern. Of 480 simulated photo sets of known pins 6 of 24 without their pattern were
like this and no genuine one; by the pattern alone 4 of 179 genuine ones looked plain."""

RIM_FROM, RIM_TO = 0.022, 0.055
"""The band along the outline where a rim would be, in pin diameters. A rim is one to two millimetres of
thirty-five; nearer to the edge the shading of the bevel dominates."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The measurements of the back's pattern. `photo_lattice` is the photograph's lattice,
    `reference_lattice` the reference's (None if there is none with an outline); `shared` how strongly the
    reference's nearest repeats show in the photograph (`_shared_strength`). `edge_ratio` and
    `reference_edge_ratio` are the log ratio of the gradient along the outline to that across it, in the
    photograph and in the reference (None if too little edge is visible). `period` is in pixels of the
    photograph, that of the reference's pattern if there is one. `catalogued` is True if the catalogue has a
    picture of the back, `registered` if the photograph was registered on it, `legible` if the photograph's
    stamp can be read."""

    photo_lattice: Lattice
    reference_lattice: Lattice | None
    shared: float
    edge_ratio: float | None
    reference_edge_ratio: float | None
    period: float
    repeating: bool
    catalogued: bool
    registered: bool
    legible: bool


def measure(
    back: PreparedView,
    comparison: Comparison | None,
    text: Sequence[Points] = (),
    *,
    picture: Target | None = None,
    legible: bool = False,
) -> Pattern | None:
    """The pattern of a back, compared with the reference if the two could be registered: normalised
    autocorrelation of the relief (no unit, -1 to 1), its period in pixels, and at the outline the log ratio
    of mean gradients along and across it. Blur and glare also weaken the pattern, a catalogue back of another
    production run changes it; the bevel's shading affects the ratio. None without a pin.

    `text` are the lines of the catalogue's stamp in reference pixels. They are left out, because letters and
    lines repeat as well. `picture` is the catalogue's picture of the back, if it has one, which is used if
    the two could not be registered; `legible` says whether the stamp can be read."""
    if back.pin is None:
        return None
    if comparison is None:
        lightness, inside = lab_of(back.pin.rgb)[..., 0], back.pin.crop_mask > 127
        photo_lattice = lattice(autocorrelation(lightness, _core(inside)))
        along = _along_over_across(lightness, inside, _outline_frame(inside))
        repeating = (
            photo_lattice.strength >= CLEAR_LATTICE or grid(_edge_autocorrelation(back.pin)) >= CLEAR_GRID
        )
        reference_lattice = None
        if picture is not None and picture.reference.outlined:
            reference_lattice = lattice(autocorrelation(picture.lab[..., 0], _core(picture.mask)))
        period = (reference_lattice or photo_lattice).period / float(back.pin.to_crop[0, 0]) / back.scale
        return Pattern(
            photo_lattice,
            reference_lattice,
            0.0,
            along,
            None,
            period,
            repeating,
            catalogued=picture is not None,
            registered=False,
            legible=legible,
        )
    core = _core(comparison.target.mask)
    if text:
        letters = np.zeros(core.shape, np.uint8)
        for quad in text:
            centre = quad.mean(axis=0)
            cv2.fillPoly(letters, [((quad - centre) * 1.1 + centre).astype(np.int32)], 1)
        if np.count_nonzero(core & (letters == 0)) > MIN_PATTERN_SHARE * np.count_nonzero(core):
            core &= letters == 0
    photo, reference = comparison.photo_lab[..., 0], comparison.target.lab[..., 0]
    reference_lattice = lattice(autocorrelation(reference, core))
    correlogram = autocorrelation(photo, core & comparison.inside)
    shared = _shared_strength(reference_lattice, correlogram)
    frame = _outline_frame(comparison.target.mask)
    photo_lattice = lattice(correlogram)
    return Pattern(
        photo_lattice,
        reference_lattice,
        shared,
        _along_over_across(photo, comparison.inside, frame),
        _along_over_across(reference, comparison.inside, frame),
        reference_lattice.period * comparison.resolution / back.scale,
        photo_lattice.strength >= CLEAR_LATTICE,
        catalogued=True,
        registered=True,
        legible=legible,
    )


def _shared_strength(reference_lattice: Lattice, correlogram: Floats) -> float:
    """How strongly the nearest repeats of a lattice show in another picture's autocorrelation, relative to
    their own strength: the value of the best one, 0 to 1. Farther repeats are not used, because they show
    only if both lattice and registration are perfect."""
    if not len(reference_lattice.repeats):
        return 0.0
    length = np.hypot(reference_lattice.repeats[:, 0], reference_lattice.repeats[:, 1])
    near = cv2.dilate(correlogram, np.ones((3, 3), np.uint8))
    middle = correlogram.shape[0] // 2
    found = [
        near[round(y) + middle, round(x) + middle] / strength
        for x, y, strength in reference_lattice.repeats[length <= NEAREST_REPEATS * length.min()]
    ]
    return float(np.clip(max(found), 0.0, 1.0))


def rows(pattern: Pattern | None) -> list[Measurement]:
    """The three rows of the back's pattern."""
    return [_edge_runoff(pattern), _regularity(pattern), _absent(pattern)]


def _unusable(pattern: Pattern | None) -> str:
    """Why a pattern cannot be compared with the catalogue's; empty if it can."""
    if pattern is None:
        return "no pin was found in the photograph of the back"
    if not pattern.registered:
        return (
            "the back could not be registered on its catalogue picture"
            if pattern.catalogued
            else "no catalogue picture of the back to compare the pattern with"
        )
    return _unclear(pattern)


def _unclear(pattern: Pattern) -> str:
    """Why the catalogue's pattern would not be visible in the photograph; empty if it would."""
    if pattern.reference_lattice is None or pattern.reference_lattice.strength < CLEAR_LATTICE:
        return "the catalogue's back has no clear repeating pattern"
    if pattern.period < MIN_PERIOD_PIXELS:
        return "the pattern is too small in the photograph of the back"
    return ""


def _absent(pattern: Pattern | None) -> Measurement:
    """`waffle_absent`: whether the repeating pattern of the catalogue's back is missing."""
    name, problem = "waffle_absent", _unusable(pattern)
    if pattern is not None and not pattern.registered:
        shows = "a repeating pattern is visible" if pattern.repeating else "no repeating pattern is visible"
        if pattern.legible and not pattern.repeating and not _unclear(pattern):
            return Measurement(name, LOOKS_PLAIN, PLAIN_SCORE)
        return Measurement(name, f"{shows}; {problem}")
    if problem or pattern is None or pattern.reference_lattice is None:
        return Measurement(name, problem)
    strength = max(pattern.photo_lattice.strength, pattern.shared * pattern.reference_lattice.strength)
    score = ramp(strength, 0.15, 0.23, CLEAR_LATTICE)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The back has a repeating pattern, like the catalogue's.", score)
    return Measurement(name, LOOKS_PLAIN, score)


LOOKS_PLAIN = "The back looks plain, but the catalogue's has a pattern."


def _regularity(pattern: Pattern | None) -> Measurement:
    """`waffle_regularity`: whether the repeats have the distance and direction of the catalogue's."""
    name, problem = "waffle_regularity", _unusable(pattern)
    if problem or pattern is None or pattern.reference_lattice is None:
        return Measurement(name, problem)
    excess = pattern.photo_lattice.strength - pattern.shared * pattern.reference_lattice.strength
    if pattern.photo_lattice.strength < CLEAR_LATTICE and pattern.shared < 0.5:
        return Measurement(name, "no repeating pattern clear enough to measure")
    if excess < NEUTRAL_LATTICE_EXCESS:
        text = "The pattern repeats at the same distance and in the same direction as the catalogue's."
        return Measurement(name, text, ramp(pattern.shared, 0.0, 0.3, 0.8))
    ratio = pattern.photo_lattice.period / pattern.reference_lattice.period
    text = (
        f"The pattern's shapes are {ratio:.2f} times as far apart as the catalogue's."
        if abs(ratio - 1) > SAME_PERIOD
        else "The pattern runs in a different direction from the catalogue's."
    )
    score = ramp(excess, OTHER_LATTICE_EXCESS, NEUTRAL_LATTICE_EXCESS, SAME_LATTICE_EXCESS)
    return Measurement(name, text, score)


def _edge_runoff(pattern: Pattern | None) -> Measurement:
    """`waffle_edge_runoff`: whether the pattern runs off the edge or ends at a smooth rim.

    The relief of a rim changes only across the edge, that of a pattern also along it. The value is the ratio
    of the gradient along the outline to that across it, near the outline, compared with the same in the
    catalogue's back. If the catalogue has no picture of the back, the ratio itself counts half as much,
    because older genuine pins have rims. If it has one that could not be registered, the row is not assessed:
    that back may have a rim as well.
    """
    name = "waffle_edge_runoff"
    if pattern is None:
        return Measurement(name, _unusable(pattern))
    if pattern.edge_ratio is None:
        return Measurement(name, "too little of the back's edge is visible")
    if not pattern.catalogued:
        if pattern.photo_lattice.strength < CLEAR_LATTICE or pattern.period < MIN_PERIOD_PIXELS:
            return Measurement(name, "no repeating pattern is clear enough at the edge to judge")
        score = 0.5 * ramp(pattern.edge_ratio, -0.7, -0.35, 0.0)
    else:
        problem = _unusable(pattern)
        if problem:
            return Measurement(name, problem)
        if pattern.reference_edge_ratio is None or pattern.reference_edge_ratio < -0.5:
            return Measurement(name, "the catalogue's own back has a rim")
        score = ramp(pattern.edge_ratio - pattern.reference_edge_ratio, -0.4, -0.2, 0.0)
        if pattern.shared < 0.35 and pattern.photo_lattice.strength < CLEAR_LATTICE:
            # Cutting the pattern off makes it faint, but a faint pattern also looks as if it were cut off. A
            # missing one is judged by `waffle_absent`.
            score *= 0.5
            if score >= SLIGHT_SCORE or (_absent(pattern).score or 0.0) < SLIGHT_SCORE:
                return Measurement(name, "no repeating pattern is clear enough at the edge to judge")
    if score < SLIGHT_SCORE:
        return Measurement(name, "The pattern ends at a smooth rim along the edge.", score)
    return Measurement(name, "The pattern runs off the edge.", score)


def _edge_autocorrelation(pin: Cutout) -> Floats:
    """The autocorrelation of the edge map, which also shows faint edges: outlines of thin or shallow
    figures."""
    edges = cv2.GaussianBlur(edge_map(pin.rgb, pin.crop_mask, 256), (0, 0), 2)
    core = cv2.resize(
        _core(pin.crop_mask > 127).astype(np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST
    )
    inner = cv2.erode(core, np.ones((7, 7), np.uint8)) > 0
    return autocorrelation(as_floats(edges) * 100, inner, reach=6.0)


def _core(mask: Flags) -> Flags:
    """The mask without its border, whose bevel is no part of the pattern."""
    core: Flags = cv2.erode(mask.astype(np.uint8), np.ones((15, 15), np.uint8), borderValue=0) > 0
    return core


def _outline_frame(mask: Flags) -> tuple[Floats, Floats, Floats]:
    """Distance to the outline in diameters, and x and y of the outline's unit normal, for every pixel."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    smooth = cv2.GaussianBlur(distance, (0, 0), 3)
    nx, ny = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    length = np.hypot(nx, ny) + 1e-6
    diameter = 2 * float(np.sqrt(mask.sum() / np.pi))
    return (
        as_floats(distance / diameter),
        as_floats(nx / length),
        as_floats(ny / length),
    )


def _along_over_across(
    lightness: Floats, inside: Flags, frame: tuple[Floats, Floats, Floats]
) -> float | None:
    """Log ratio of the mean gradient along the outline to that across it, in the band of a rim; None if too
    little of the band is visible."""
    distance, nx, ny = frame
    rim = inside & (distance > RIM_FROM) & (distance < RIM_TO)
    if rim.sum() < 800:
        return None
    lightness = as_floats(cv2.GaussianBlur(lightness, (0, 0), 1.4))
    dx, dy = cv2.Sobel(lightness, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(lightness, cv2.CV_32F, 0, 1) / 8
    along, across = np.abs(dy * nx - dx * ny)[rim], np.abs(dx * nx + dy * ny)[rim]
    # Means of roots: a few bright burrs or a highlight must not outweigh the rest of the edge.
    levels = [2 * np.log(float(np.sqrt(part).mean()) + 0.05) for part in (along, across)]
    return float(levels[0] - levels[1])
