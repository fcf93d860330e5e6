"""Colour: differences as eyes see them, the paints of a pin, and the evidence row that compares them.

A phone gets colours wrong by more than most counterfeiters do, so nothing is compared absolutely: the light
(a gain for each channel, a veil of reflection) is fitted to all paints at once, and what is judged is the
paint that does not follow the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.comparison import Comparison, lab_of
from pinactors.analysis.evidence import SLIGHT, Finding, box_of, ramp
from pinactors.analysis.model import Points, Reference
from pinactors.protocol import View

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

SIDE = 256
"""Side of the pictures paints are looked for in."""

LEAST_AREA = 0.006
"""Share of the pin below which a paint is not looked at."""

MOST_PAINTS = 12

SAME_PAINT = 10.0
"""Distance in Lab within which pixels of the catalogue picture are one paint."""

VEILS = np.array([0.0, 0.01, 0.02, 0.04, 0.07, 0.11])
"""Reflected light, in linear units of a white paint, that may lie over a paint; each step costs half a
unit."""

LIGHT_PRIOR = 12.0
"""What a channel's gain costs for each unit of its logarithm away from the others' mean, in mean colour
difference: phones' white balance is rarely off by more than a tenth."""

LIGHTNESS_SLACK = 6.0
"""Lightness may differ by this much for nothing: light is uneven, gloss differs."""


@dataclass(frozen=True, slots=True)
class Paint:
    """One enamel colour: linear RGB in the photograph and in the reference, `area` as a share of the pin,
    `spread` the log ratio of its brighter to its darker quartile in the photograph, `points` where it lies
    (reference)."""

    photo: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]
    area: float
    spread: float
    points: Points


