"""Measures the quality of a photograph for the analysis, on the pin if one was found."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_image, reduced, window_of
from pinactors.analysis.model import Flags, Floats, Image, Points, Quality

SUFFICIENT_SIDE_PIXELS = 600
"""Pixels across the pin that reading and comparing stamps needs."""

CLIPPED_SHARE = 0.05
"""Share of blown highlights above which surfaces cannot be judged."""

GLARE_SHARE = 0.06
"""Share of the pin under highlights above which details of the pin are hidden."""

DARKEST_EXPOSURE, BRIGHTEST_EXPOSURE = 0.22, 0.93
"""Limits of the mean L* over 100: values outside them cannot come from the pin's own colours."""

BLURRED_EDGE_PIXELS, BLURRED_SHARE = 4.0, 0.008
"""Edge width above which a photograph counts as blurred: working pixels, or a share of the pin's short side
if that is more (a pin that fills a large picture may be a little softer)."""

MAX_NOISE_LEVELS = 3.0
"""Grey levels of noise after smoothing; a larger measurement comes from texture and is capped at this."""

WIDEST_EDGE_PIXELS = 16.0
"""Largest edge width that is reported, in pixels."""

_CELL_PIXELS, _MAX_EDGES = 16, 300
"""Side in pixels of the grid cells that give one edge each, and the largest number of edges used."""

_SMOOTHING_SIGMA, _HALF_PROFILE_PIXELS = 0.8, 20
"""Sigma of the smoothing against noise, and half the length of an edge's profile, in pixels."""


def measure(
    rgb: Image,
    mask: Image | None,
    outline: Points,
    scale: float,
    notes: tuple[str, ...] = (),
    white: Image | None = None,
) -> Quality:
    """Quality of the working picture `rgb`; `scale` is working over sent pixels, `notes` are problems found
    by other steps (such as a pin partly outside), which are listed first. Without a mask the whole picture is
    measured. `white` is the mask (0 or 255) of what is white without any reflection, if it is known."""
    what = "pin" if mask is not None else "photograph"
    if mask is None:
        mask = np.full(rgb.shape[:2], 255, np.uint8)
        short = float(min(rgb.shape[:2]))
    else:
        short = float(min(cv2.minAreaRect(outline)[1]))
    window = window_of(mask, 0)
    pin, inside = rgb[window], mask[window]
    sharpness = edge_width(as_image(cv2.cvtColor(pin, cv2.COLOR_RGB2GRAY)), inside)
    exposure, clipped, glare = _light(pin, inside, sharpness, None if white is None else white[window])
    short_side = short / scale
    problems = list(notes)
    if sharpness > max(BLURRED_EDGE_PIXELS, BLURRED_SHARE * short):
        problems.append("The photograph is blurred. Hold the phone still and tap the pin to focus.")
    if short_side < SUFFICIENT_SIDE_PIXELS:
        problems.append(
            f"The {what} is only {short_side:.0f} pixels across. Move closer until it fills the picture, "
            f"and send the photograph at full size ({SUFFICIENT_SIDE_PIXELS} pixels or more)."
        )
    if exposure < DARKEST_EXPOSURE:
        problems.append("The photograph is dark. Use more light, from a window rather than the flash.")
    elif exposure > BRIGHTEST_EXPOSURE:
        problems.append(
            "The photograph is too bright. Use less light or tap the pin so that the camera adapts."
        )
    if what == "pin" and (clipped > CLIPPED_SHARE or glare > GLARE_SHARE):
        problems.append(
            "A reflection covers part of the pin. Turn it a little or move the light to the side."
        )
    return Quality(
        sharpness,
        exposure,
        clipped,
        glare,
        short_side,
        _score(sharpness, exposure, max(clipped, glare), short, short_side),
        tuple(problems),
    )


def _score(sharpness: float, exposure: float, lost: float, short: float, short_side: float) -> float:
    """Score 0 to 1, as a product: one bad property makes a photograph bad whatever the others are."""
    sharp = min(1.0, max(BLURRED_EDGE_PIXELS, BLURRED_SHARE * short) / max(sharpness, 1.0)) ** 1.5
    size = min(1.0, short_side / SUFFICIENT_SIDE_PIXELS) ** 0.5
    light = min(1.0, exposure / DARKEST_EXPOSURE, (1 - exposure) / (1 - BRIGHTEST_EXPOSURE))
    return float(np.clip(sharp * size * light * (1 - min(0.6, 3 * lost)), 0, 1))


