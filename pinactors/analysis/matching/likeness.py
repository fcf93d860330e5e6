"""Measures the similarity of two registered pins in outline, lines and colours, each independent of the
light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis.imaging.colorimetry import encoded
from pinactors.analysis.imaging.geometry import as_floats, as_image, at_side, dot
from pinactors.analysis.imaging.portrait import COARSE_SIDE, PORTRAIT_SIDE, Portrait, line_field
from pinactors.analysis.model import CROP_SIDE, Flags, Floats, Matrix

_SAMPLE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_CENTRE = as_floats((np.arange(COARSE_SIDE) - (COARSE_SIDE - 1) / 2) / COARSE_SIDE)

LIGHTNESS_SHARE = 0.6
NEIGHBOURHOOD_PIXELS = 8.0
QUIET_VARIANCE = 0.05
RIM_PIXELS = 7
"""Side of the erosion kernel that separates the rim, in pixels of the coarse picture: twice the rim's width
plus one."""
HAZE_LIGHT = 0.02
"""Added to linear light before its logarithm is taken: dark pixels hold noise and haze rather than colour."""
MIN_INNER_PIXELS = 60
"""Least number of pixels of the coarse picture inside both outlines for comparing colours."""
CHROMA_NOISE = 1.5
"""Spread of chroma, in Lab units, below which it is noise: that of catalogue pictures of bare metal and black
enamel, whose photographs correlate with them by chance."""
MIN_LINE_AGREEMENT = 0.5
"""Local correlation of lines above which a pixel shows the pin in both pictures: an outline may include parts
of a card or a cloth, whose colours are not informative."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How well a registered photograph's outline, lines and colours agree with a catalogue picture's.

    `outline`: intersection over union; `inner_lines`: correlation of the line fields away from the outline
    (-1 to 1), `worst_lines`: the tenth percentile of their local correlation. The others are measured after
    the light is fitted. `chroma`: correlation of the chroma pattern where lines agree; `light_tint`: how
    coloured the fitted light is (length of the log gains of red and blue over green); `rim_tint`: the
    remaining difference of median a*, b* on the rim, which is bare metal.
    """

    outline: float
    inner_lines: float
    worst_lines: float
    chroma: float
    light_tint: float
    rim_tint: float


DIFFERENCE_LINES, DIFFERENCE_COLOURS, MAX_DIFFERENCE_LOG_ODDS = 4.0, 4.0, 5.0
"""Log odds for a pin whose lines, or colours, agree with the photograph wherever two pins differ, and the
bound of their sum. Among 1,043 pins, three quarters of them mirrored or recoloured copies of the others, 1 of
24 close decisions was wrong without this comparison and none with it."""


def compare(query: Portrait, reference: Portrait, to_query: Matrix) -> Likeness | None:
    """Compares `query` with the reference in the reference's frame; None if they hardly overlap."""
    seen, mask = _warped_colours(query, to_query)
    known = reference.coarse[1]
    shared = np.minimum(mask, known)
    outline = float(shared.sum() / max(float(np.maximum(mask, known).sum()), 1.0))
    inner = _inner(shared)
    if inner.sum() < MIN_INNER_PIXELS:
        return None
    lab_seen, lab_lit, light_tint = _under_same_light(seen, reference.linear, inner)
    rim = (shared > 0.9) & (np.asarray(cv2.erode(known, np.ones((RIM_PIXELS, RIM_PIXELS), np.uint8))) < 0.9)
    rim_tint = 0.0
    if rim.sum() > 20:
        rim_difference = np.median(lab_seen[rim], axis=0) - np.median(lab_lit[rim], axis=0)
        rim_tint = float(np.hypot(rim_difference[1], rim_difference[2]))
    inner_lines, around, places = _line_agreement(query, reference, to_query)
    worst_lines = float(np.percentile(around[places], 10)) if places.any() else 0.0
    chroma = _chroma(seen, reference.linear, inner, around)
    return Likeness(outline, inner_lines, worst_lines, chroma, light_tint, rim_tint)


