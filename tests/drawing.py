"""Draws photographs of invented enamel pins for tests: front, back and tilted, on surfaces, with the true
mask and pose.

The seed determines everything. Pictures are uint8 RGB, masks uint8 0 or 255. Drawings are kept and returned
again, so their arrays are read-only.

    front, back, angled = photographs(seed=3)           # JPEG bytes, as a phone would upload them
    scene = photograph(pin_front(3), background("wood", 800, 600, 1), angle=20)    # scene.rgb, scene.mask
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from pinactors.protocol import View

Picture = npt.NDArray[np.uint8]

PIN_SIDE = 640
"""Side, in pixels, of the square in which a pin is drawn before it is photographed."""

KEPT = 24
"""Number of fronts, of backs and of surfaces that are kept: the largest has 6 MB."""

BACKGROUNDS = ("white", "grey", "cloth", "wood", "gradient", "speckle")
SHAPES = ("disc", "rectangle", "flower", "shield", "bear", "cloud")
STAMP = ("OFFICIAL PIN TRADING", "2015 LE 300", "MADE IN CHINA", "FAC-060122-15240")
METALS = {"silver": (196, 198, 202), "gold": (214, 172, 84), "copper": (196, 124, 92), "black": (52, 52, 56)}


@dataclass(frozen=True, eq=False)
class Pin:
    """A pin seen perpendicularly: `rgb` and `mask` are squares with `PIN_SIDE` pixels a side. Pins are equal
    only to themselves, so that they can be keys of caches."""

    rgb: Picture
    mask: Picture


@dataclass(frozen=True)
class Scene:
    """A photograph and the pin's position in it: `to_photo` (3x3) maps the pin's pixels to the
    photograph's."""

    rgb: Picture
    mask: Picture
    to_photo: npt.NDArray[np.float64]


def silhouette(seed: int, side: int = PIN_SIDE) -> Picture:
    """The mask of pin number `seed`, seen from the front."""
    shape = SHAPES[seed % len(SHAPES)]
    mask = np.zeros((side, side), np.uint8)
    middle, unit = side // 2, side / 100
    turn = np.linspace(0, 2 * np.pi, 240, endpoint=False)

    def circle(x: float, y: float, radius: float) -> None:
        cv2.circle(mask, (round(middle + x * unit), round(middle + y * unit)), round(radius * unit), 255, -1)

    def polygon(points: npt.NDArray[np.float64]) -> None:
        cv2.fillPoly(mask, [np.round(middle + points * unit).astype(np.int32)], 255)

    if shape == "disc":
        circle(0, 0, 42)
    elif shape == "rectangle":
        polygon(np.array([[-44, -30], [44, -30], [44, 30], [-44, 30]], float))
    elif shape == "flower":
        radius = 36 + 7 * np.cos((5 + seed % 3) * turn)
        polygon(np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1))
    elif shape == "shield":
        polygon(np.array([[-34, -40], [34, -40], [34, 4], [0, 44], [-34, 4]], float))
    elif shape == "bear":
        circle(0, 6, 36)
        circle(-29, -27, 15)
        circle(29, -27, 15)
    else:
        circle(-20, 6, 22)
        circle(20, 8, 20)
        circle(2, -10, 26)
        polygon(np.array([[-36, 10], [36, 10], [36, 27], [-36, 27]], float))
    return mask