def edge_width(grey: Image, inside: Image) -> float:
    """Width (10 to 90 %, pixels) of the sharper edges of a picture where `inside` is set, 1 to
    `WIDEST_EDGE_PIXELS`.

    The strongest gradient in each cell of a grid gives an edge. Its profile is followed as long as it rises;
    the rise divided by the steepest slope is the width of a blurred step (2.51 sigma; 10 to 90 % is 2.56
    sigma). Blur only widens edges, so the lower quartile measures the lens rather than bevels; the width
    added by smoothing against noise is subtracted. A picture without edges counts as blurred.
    """
    smooth = as_image(cv2.GaussianBlur(grey, (0, 0), _SMOOTHING_SIGMA))
    across, down = cv2.Sobel(smooth, cv2.CV_16S, 1, 0), cv2.Sobel(smooth, cv2.CV_16S, 0, 1)
    size = cv2.add(cv2.convertScaleAbs(across, alpha=0.25), cv2.convertScaleAbs(down, alpha=0.25))
    ys, xs = _strongest(as_image(cv2.bitwise_and(size, inside)))
    if len(ys) < 8:
        return WIDEST_EDGE_PIXELS
    direction = np.stack([across[ys, xs], down[ys, xs]], axis=1).astype(np.float32)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    steps = np.arange(-_HALF_PROFILE_PIXELS, _HALF_PROFILE_PIXELS + 1, dtype=np.float32)
    sample_x = (xs[:, None] + direction[:, :1] * steps).astype(np.float32)
    sample_y = (ys[:, None] + direction[:, 1:] * steps).astype(np.float32)
    profile = np.asarray(
        cv2.remap(
            smooth.astype(np.float32), sample_x, sample_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )
    rise = np.diff(profile, axis=1)
    peak = rise[:, _HALF_PROFILE_PIXELS - 1 : _HALF_PROFILE_PIXELS + 1].max(axis=1)
    rising = rise > 0.1 * peak[:, None]
    up = np.cumprod(rising[:, _HALF_PROFILE_PIXELS:], axis=1) * rise[:, _HALF_PROFILE_PIXELS:]
    low = (
        np.cumprod(rising[:, _HALF_PROFILE_PIXELS - 1 :: -1], axis=1)
        * rise[:, _HALF_PROFILE_PIXELS - 1 :: -1]
    )
    height = up.sum(axis=1) + low.sum(axis=1)
    clear = height > max(6.0, 7 * min(_noise(smooth, inside), MAX_NOISE_LEVELS))
    if np.count_nonzero(clear) < 8:
        return WIDEST_EDGE_PIXELS
    widths = height[clear] / np.maximum(peak[clear], 0.1)
    direction_class = (np.arctan2(direction[clear, 1], direction[clear, 0]) * (4 / np.pi) + 0.5).astype(
        np.int32
    ) % 4
    by_direction = [widths[direction_class == group] for group in range(4)]
    quartiles = [float(np.quantile(group, 0.25)) for group in by_direction if len(group) >= 20]
    width = max(quartiles) if quartiles else float(np.quantile(widths, 0.25))
    return float(
        np.clip(np.sqrt(max(0.0, width**2 - (2.51 * _SMOOTHING_SIGMA) ** 2)), 1.0, WIDEST_EDGE_PIXELS)
    )


def _noise(smooth: Image, inside: Image) -> float:
    """Standard deviation of the noise left in a smoothed picture: the lower quartile of the absolute
    Laplacian (0.32 sigma of a normal distribution), which most textures do not affect, divided by the
    Laplacian's gain on such noise."""
    laplacian = cv2.convertScaleAbs(cv2.Laplacian(smooth, cv2.CV_16S), alpha=16)[::2, ::2]
    values = laplacian[inside[::2, ::2] > 0]
    if not len(values):
        return 0.0
    at = len(values) // 4
    return float(np.partition(values, at)[at]) / 16 / 0.32 / 1.5


def _strongest(size: Image) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the strongest pixel of each grid cell, the strongest cells first, at most
    `_MAX_EDGES`."""
    rows, columns = size.shape[0] // _CELL_PIXELS, size.shape[1] // _CELL_PIXELS
    cells = (
        size[: rows * _CELL_PIXELS, : columns * _CELL_PIXELS]
        .reshape(rows, _CELL_PIXELS, columns, _CELL_PIXELS)
        .transpose(0, 2, 1, 3)
    )
    flat = cells.reshape(rows * columns, _CELL_PIXELS * _CELL_PIXELS)
    best = flat.argmax(axis=1)
    strength = flat[np.arange(len(flat)), best]
    order = np.argsort(-strength.astype(np.int32), kind="stable")[:_MAX_EDGES]
    order = order[strength[order] > 4]
    ys = order // max(1, columns) * _CELL_PIXELS + best[order] // _CELL_PIXELS
    xs = order % max(1, columns) * _CELL_PIXELS + best[order] % _CELL_PIXELS
    return ys, xs


def _light(pin: Image, inside: Image, sharpness: float, white: Image | None) -> tuple[float, float, float]:
    """(mean L* over 100, share of pixels with every channel blown, share under a soft-edged highlight)."""
    scale = min(1.0, 256 / max(pin.shape[:2]))
    small = reduced(pin, 256)
    small_inside = cv2.resize(inside, small.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    lightness = lab[:, :, 0] * (100 / 255)
    step = max(1, max(pin.shape[:2]) // 512)
    sampled_inside = inside[::step, ::step]
    blown = cv2.inRange(pin[::step, ::step], (250, 250, 250), (255, 255, 255))
    clipped = cv2.countNonZero(cv2.bitwise_and(blown, sampled_inside)) / max(
        1, cv2.countNonZero(sampled_inside)
    )
    exposure = float(lightness[small_inside].mean()) / 100 if small_inside.any() else 0.0
    possible = small_inside
    if white is not None:
        known = cv2.resize(white, small.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        possible = small_inside & ~known
    return exposure, clipped, _glare(lab, small_inside, possible, sharpness * scale)


def is_white(lab: Floats) -> Flags:
    """Where a picture in 8-bit Lab is bright and colourless, as white enamel and highlights are."""
    chroma = np.hypot(lab[:, :, 1] - 128, lab[:, :, 2] - 128)
    return np.asarray((lab[:, :, 0] * (100 / 255) > 88) & (chroma < 14))


def _glare(lab: Floats, inside: Flags, possible: Flags, own_edge_width: float) -> float:
    """Share of the pin under highlights: of white regions with a soft edge, the part where a highlight is
    `possible`; enamel and paint end in a sharp edge. An edge is soft if it is 1.5 times as wide as the
    picture's own (`own_edge_width` pixels, 10 to 90 %)."""
    lightness = lab[:, :, 0] * (100 / 255)
    bright = (is_white(lab) & inside).astype(np.uint8)
    smooth = cv2.GaussianBlur(lightness, (0, 0), 1.0)
    slope = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) / 8
    steepest = cv2.dilate(slope, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
    total = max(1, int(np.count_nonzero(inside)))
    covered = 0
    for index in range(1, count):
        area = int(stats[index, cv2.CC_STAT_AREA])
        if area < 0.002 * total:
            continue
        region = (labels == index).astype(np.uint8)
        near = cv2.dilate(region, np.ones((3, 3), np.uint8))
        rim = (near > 0) & (region == 0) & inside
        beyond = (cv2.dilate(near, np.ones((13, 13), np.uint8)) > 0) & (near == 0) & inside
        if np.count_nonzero(rim) < 8 or not beyond.any():
            continue
        contrast = float(np.median(lightness[region > 0]) - np.quantile(lightness[beyond], 0.25))
        if contrast > 3 and contrast / float(np.median(steepest[rim])) > 1.5 * math.hypot(
            own_edge_width, 2.51
        ):
            covered += int(np.count_nonzero((region > 0) & possible))
    return covered / total
