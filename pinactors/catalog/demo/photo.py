"""Simulated phone photographs of the demonstration pins: on a table, at an angle, under a lamp."""

from __future__ import annotations

import math
import zlib

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.catalog.demo import render
from pinactors.catalog.demo.designs import Design
from pinactors.catalog.demo.render import Colour, Light, Plane
from pinactors.protocol import View

Matrix = npt.NDArray[np.float64]

WIDTH, HEIGHT = 1080, 1440
DRAWING_SIDE = 900
"""Side of the flat picture that is placed on the table."""
FOCAL_PIXELS = 1.3 * HEIGHT
"""Focal length in pixels, that of a phone's main camera."""
PIN_THICKNESS = 0.07
"""Thickness of the pin, in pin units."""
EDGE_LAYERS = 6


def photograph(design: Design, view: View, seed: int = 0) -> bytes:
    """A JPEG of 1,080 by 1,440 pixels; the same arguments give the same bytes.

    `seed` determines tilt, roll, distance, table, lamp, white balance, blur and noise; all views of one
    seed have the same table.
    """
    scene = np.random.default_rng([seed, zlib.crc32(design.pin_id.encode())])
    table = _TABLES[int(scene.integers(len(_TABLES)))](scene)
    shot = np.random.default_rng([seed, zlib.crc32(f"{design.pin_id}/{view}".encode())])
    tilt = math.radians(shot.uniform(30, 38) if view is View.ANGLED else shot.uniform(1, 7))
    places = _pose(shot, tilt)
    lamp = shot.uniform(-2.4, -0.8)
    light = Light(0.9 * math.cos(lamp), 0.9 * math.sin(lamp), glint=shot.uniform(0.6, 1.1))
    pin_side = (render.back if view is View.BACK else render.front)(design, DRAWING_SIDE)

    picture = _place_on_table(table, pin_side, light, places, shot)
    picture *= _falloff(light)[..., None]
    picture *= shot.uniform(0.95, 1.05, 3).astype(np.float32) * np.float32(shot.uniform(0.88, 1.02))
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), shot.uniform(0.5, 0.8)))
    grain = shot.normal(0, 1, picture.shape).astype(np.float32)
    picture += grain * (0.006 + 0.012 * np.sqrt(np.clip(picture, 0, 1)))
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return encoded.tobytes()


def _pose(shot: np.random.Generator, tilt: float) -> list[Matrix]:
    """Homographies (3x3) from the flat picture to the photograph: of the pin's upper side, then of each layer
    of its edge below."""
    axis, roll = shot.uniform(0, 2 * math.pi), math.radians(shot.uniform(-14, 14))
    distance = FOCAL_PIXELS * DRAWING_SIDE / (WIDTH * shot.uniform(0.74, 0.84))
    rotation, _ = cv2.Rodrigues(np.array([0.0, 0.0, roll]))
    lean, _ = cv2.Rodrigues(tilt * np.array([math.cos(axis), math.sin(axis), 0.0]))
    across, down, deep = (lean @ rotation).T
    x, y = shot.uniform(-0.03, 0.03, 2) * WIDTH
    camera = np.array([[FOCAL_PIXELS, 0, WIDTH / 2 + x], [0, FOCAL_PIXELS, HEIGHT / 2 + y], [0, 0, 1]])
    centered = np.array([[1, 0, -DRAWING_SIDE / 2], [0, 1, -DRAWING_SIDE / 2], [0, 0, 1]])
    depths = np.linspace(0, PIN_THICKNESS * DRAWING_SIDE / (2 * render.HALF_SIDE), EDGE_LAYERS)
    away = np.array([0, 0, distance])
    return [camera @ np.column_stack([across, down, away + depth * deep]) @ centered for depth in depths]


def _place_on_table(
    table: Colour, pin_side: render.PinSide, light: Light, places: list[Matrix], shot: np.random.Generator
) -> Colour:
    """The table with the pin's shadow, edge and upper side on it."""
    layers = [_warped(pin_side.mask, place).astype(np.float32) / 255 for place in places]
    mask, ground, body = layers[0], layers[-1], np.maximum.reduce(layers)
    shadow = cv2.GaussianBlur(_moved(ground, -26 * light.x, -26 * light.y), (0, 0), 16)
    contact = cv2.GaussianBlur(ground, (0, 0), 5)
    picture = table * (1 - 0.45 * shadow - 0.25 * contact * (1 - 0.45 * shadow))[..., None]
    metal = pin_side.colour[pin_side.metal > 0].mean(axis=0)
    sheen = 0.55 + 0.25 * np.sin(np.linspace(0, 9, WIDTH, dtype=np.float32) + shot.uniform(0, 6))
    picture += body[..., None] * (metal * sheen[None, :, None] - picture)
    shown = _warped(render.shaded(pin_side, light, grain=int(shot.integers(1 << 30))), places[0])
    return np.asarray(picture + mask[..., None] * (shown - picture), np.float32)


def _warped(flat: Plane, place: Matrix) -> Plane:
    return np.asarray(cv2.warpPerspective(flat, place, (WIDTH, HEIGHT)))


def _moved(mask: Plane, x: float, y: float) -> Plane:
    return np.asarray(cv2.warpAffine(mask, np.array([[1, 0, x], [0, 1, y]]), (WIDTH, HEIGHT)))


def _falloff(light: Light) -> Plane:
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    return np.asarray(
        0.98 + 0.12 * (columns * light.x + rows * light.y) - 0.08 * (columns**2 + rows**2), np.float32
    )


def _cloud(random: np.random.Generator, rows: int, columns: int) -> Plane:
    """Smooth noise with `rows` by `columns` independent spots, mean 0, about -1 to 1."""
    spots = random.normal(0, 0.5, (max(2, rows), max(2, columns))).astype(np.float32)
    return np.asarray(cv2.resize(spots, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _tinted(tone: tuple[float, float, float], shade: Plane) -> Colour:
    return np.asarray(np.array(tone, np.float32) * (1 + shade)[..., None], dtype=np.float32)


def _oak(random: np.random.Generator) -> Colour:
    rows, columns = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j].astype(np.float32)
    rings = np.sin(34 * (rows + 0.04 * _cloud(random, 5, 3)) + 2 * _cloud(random, 3, 2))
    shade = 0.05 * rings + 0.07 * _cloud(random, 420, 5) + 0.05 * _cloud(random, 90, 3) + 0.02 * columns
    return _tinted((0.66, 0.47, 0.3), shade)


def _felt(random: np.random.Generator) -> Colour:
    return _tinted((0.2, 0.3, 0.36), 0.18 * _cloud(random, 480, 360) + 0.08 * _cloud(random, 14, 10))


def _linen(random: np.random.Generator) -> Colour:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    weave = np.sin(rows * 0.9 + _cloud(random, 30, 20)) * np.sin(columns * 0.9 + _cloud(random, 30, 20))
    return _tinted(
        (0.78, 0.74, 0.66), 0.07 * weave + 0.06 * _cloud(random, 300, 6) + 0.06 * _cloud(random, 6, 220)
    )


def _slate(random: np.random.Generator) -> Colour:
    return _tinted((0.34, 0.35, 0.38), 0.1 * _cloud(random, 40, 30) + 0.08 * _cloud(random, 240, 180))


def _paper(random: np.random.Generator) -> Colour:
    return _tinted((0.88, 0.87, 0.84), 0.02 * _cloud(random, 360, 270) + 0.03 * _cloud(random, 5, 4))


_TABLES = (_oak, _felt, _linen, _slate, _paper)