@lru_cache(KEPT)
def pin_front(seed: int, metal: str = "") -> Pin:
    """The front of pin number `seed`: enamel fields in strong colours between raised metal lines, with a
    metal rim."""
    rng = np.random.default_rng(seed)
    mask = silhouette(seed)
    colour = np.array(METALS[metal or sorted(METALS)[seed % len(METALS)]], np.float64)
    line = PIN_SIDE // 48
    inner = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line + 1, 2 * line + 1)))
    seats = rng.uniform(0.15, 0.85, (7, 2)) * PIN_SIDE
    ys, xs = np.mgrid[:PIN_SIDE, :PIN_SIDE].astype(np.float32)
    far = np.sqrt(np.stack([(xs - x) ** 2 + (ys - y) ** 2 for x, y in seats.astype(np.float32)]))
    nearest = np.argmin(far, axis=0)
    first, second = np.partition(far, 1, axis=0)[:2]
    hues = (rng.permutation(7) * 26 + rng.integers(0, 20)) % 180
    paint = np.stack([hues, rng.integers(120, 240, 7), rng.integers(120, 250, 7)], axis=1).astype(np.uint8)
    fields = cv2.cvtColor(paint[None], cv2.COLOR_HSV2RGB)[0].astype(np.float64)
    rgb = fields[nearest]
    rgb[(second - first < line) | (inner == 0)] = colour
    for _ in range(4):  # figures on the fields, for keypoints
        x, y = (int(value) for value in rng.uniform(0.3, 0.7, 2) * PIN_SIDE)
        radius = int(rng.uniform(0.04, 0.09) * PIN_SIDE)
        cv2.circle(rgb, (x, y), radius + line, colour.tolist(), -1)
        cv2.circle(rgb, (x, y), radius, [int(value) for value in rng.integers(20, 250, 3)], -1)
    rgb[inner == 0] = colour
    return _fixed(Pin(_bevelled(rgb, mask, metal_only=inner == 0), mask))


@lru_cache(KEPT)
def pin_back(
    seed: int,
    lines: tuple[str, ...] = STAMP,
    *,
    metal: str = "",
    waffle: bool = True,
    rim: bool = False,
    period: int = 44,
) -> Pin:
    """The back of pin number `seed`: bare metal, a waffle of mouse heads `period` pixels apart that runs off
    the edge (or stops at a smooth `rim`), a stamped plate with `lines`, and two posts."""
    mask = np.ascontiguousarray(silhouette(seed)[:, ::-1])
    colour = np.array(METALS[metal or sorted(METALS)[seed % len(METALS)]], np.float64)
    relief = np.zeros((PIN_SIDE, PIN_SIDE), np.uint8)  # 100 is the height of a raised figure
    if waffle:
        for row, y in enumerate(range(0, PIN_SIDE + period, round(period * 0.87))):
            for x in range(-(row % 2) * period // 2, PIN_SIDE + period, period):
                cv2.circle(relief, (x, y), round(period * 0.27), 100, -1, cv2.LINE_AA)
                for side in (-1, 1):
                    ear = x + side * round(period * 0.24), y - round(period * 0.24)
                    cv2.circle(relief, ear, round(period * 0.15), 100, -1, cv2.LINE_AA)
    if rim:
        ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (61, 61))
        relief[cv2.erode(mask, ring) == 0] = 0
    middle, pitch = PIN_SIDE // 2, 34
    high = pitch * len(lines) // 2 + 12
    cv2.rectangle(relief, (middle - 160, middle - high), (middle + 160, middle + high), 0, -1)
    for index, text in enumerate(lines):
        size = min(0.9, 300 / max(1, cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)[0][0]))
        width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 2)[0][0]
        at = middle - width // 2, middle - high + 12 + pitch * index + 24
        cv2.putText(relief, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, 100, 2, cv2.LINE_AA)
    inside = np.argwhere(cv2.erode(mask, np.ones((121, 121), np.uint8)) > 0)
    for y, x in (inside[0], inside[-1]) if len(inside) else ():
        cv2.circle(relief, (int(x), int(y)), 22, 200, -1, cv2.LINE_AA)
    lit = cv2.GaussianBlur(relief.astype(np.float32) / 100, (5, 5), 1.2)
    slope = cv2.Sobel(lit, cv2.CV_32F, 1, 0) + cv2.Sobel(lit, cv2.CV_32F, 0, 1)
    grain = np.random.default_rng(seed).normal(0, 2, relief.shape)
    shade = 0.8 + 0.22 * np.clip(lit, 0, 1) - 0.09 * slope
    return _fixed(
        Pin(_bevelled(colour * shade[:, :, None] + grain[:, :, None], mask, metal_only=mask > 0), mask)
    )