def linear(rgb: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """sRGB, 0 to 1, to linear light (IEC 61966-2-1)."""
    values = np.asarray(rgb, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab_of_linear(rgb: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Linear RGB (…, 3), clipped to 0 to 1, to CIE Lab under D65."""
    values = np.clip(np.asarray(rgb, np.float64), 0, 1)
    encoded = np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    flat = encoded.reshape(1, -1, 3).astype(np.float32)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2LAB), np.float64).reshape(values.shape)


def difference(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """CIEDE2000 (Sharma, Wu and Dalal 2005) of Lab colours (…, 3)."""
    l1, a1, b1 = np.moveaxis(np.asarray(first, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second, np.float64), -1, 0)
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180
    turn = np.where(c1 * c2 == 0, 0.0, turn)
    hue = (h1 + turn / 2) % 360
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    lightness, chroma = (l1 + l2) / 2 - 50, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    sl = 1 + 0.015 * lightness**2 / np.sqrt(20 + lightness**2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rotation = (
        -2
        * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
        * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    )
    return np.asarray(
        np.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + rotation * (dc / sc) * (dh / sh))
    )


def metal_tones(references: dict[View, Reference]) -> list[Values]:
    """Lab colours of a pin's bare metal as its catalogue pictures show it: the back's median, where there is
    one, then the front's rim's (which may be enamel)."""
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
            tones.append(np.median(lab_of(np.asarray(small, np.uint8))[mask > 0], axis=0).astype(np.float64))
    return tones


def metallic(lab: npt.NDArray[np.floating], metals: list[Values]) -> npt.NDArray[np.bool_]:
    """Where a Lab picture has a metal's tint, at any lightness a reflection gives it."""
    found = np.zeros(lab.shape[:-1], bool)
    for tone in metals:
        tint = np.hypot(lab[..., 1] - tone[1], lab[..., 2] - tone[2])
        found |= (tint < 10) & (np.abs(lab[..., 0] - tone[0]) < 25)
    return found


def paints(seen: Comparison, metals: list[Values]) -> list[Paint]:
    """The flat fields of the catalogue picture, by colour, with their colour in both pictures.

    Bare metal mirrors its surroundings and is left out (`metals`: its Lab colours); blown highlights and the
    brighter half of each field, where gloss lies, as well.
    """
    size = (SIDE, SIDE)
    reference = np.asarray(cv2.resize(seen.reference, size, interpolation=cv2.INTER_AREA), np.float32)
    photo = np.asarray(cv2.resize(seen.photo, size, interpolation=cv2.INTER_AREA), np.float32)
    inside = cv2.resize(seen.inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    lab = np.asarray(cv2.cvtColor(reference, cv2.COLOR_RGB2LAB), np.float32)
    slope = sum(np.abs(cv2.Sobel(lab, cv2.CV_32F, dx, 1 - dx)).sum(axis=2) for dx in (0, 1))
    flat = (cv2.dilate(np.asarray(slope, np.float32), np.ones((3, 3), np.uint8)) < 40) & (
        cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0
    )
    rows, columns = np.nonzero(flat)
    whole = int(
        (cv2.resize(seen.reference_mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0).sum()
    )
    found: list[Paint] = []
    scale = seen.inside.shape[0] / SIDE
    for members in clusters(lab[rows, columns], LEAST_AREA * whole):
        tone = np.median(lab[rows[members], columns[members]], axis=0)
        if metallic(tone, metals):
            continue
        here = photo[rows[members], columns[members]]
        clear = here.max(axis=1) < 0.985
        if clear.mean() < 0.3:
            continue
        colours = linear(here[clear])
        brightness = colours.sum(axis=1)
        low, middle, high = np.percentile(brightness, [10, 55, 75])
        quarter = float(np.percentile(brightness, 25))
        matte = (brightness >= low) & (brightness <= middle)
        there = linear(reference[rows[members], columns[members]])
        found.append(
            Paint(
                np.median(colours[matte], axis=0),
                np.median(there, axis=0),
                len(members) / max(whole, 1),
                float(np.log((high + 0.03) / (quarter + 0.03))),
                np.column_stack([columns[members], rows[members]]).astype(np.float32) * scale,
            )
        )
    return found


def clusters(lab: Floats, least: float) -> list[npt.NDArray[np.intp]]:
    """Indices of pixels by colour, the largest first: the densest cell of what is left, and all around it."""
    groups: list[npt.NDArray[np.intp]] = []
    left = np.ones(len(lab), bool)
    cells = np.floor((lab + np.array([0, 128, 128])) / 6).astype(np.int64) @ np.array([10_000, 100, 1])
    while left.sum() > least and len(groups) < MOST_PAINTS:
        values, counts = np.unique(cells[left], return_counts=True)
        centre = np.median(lab[left & (cells == values[counts.argmax()])], axis=0)
        for _ in range(2):
            near = left & (np.linalg.norm(lab - centre, axis=1) < SAME_PAINT)
            centre = np.median(lab[near], axis=0) if near.any() else centre
        near = left & (np.linalg.norm(lab - centre, axis=1) < SAME_PAINT)
        if near.sum() > least:
            groups.append(np.flatnonzero(near))
        left &= np.linalg.norm(lab - centre, axis=1) >= 1.3 * SAME_PAINT
        left &= cells != values[counts.argmax()]
    return groups


def fit_light(found: list[Paint]) -> npt.NDArray[np.float64]:
    """How far each paint is from what the light common to all makes of the catalogue's colour (CIEDE2000).

    The gains are those with the least area-weighted, bounded sum of differences (an M-estimate, started from
    every paint and every pair), so a paint that is off does not drag the light along.
    """
    photo, reference = (
        np.array([getattr(paint, name) for paint in found]) for name in ("photo", "reference")
    )
    weights = np.sqrt(np.array([paint.area for paint in found]))
    weights = weights / weights.sum()
    gains = np.log(photo + 0.008) - np.log(reference + 0.008)
    lit = (photo.sum(axis=1) > 0.04) & (reference.sum(axis=1) > 0.04)
    starts = gains[lit] if lit.any() else gains
    pairs = [(starts[i] + starts[j]) / 2 for i in range(len(starts)) for j in range(i)]
    tries = np.concatenate([starts, np.array(pairs).reshape(-1, 3)])
    mean = tries.mean(axis=1, keepdims=True)
    light = np.concatenate([mean + share * (tries - mean) for share in (0.0, 0.5, 1.0)])
    light, cost = _best(light, photo, reference, weights)
    moves = np.concatenate([np.eye(3), -np.eye(3), np.ones((1, 3)), -np.ones((1, 3))])
    for step in (0.16, 0.08, 0.04, 0.02):
        for _ in range(4):
            better, lower = _best(light + step * moves, photo, reference, weights)
            if lower >= cost - 1e-3:
                break
            light, cost = better, lower
    return np.asarray(_apart(light[None], photo, reference)[0], np.float64)


def _best(
    lights: npt.NDArray[np.float64],
    photo: npt.NDArray[np.float64],
    reference: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], float]:
    apart = np.minimum(_apart(lights, photo, reference), 18.0)
    tint = np.abs(lights - lights.mean(axis=1, keepdims=True)).max(axis=1)
    costs = apart @ weights + LIGHT_PRIOR * tint
    return lights[costs.argmin()], float(costs.min())


def _apart(
    lights: npt.NDArray[np.float64], photo: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """CIEDE2000 of every paint (columns) under every light (rows: log gains), under its most favourable
    veil."""
    level = np.exp(lights.mean(axis=1))[:, None, None, None]
    tint = np.exp(lights - lights.mean(axis=1, keepdims=True))[:, None, None, :]
    veils = VEILS[None, None, :, None] * np.minimum(1, 0.3 / np.maximum(level, 0.05))
    expected = lab_of_linear(reference[None, :, None, :] * tint + veils)
    measured = np.broadcast_to(lab_of_linear(photo[None, :, None, :] / level), expected.shape).copy()
    off = measured[..., 0] - expected[..., 0]
    measured[..., 0] = expected[..., 0] + 0.6 * np.sign(off) * np.maximum(np.abs(off) - LIGHTNESS_SLACK, 0)
    return np.asarray((difference(expected, measured) + 0.5 * np.arange(len(VEILS))).min(axis=2))


def regions(seen: Comparison | None, metals: list[Values]) -> Finding:
    """`colour_regions`: a paint that is off when the light explains all the others.

    With two paints there is no telling which is off, only that they do not go together, and light alone could
    do some of that: it counts half.
    """
    name = "colour_regions"
    if seen is None:
        return Finding(name, "no catalogue picture of the front to compare colours with")
    found = paints(seen, metals)
    if len(found) < 2:
        return Finding(name, "fewer than two paints could be compared")
    apart = fit_light(found)
    trust = np.array(
        [min(1.0, paint.area / 0.03) * np.clip((0.9 - paint.spread) / 0.5, 0, 1) for paint in found]
    )
    if np.count_nonzero(trust > 0.5) < 2:
        return Finding(name, "glare or glitter hides the paints")
    worst = int((apart * trust).argmax())
    off = float(apart[worst] * trust[worst])
    score = ramp(off, 17.0, 8.5, 3.0) * (1.0 if len(found) > 2 else 0.7)
    if score >= SLIGHT:
        return Finding(name, f"{len(found)} colours stand to each other as the catalogue's do.", score)
    text = f"One colour is {off:.0f} ΔE00 off when the light explains the others."
    return Finding(name, text, score, box_of(seen.view, seen.to_working(found[worst].points)))
