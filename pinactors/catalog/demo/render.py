"""Renders a design as metal and enamel: first the relief, then its lighting.

The relief is a height map in pin units: metal lines and rim are higher than the enamel; the back has a
stamped waffle, a recessed box with raised text, and posts. The lighting uses the relief's normals: metal
reflects a simple room (a bright window above, a dark floor), enamel is a coloured diffuse surface under a
clear gloss.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pinactors.catalog.demo.designs import Design
from pinactors.catalog.demo.shapes import COLOURS

Plane = npt.NDArray[Any]
"""(height, width) float32."""
Colour = npt.NDArray[Any]
"""(height, width, 3) float32 RGB, 0 to 1."""
Mask = npt.NDArray[Any]
"""(height, width) uint8, 0 or 255."""

LINE_HALF_WIDTH = 0.02
"""Half the width of a metal line in pin units (the pin spans -1 to 1), as the rim's width below."""
RIM_WIDTH = 0.055
HALF_SIDE = 1.16
"""Half the drawn square's side in pin units."""

PLATING = {
    "gold": (222, 178, 92),
    "silver": (200, 204, 210),
    "copper": (196, 122, 84),
    "black nickel": (104, 104, 114),
}


STEEL_COLOUR = (128, 130, 136)
"""Colour of the posts: they are soldered on after plating, and so have none."""


class Light(NamedTuple):
    """The direction of the window (in the picture's plane, x right and y down) and the strength of its
    highlights."""

    x: float = -0.5
    y: float = -0.7
    glint: float = 1.0


@dataclass(frozen=True, slots=True)
class PinSide:
    """One side of a pin, flat: `relief` (n, n) in pin units, `colour` (n, n, 3) 0 to 1, masks 0 or 255."""

    relief: Plane
    colour: Colour
    metal: Mask
    mask: Mask


@functools.lru_cache(maxsize=4)
def front(design: Design, side: int) -> PinSide:
    """The enamelled side on a square of `side` pixels."""
    mask = _silhouette(design, side)
    metal = mask.copy()
    colour = np.empty((side, side, 3), np.float32)
    colour[:] = np.array(PLATING[design.plating], np.float32) / 255
    width = max(1, round(2 * LINE_HALF_WIDTH * side / (2 * HALF_SIDE)))
    for shape in design.shapes:
        points = [_pixels(shape.points, side)]
        if shape.colour is None:
            cv2.polylines(metal, points, False, 255, width)
            continue
        field = cv2.fillPoly(np.zeros_like(mask), points, 255)
        colour[field > 0] = np.array(COLOURS[shape.colour], np.float32) / 255
        metal[field > 0] = 0
        cv2.polylines(metal, points, True, 255, width)
    metal &= mask
    metal[mask == 0] = 0
    colour[metal > 0] = np.array(PLATING[design.plating], np.float32) / 255
    raised = cv2.GaussianBlur(metal.astype(np.float32) / 255, (0, 0), side / 500)
    relief = _bevelled(mask, side) + 0.022 * raised
    return PinSide(relief.astype(np.float32), colour, metal, mask)


@functools.lru_cache(maxsize=4)
def back(design: Design, side: int) -> PinSide:
    """The stamped side as seen from behind: mirrored outline, waffle up to the edge, stamp and posts."""
    mask = np.ascontiguousarray(_silhouette(design, side)[:, ::-1])
    unit = side / (2 * HALF_SIDE)
    waffle = _waffle(side) if design.back == "waffle" else _sandblast(design, side)
    relief = _bevelled(mask, side) + waffle
    x, y, width, height = stamp_box(design, side)
    inside = np.zeros((side, side), np.float32)
    cv2.rectangle(inside, (x, y), (x + width, y + height), 1.0, -1)
    inside = np.asarray(cv2.GaussianBlur(inside, (0, 0), side / 600))
    text = cv2.GaussianBlur(_stamp(design, side, (x, y, width, height)), (0, 0), side / 1100)
    plateau = _bevelled(mask, side) - 0.012 + 0.02 * text
    relief = relief * (1 - inside) + plateau * inside
    tone = np.array(PLATING[design.plating], np.float32) / 255
    colour = np.broadcast_to(tone, (side, side, 3)).copy()
    colour *= (1 - 0.24 * inside * (1 - text))[..., None]
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    for post_x, post_y in post_places(design, side):
        radius = np.hypot(columns - post_x, rows - post_y) / unit
        relief += 0.06 * _smooth(0.1, 0.07, radius) + 0.1 * _smooth(0.045, 0.03, radius)
        foot = _smooth(0.1, 0.085, radius)[..., None]
        colour += foot * (np.array(STEEL_COLOUR, np.float32) / 255 - colour)
        colour *= (1 - 0.3 * _smooth(0.14, 0.11, radius) * _smooth(0.09, 0.1, radius))[..., None]
    return PinSide(relief.astype(np.float32), colour.astype(np.float32), mask.copy(), mask)


