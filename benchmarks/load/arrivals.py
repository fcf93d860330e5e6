"""The arrivals of a benchmark: when phones and desktops upload, over which link, and which photographs."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pinactors.catalog.demo import DESIGNS, draw_demo, photograph
from pinactors.catalog.importing.importer import import_catalog
from pinactors.protocol import View

OFFSET_SECONDS = 120.0
"""Phones start at a random time within the first so many seconds of their link's trace."""

CAMERA_EVERY = 3
CAMERA_PIXELS = 3024, 4032
CAMERA_GRAIN, CAMERA_QUALITY = 3.0, 88
"""One pin in three is sent as a 12-megapixel camera stores it, 1.2 to 2.7 MB per photograph here and on
phones; the others reduced, as an app or the page sends them, about 0.3 MB."""

Pin = dict[View, Path]
"""The photographs of one pin."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One upload, which begins `at` seconds after the start. Its connection breaks `cut` seconds later, if
    that is set.

    `pin` and `link` are indexes into the scene's lists; a desktop does not use its link.
    """

    number: int
    at: float
    phone: bool
    pin: int
    link: int
    offset: float
    cut: float | None


def arrive(
    rate: float, seconds: float, *, desktops: float, pins: int, links: int, drops: float, seed: int
) -> list[Arrival]:
    """A Poisson process of `rate` arrivals a second, for `seconds`; at least one arrival.

    `desktops` is the share of desktops, `drops` the share of phones whose connection breaks once,
    within the first ten seconds.
    """
    chance = random.Random(seed)
    arrivals: list[Arrival] = []
    at = chance.expovariate(rate)
    while at < seconds or not arrivals:
        phone = not arrivals or chance.random() >= desktops
        breaks, cut = chance.random() < drops, chance.uniform(0.5, 10.0)
        arrivals.append(
            Arrival(
                number=len(arrivals),
                at=min(at, seconds),
                phone=phone,
                pin=chance.randrange(pins),
                link=chance.randrange(links),
                offset=chance.uniform(0, OFFSET_SECONDS),
                cut=cut if phone and breaks else None,
            )
        )
        at += chance.expovariate(rate)
    return arrivals


def prepare(folder: Path, pins: int, catalogue: int = len(DESIGNS)) -> tuple[Path, list[Pin]]:
    """Makes a data folder with an imported catalogue, and photographs of its first `pins` pins; existing
    files are kept.

    Raises `OSError`.
    """
    data, photographs = folder / "data", folder / "photographs"
    if not (data / "catalog" / "CURRENT").exists():
        draw_demo(folder / "drawn", dt.datetime.now(dt.UTC).date(), designs=DESIGNS[:catalogue])
        import_catalog(folder / "drawn", data / "catalog")
    photographs.mkdir(exist_ok=True)
    drawn = []
    for number, design in enumerate(DESIGNS[:pins], 1):
        camera = number % CAMERA_EVERY == 0
        paths = {
            view: photographs / f"{design.pin_id}_{view}{'_camera' if camera else ''}.jpg" for view in View
        }
        for view, path in paths.items():
            if not path.exists():
                taken = photograph(design, view, 5)
                path.write_bytes(_as_stored(taken) if camera else taken)
        drawn.append(paths)
    return data, drawn


def _as_stored(taken: bytes) -> bytes:
    """The photograph with a camera's number of pixels and its sensor's grain, which makes the file large."""
    picture = cv2.imdecode(np.frombuffer(taken, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None  # drawn here, so that it can be decoded
    large = cv2.resize(picture, CAMERA_PIXELS, interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(len(taken)).normal(0, CAMERA_GRAIN, large.shape[:2])
    pixels = np.clip(large + grain[..., None], 0, 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, CAMERA_QUALITY])
    return encoded.tobytes()