def _chroma(seen: Floats, known: Floats, inner: Flags, around: Floats) -> float:
    """Correlation of a*, b* under the same light over the inner pixels where lines agree, or over all inner
    pixels if fewer than half agree (in another pin's picture some agree by chance). Each pixel of the
    photograph is compared with the most similar of nine pixels of the catalogue picture, so that alignment
    errors at a field's edge do not count."""
    agree = inner & (
        cv2.resize(around, (COARSE_SIDE, COARSE_SIDE), interpolation=cv2.INTER_LINEAR) > MIN_LINE_AGREEMENT
    )
    where = agree if 2 * agree.sum() >= inner.sum() else inner
    lab_seen, lab_lit, _ = _under_same_light(seen, known, where)
    nearest = _nearest(lab_seen, lab_lit)
    return _correlation(nearest[where][:, 1:], lab_seen[where][:, 1:])


def _nearest(seen: Floats, known: Floats) -> Floats:
    """For each pixel, the colour of `known` at that pixel or one of its eight neighbours that is most similar
    to `seen`'s."""
    shifted = np.stack([np.roll(known, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    away = np.square((shifted - seen) * as_floats([NEAREST_LIGHTNESS_SHARE, 1, 1])).sum(3)
    return as_floats(np.take_along_axis(shifted, away.argmin(0)[None, ..., None], 0)[0])


NEAREST_LIGHTNESS_SHARE = 0.3
"""Weight of lightness in that choice: metal's lightness changes with reflections, enamel's hue does not."""


def compare_differences(
    query: Portrait, first: Portrait, second: Portrait, first_to_query: Matrix, second_to_query: Matrix
) -> float:
    """Natural log odds that the photograph shows the first of two pins and not the second, measured only
    where the two differ: variants of one drawing resemble each other, and the photograph, nearly
    everywhere."""
    to_second = np.linalg.inv(second_to_query) @ first_to_query
    lines = DIFFERENCE_LINES * _nearer_in_lines(query, first, second, first_to_query, to_second)
    colours = DIFFERENCE_COLOURS * _nearer_in_colours(query, first, second, first_to_query, to_second)
    return float(np.clip(lines + colours, -MAX_DIFFERENCE_LOG_ODDS, MAX_DIFFERENCE_LOG_ODDS))


def _nearer_in_lines(
    query: Portrait, first: Portrait, second: Portrait, to_query: Matrix, to_second: Matrix
) -> float:
    """1 if the photograph's line field equals the first's where the two differ, -1 if it equals the second's,
    0 if the two hardly differ."""
    photo, seen = _warped_lines(query, to_query)
    other, known = _warped_lines(second, to_second)
    inside = np.minimum(np.minimum(seen, known), first.mask / np.float32(255))
    inside = cv2.erode(as_floats(inside), np.ones((5, 5), np.uint8))[..., None]
    difference = (first.lines - other) * inside
    power = float(np.square(difference).sum())
    both = float(((np.square(first.lines) + np.square(other)) * inside).sum())
    share = power / max(both, 1e-6)
    weight = float(np.clip((share - SAME_LINES_SHARE) / (OTHER_LINES_SHARE - SAME_LINES_SHARE), 0, 1))
    if weight == 0:
        return 0.0
    position = float(((photo - other) * difference).sum()) / power  # 0 at the second, 1 at the first
    beyond = max(0.0, -position, position - 1)  # a field far beyond either resembles neither
    return weight * float(np.clip(2 * position - 1, -1, 1)) * max(0.0, 1 - 2 * beyond)


SAME_LINES_SHARE, OTHER_LINES_SHARE = 0.03, 0.06
"""Share of the lines' power in which two pins differ: up to the first value it is attributed to registration
errors, from the second on to the pins."""


def _nearer_in_colours(
    query: Portrait, first: Portrait, second: Portrait, to_query: Matrix, to_second: Matrix
) -> float:
    """Like `_nearer_in_lines`, for colours, each pin under the light that fits it best: how much nearer the
    photograph's colours are to the first's than to the second's, over the distance between the two."""
    photo, seen = _warped_colours(query, to_query)
    other, known = _warped_colours(second, to_second)
    shared = np.minimum(np.minimum(seen, known), first.coarse[1])
    inner = _inner(as_floats(shared))
    if inner.sum() < MIN_INNER_PIXELS:
        return 0.0
    scale = as_floats([LIGHTNESS_SHARE, 1.0, 1.0])
    lit, distances = [], []
    for expected in (first.linear, other):
        photo_lab, reference_lab, _ = _under_same_light(photo, expected, inner)
        lit.append(reference_lab * scale)
        distances.append(
            np.minimum(np.linalg.norm((photo_lab - reference_lab) * scale, axis=2), MAX_PIXEL_DIFFERENCE)
        )
    difference = np.linalg.norm(lit[0] - lit[1], axis=2)
    differing = inner & (difference > MIN_PIN_DIFFERENCE)
    nearer = float((distances[1] - distances[0])[differing].sum())
    return nearer / max(float(difference[differing].sum()), 1e-6)


MAX_PIXEL_DIFFERENCE, MIN_PIN_DIFFERENCE = 25.0, 8.0
"""Colour differences (Lab units, lightness weighted by 0.6): the bound of a pixel's difference, so that a
reflection does not decide, and the difference above which two pins differ at a pixel."""


def _warped_lines(portrait: Portrait, to_portrait: Matrix) -> tuple[Floats, Floats]:
    """Line field and mask (0 to 1) of a portrait in another's frame, `to_portrait` in crop pixels."""
    matrix, size = at_side(to_portrait, CROP_SIDE, PORTRAIT_SIDE), (PORTRAIT_SIDE, PORTRAIT_SIDE)
    picture = cv2.warpPerspective(portrait.rgb, matrix, size, flags=_SAMPLE, borderMode=cv2.BORDER_REPLICATE)
    mask = as_floats(cv2.warpPerspective(portrait.mask, matrix, size, flags=_SAMPLE)) / np.float32(255)
    return line_field(as_image(picture), mask), mask


def _warped_colours(portrait: Portrait, to_portrait: Matrix) -> tuple[Floats, Floats]:
    """Light and mask (0 to 1) of a portrait in another's frame, `to_portrait` in crop pixels."""
    matrix = at_side(to_portrait, CROP_SIDE, COARSE_SIDE)
    light, mask = (
        as_floats(cv2.warpPerspective(plane, matrix, (COARSE_SIDE, COARSE_SIDE), flags=_SAMPLE))
        for plane in (portrait.linear, portrait.coarse[1])
    )
    return light, mask


def _inner(shared: Floats) -> Flags:
    """The pixels that lie inside together with their eight neighbours."""
    return np.asarray(cv2.erode(shared, np.ones((3, 3), np.uint8)) > 0.9)


def _under_same_light(seen: Floats, expected: Floats, inner: Flags) -> tuple[Floats, Floats, float]:
    """Both pictures in Lab, the reference under the photograph's light, and that light's tint."""
    gains, tint = _fit_light(seen, expected, inner)
    lit = (expected + HAZE_LIGHT) * gains - HAZE_LIGHT
    exposure = max(1e-3, float(np.percentile(lit[inner].max(1), 98)))
    return _to_lab(as_floats(seen / exposure)), _to_lab(as_floats(lit / exposure)), tint


_CHANNEL_PARAMETERS = np.array(
    [
        [[1, of_red, of_blue, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
        for of_red, of_blue in ((1, 0), (0, 0), (0, 1))
    ],
    np.float64,
)
"""For each channel (red, green, blue), the matrix from the five parameters (level, red over green, blue over
green, slope across, slope down) to level, slope across and slope down of the channel's log gain."""


def _fit_light(seen: Floats, expected: Floats, inner: Flags) -> tuple[Floats, float]:
    """Gains (COARSE_SIDE, COARSE_SIDE, 3) from the reference's light to the photograph's, and the length of
    their tint. A gain for each colour channel and a common slope over the pin are fitted robustly to log
    ratios. The light's colour is not restricted, so that its tint is evidence: lights are nearly white, other
    plating is not."""
    expected_light, seen_light = expected[inner], seen[inner]
    ratio = np.log(seen_light + HAZE_LIGHT) - np.log(expected_light + HAZE_LIGHT)
    ys, xs = np.nonzero(inner)
    places = np.stack([np.ones(len(xs), np.float32), _CENTRE[xs], _CENTRE[ys]])
    bright = expected_light.mean(1) + 0.05
    bright /= bright.mean()
    weight = bright
    ridge = np.diag([0, 0.02, 0.02, 0.05, 0.05]) * len(xs)
    solution = np.zeros(5)
    for _ in range(4):
        weighted = places * weight
        spread, shared = weighted @ places.T, weighted @ ratio
        normal = sum(part.T @ spread @ part for part in _CHANNEL_PARAMETERS)
        target = sum(part.T @ column for part, column in zip(_CHANNEL_PARAMETERS, shared.T, strict=True))
        solution = np.linalg.solve(normal + ridge, target)
        deviation = np.abs(ratio.T - (_CHANNEL_PARAMETERS @ solution).astype(np.float32) @ places)
        weight = bright / np.maximum(1, np.maximum.reduce(deviation) / 0.15)
    level, red, blue, slope_x, slope_y = (float(value) for value in solution)
    slope = level + slope_x * _CENTRE[None, :] + slope_y * _CENTRE[:, None]
    gains = np.exp(slope[..., None] + np.array([red, 0, blue]))
    return as_floats(gains), math.hypot(red, blue)


def _to_lab(light: Floats) -> Floats:
    return as_floats(cv2.cvtColor(as_floats(encoded(np.clip(light, 0, 1))), cv2.COLOR_RGB2LAB))


def _correlation(first: Floats, second: Floats) -> float:
    """Correlation of two chroma patterns (n, 2), -1 to 1, with `CHROMA_NOISE` as a part that both share: two
    colourless pins agree, and a colourless one does not agree with a coloured one."""
    first, second = first - first.mean(0), second - second.mean(0)
    noise = len(first) * CHROMA_NOISE**2
    scale = np.sqrt((np.square(first).sum() + noise) * (np.square(second).sum() + noise))
    return float(((first * second).sum() + noise) / max(float(scale), 1.0))


def _line_agreement(query: Portrait, reference: Portrait, to_query: Matrix) -> tuple[float, Floats, Flags]:
    """Correlation of the line fields away from the outline; their local correlation, and which pixels lie
    inside, both at a quarter of PORTRAIT_SIDE."""
    field, mask = _warped_lines(query, to_query)
    both = np.minimum(mask, as_floats(reference.mask / 255))
    inner = as_floats(cv2.erode(both, np.ones((7, 7), np.uint8), iterations=2))
    shared = dot(field, reference.lines)
    seen = dot(field, field)
    expected = dot(reference.lines, reference.lines)
    power = float((seen * inner).sum()) * float((expected * inner).sum())
    agreement = float((shared * inner).sum()) / max(math.sqrt(power), 1e-6)
    size = (PORTRAIT_SIDE // 4, PORTRAIT_SIDE // 4)
    stacked = np.dstack([shared * both, seen * both, expected * both, both])
    small = cv2.resize(as_floats(stacked), size, interpolation=cv2.INTER_AREA)
    near = as_floats(cv2.GaussianBlur(small, (0, 0), NEIGHBOURHOOD_PIXELS / 4))
    around = near[..., 0] / np.sqrt((near[..., 1] + QUIET_VARIANCE) * (near[..., 2] + QUIET_VARIANCE))
    return agreement, as_floats(around), near[..., 3] > 0.5