def _fixed(pin: Pin) -> Pin:
    pin.rgb.setflags(write=False)
    pin.mask.setflags(write=False)
    return pin


@lru_cache(KEPT)
def background(kind: str, width: int, height: int, seed: int = 0) -> Picture:
    """A surface under a pin: `kind` is one of `BACKGROUNDS`."""
    rng = np.random.default_rng([seed, BACKGROUNDS.index(kind)])
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    if kind == "white":
        rgb = np.full((height, width, 3), 238.0) - (xs / width * 10)[:, :, None]
    elif kind == "grey":
        rgb = np.full((height, width, 3), 150.0) + (ys / height * 20)[:, :, None]
    elif kind == "cloth":
        weave = np.sin(xs * 0.9) * np.sin(ys * 0.9) * 9 + cv2.GaussianBlur(
            rng.normal(0, 30, xs.shape), (0, 0), 2
        )
        rgb = rng.uniform(40, 150, 3) + weave[:, :, None]
    elif kind == "wood":
        rings = np.sin(xs * 0.05 + 3 * cv2.GaussianBlur(rng.normal(0, 25, xs.shape), (0, 0), 25, None, 60))
        fibre = cv2.GaussianBlur(rng.normal(0, 60, xs.shape), (0, 0), 0.8, None, 14)
        rgb = np.array([150.0, 104, 66]) + (14 * rings + fibre)[:, :, None]
    elif kind == "gradient":
        start, end = rng.uniform(60, 220, (2, 3))
        share = ((xs / width + ys / height) / 2)[:, :, None]
        rgb = start * (1 - share) + end * share
    else:
        rgb = (
            np.array([176.0, 138, 96])
            + cv2.GaussianBlur(rng.normal(0, 70, xs.shape), (0, 0), 3)[:, :, None] * 2
        )
    surface = np.clip(rgb, 0, 255).astype(np.uint8)
    surface.setflags(write=False)
    return surface


def in_another_hue(rgb: Picture) -> Picture:
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + 60) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def photograph(
    pin: Pin,
    surface: Picture,
    *,
    share: float = 0.62,
    angle: float = 0.0,
    tilt: float = 0.0,
    at: tuple[float, float] = (0.5, 0.5),
    light: float = 1.0,
    blur: float = 0.6,
    noise: float = 2.0,
    glare: float = 0.0,
    seed: int = 0,
) -> Scene:
    """A photograph of `pin` on `surface`. The pin's square covers `share` of the shorter side, is rotated by
    `angle` degrees, tilted by `tilt` degrees and centred `at` (fractions of width and height), with a soft
    shadow and a highlight of strength `glare`; then follow `light`, `blur` (sigma, pixels) and sensor `noise`
    (sigma, grey levels)."""
    height, width = surface.shape[:2]
    to_photo = _pose(width, height, share, angle, tilt, at)
    size = (width, height)
    mask = cv2.warpPerspective(pin.mask, to_photo, size, flags=cv2.INTER_AREA)
    rgb = cv2.warpPerspective(pin.rgb, to_photo, size, flags=cv2.INTER_AREA).astype(np.float32)
    if glare > 0:
        spot = np.zeros((height, width), np.float32)
        points = np.argwhere(mask > 0)
        y, x = points.mean(axis=0)
        cv2.circle(spot, (int(x), int(y)), max(3, int(np.ptp(points[:, 1]) * 0.12)), 1.0, -1)
        rgb += 255 * glare * cv2.GaussianBlur(spot, (0, 0), 6)[:, :, None]
    drop = min(width, height) / 160
    moved = cv2.warpAffine(mask, np.array([[1, 0, drop], [0, 1, drop]]), size).astype(np.float32) / 255
    shadow = 1 - 0.35 * cv2.GaussianBlur(moved, (0, 0), drop)
    soft = cv2.GaussianBlur(mask, (3, 3), 0.7).astype(np.float32)[:, :, None] / 255
    out = (surface * shadow[:, :, None] * (1 - soft) + rgb * soft) * light
    if blur > 0:
        out = cv2.GaussianBlur(out, (0, 0), blur)
    out = out + np.random.default_rng(seed).normal(0, noise, out.shape) if noise > 0 else out
    return Scene(
        np.clip(out, 0, 255).astype(np.uint8), np.where(mask >= 128, 255, 0).astype(np.uint8), to_photo
    )