def shaded(pin_side: PinSide, light: Light, grain: int = 0) -> Colour:
    """The lit side of the pin, (n, n, 3) sRGB 0 to 1; `grain` seeds the random polish marks of the metal."""
    side = pin_side.mask.shape[0]
    unit = side / (2 * HALF_SIDE)
    slope_x = cv2.Sobel(pin_side.relief, cv2.CV_32F, 1, 0, scale=unit / 8)
    slope_y = cv2.Sobel(pin_side.relief, cv2.CV_32F, 0, 1, scale=unit / 8)
    facing = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    toward = (slope_x * -light.x + slope_y * -light.y) * facing
    noise = np.random.default_rng(grain).normal(0, 1, (side, side)).astype(np.float32)
    polish = cv2.GaussianBlur(noise, (0, 0), sigmaX=side / 60, sigmaY=0.6)
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    room = 0.16 * np.sin(2.4 * (columns * light.x + rows * light.y) + 0.8)
    mirror = 0.78 + room + 0.85 * np.tanh(1.6 * toward) + 0.25 * polish
    window = np.exp(-(((columns + 0.45 * light.x * -1.4) ** 2 + (rows + 0.45 * light.y * -1.4) ** 2) / 0.5))
    metal = pin_side.colour * np.clip(mirror, 0.12, 1.5)[..., None]
    metal += (0.3 * light.glint * np.clip(toward - 0.25, 0, 1))[..., None]
    enamel = pin_side.colour * np.clip(0.9 + 0.5 * toward + 0.06 * room, 0.3, 1.2)[..., None]
    enamel += (0.07 * light.glint * window)[..., None]
    share = cv2.GaussianBlur(pin_side.metal.astype(np.float32) / 255, (0, 0), 0.7)[..., None]
    return np.asarray(np.clip(metal * share + enamel * (1 - share), 0, 1))


def stamp_lines(design: Design) -> list[str]:
    """The lines of text stamped on the back."""
    edition = [f"LIMITED EDITION {design.edition_size}"] if design.edition_size else []
    return [
        f"© {design.brand} {design.year}",
        "OFFICIAL PIN TRADING",
        *edition,
        "MADE IN CHINA",
        design.factory_code,
    ]


@functools.lru_cache(maxsize=64)
def stamp_box(design: Design, side: int) -> tuple[int, int, int, int]:
    """The largest box with the stamp's proportions that fits on the back, as near its middle as possible: x,
    y, width, height."""
    mask = _silhouette(design, side)[:, ::-1] > 0
    integral = cv2.integral(mask.astype(np.uint8))
    proportion = 0.17 * len(stamp_lines(design))
    center = np.argwhere(mask).mean(axis=0)
    for share in np.arange(0.46, 0.12, -0.02):
        width, height = int(share * side), int(share * side * proportion)
        covered = (
            integral[height:, width:]
            - integral[:-height, width:]
            - integral[height:, :-width]
            + integral[:-height, :-width]
        )
        places = np.argwhere(covered >= 0.995 * width * height)
        if len(places):
            distance = np.hypot(*(places + np.array([height / 2, width / 2]) - center).T)
            top, left = places[int(distance.argmin())]
            return int(left), int(top), width, height
    raise ValueError(f"{design.pin_id} has no room for a stamp")