def photographs(
    seed: int = 0, *, width: int = 900, height: int = 700, surface: str = "cloth", quality: int = 90
) -> dict[View, bytes]:
    """Front, back and tilted photograph of pin number `seed`, as JPEG bytes."""
    front, back = pin_front(seed), pin_back(seed)
    table = background(surface, width, height, seed)
    return {
        View.FRONT: jpeg(photograph(front, table, share=0.8, angle=7, seed=seed).rgb, quality),
        View.BACK: jpeg(photograph(back, table, share=0.85, angle=-5, seed=seed + 1).rgb, quality),
        View.ANGLED: jpeg(
            photograph(front, table, share=0.8, tilt=40, glare=0.6, seed=seed + 2).rgb, quality
        ),
    }


def jpeg(rgb: Picture, quality: int = 90, orientation: int = 1) -> bytes:
    """`rgb` as JPEG bytes. `orientation` is written into EXIF as a camera does; the pixels are not
    rotated."""
    return encoded(rgb, "JPEG", orientation, quality=quality)


def encoded(rgb: Picture, format_name: str, orientation: int = 1, **options: object) -> bytes:
    """`rgb` in a format that Pillow can write: `PNG`, `WEBP`, `HEIF` (after `register_heif_opener()`)."""
    exif = Pillow.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    target = io.BytesIO()
    Pillow.fromarray(rgb).save(target, format_name, **options)
    return target.getvalue()


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    """A chunk of a PNG file, with a right checksum unless one is given."""
    right = zlib.crc32(kind + body)
    return len(body).to_bytes(4) + kind + body + (right if checksum is None else checksum).to_bytes(4)


def _pose(
    width: int, height: int, share: float, angle: float, tilt: float, at: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """The homography (3x3) from the pin's square to the photograph: rotation in the plane, tilt about the
    horizontal axis, then a pinhole camera at a distance of four pin widths."""
    turn, lean = np.radians(angle), np.radians(tilt)
    centre = np.array([[1, 0, -PIN_SIDE / 2], [0, 1, -PIN_SIDE / 2], [0, 0, 1]])
    rotate = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    lean_away = np.array([[1, 0, 0], [0, np.cos(lean), 0], [0, -np.sin(lean) / (4 * PIN_SIDE), 1]])
    scale = share * min(width, height) / PIN_SIDE
    place = np.array([[scale, 0, at[0] * width], [0, scale, at[1] * height], [0, 0, 1]])
    return np.asarray(place @ lean_away @ rotate @ centre, np.float64)


def _bevelled(rgb: npt.NDArray[np.float64], mask: Picture, metal_only: npt.NDArray[np.bool_]) -> Picture:
    """Shades the metal's edges as light from the upper left does on a real rim."""
    height = cv2.GaussianBlur(mask, (0, 0), 4).astype(np.float32)
    slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) + cv2.Sobel(height, cv2.CV_32F, 0, 1)
    lit = rgb.copy()
    lit[metal_only] += (np.clip(slope, -60, 60) * 0.5)[metal_only][:, None]
    return np.clip(lit, 0, 255).astype(np.uint8)