@functools.lru_cache(maxsize=64)
def post_places(design: Design, side: int) -> list[tuple[int, int]]:
    """The places of two posts, away from the edge and the stamp, about half a pin apart if the outline allows
    it."""
    mask = np.ascontiguousarray(_silhouette(design, side)[:, ::-1])
    x, y, width, height = stamp_box(design, side)
    free = mask.copy()
    free[y : y + height, x : x + width] = 0
    room = cv2.distanceTransform(free, cv2.DIST_L2, 3)
    unit = side / (2 * HALF_SIDE)
    places = np.argwhere(room >= min(0.14 * unit, 0.8 * float(room.max())))
    places = places[:: max(1, len(places) // 400)]
    gaps = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    first, second = np.unravel_index(int(np.abs(gaps - 1.1 * unit).argmin()), gaps.shape)
    return [(int(places[index][1]), int(places[index][0])) for index in (first, second)]


@functools.lru_cache(maxsize=64)
def _silhouette(design: Design, side: int) -> Mask:
    mask = np.zeros((side, side), np.uint8)
    rim = max(1, round(2 * RIM_WIDTH * side / (2 * HALF_SIDE)))
    for shape in design.shapes:
        points = [_pixels(shape.points, side)]
        if shape.colour is not None:
            cv2.fillPoly(mask, points, 255)
        cv2.polylines(mask, points, shape.colour is not None, 255, rim)
    round_off = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side // 24 | 1, side // 24 | 1))
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, round_off))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), [max(outlines, key=cv2.contourArea)], -1, 255, -1)


def _pixels(points: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.int32]:
    return np.round((points + HALF_SIDE) * (side / (2 * HALF_SIDE))).astype(np.int32)


def _bevelled(mask: Mask, side: int) -> Plane:
    """The body of the pin: flat, its edge rounded off over the rim's width."""
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5) / (side / (2 * HALF_SIDE))
    return (0.05 * _smooth(0.0, 0.045, depth.astype(np.float32))).astype(np.float32)


def _waffle(side: int) -> Plane:
    """A lattice of raised paw prints, two rows staggered."""
    period = max(8, round(side / 17))
    cell = np.zeros((period, period), np.float32)
    c = period / 16
    pads = (
        (8, 10.2, 3.5, 3.0),
        (3.6, 6.2, 1.5, 1.9),
        (6.6, 3.8, 1.5, 2.0),
        (9.8, 3.8, 1.5, 2.0),
        (12.6, 6.2, 1.5, 1.9),
    )
    for x, y, rx, ry in pads:
        cv2.ellipse(cell, ((x * c, y * c), (2 * rx * c, 2 * ry * c), 0), 1.0, -1)
    pair = np.vstack([cell, np.roll(cell, period // 2, axis=1)])
    repeat = side // period + 2
    tiles = np.tile(pair, (repeat // 2 + 1, repeat))[:side, :side]
    return (0.02 * cv2.GaussianBlur(tiles, (0, 0), side / 600)).astype(np.float32)


def _sandblast(design: Design, side: int) -> Plane:
    noise = (
        np.random.default_rng(int(design.factory_code[4:10])).normal(0, 1, (side, side)).astype(np.float32)
    )
    return (0.006 * cv2.GaussianBlur(noise, (0, 0), side / 350) * (side / 350)).astype(np.float32)


def _stamp(design: Design, side: int, place: tuple[int, int, int, int]) -> Plane:
    x, y, width, height = place
    lines = stamp_lines(design)
    pitch = height / (len(lines) + 0.4)
    size = 0.86 * pitch
    font = ImageFont.load_default(size)
    widest = max(font.getlength(text) for text in lines)
    if widest > 0.93 * width:
        font = ImageFont.load_default(size * 0.93 * width / widest)
    page = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(page)
    for row, text in enumerate(lines):
        pen.text(
            (x + width / 2, y + pitch * (row + 0.7)),
            text,
            fill=255,
            font=font,
            anchor="mm",
            stroke_width=side // 900,
        )
    pen.rectangle((x, y, x + width, y + height), outline=255, width=max(1, side // 320))
    return np.asarray(page, dtype=np.float32) / 255


def _smooth(low: float, high: float, value: Plane) -> Plane:
    """Smoothstep from `low` (0) to `high` (1); it falls if `low` is greater than `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
