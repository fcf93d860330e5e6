"""Drawn pins as input of the analysis: prepared views and references with their true masks."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import crop_transform, largest_outline, warp_crop
from pinactors.analysis.model import (
    CatalogPin,
    Cutout,
    Match,
    MatchCandidate,
    PreparedView,
    Quality,
    Reference,
    StampReading,
    TextLine,
)
from pinactors.analysis.stamp import grammar, voting
from pinactors.protocol import View
from tests import drawing
from tests.drawing import PIN_SIDE, Pin, Scene

CATALOG_PIN = CatalogPin("P1", "Fox", ("Fox",), None, 2015, 300, "ACME", "FAC-060122-15240")


def cutout(scene: Scene) -> Cutout:
    outline = largest_outline(scene.mask)
    to_crop = crop_transform(outline)
    crop, crop_mask = warp_crop(scene.rgb, scene.mask, to_crop)
    return Cutout(scene.mask, outline, crop, crop_mask, to_crop, 0.95, False)


def prepared(scene: Scene, view: View, *, clipped: float = 0.0, score: float = 0.9) -> PreparedView:
    """The scene as a prepared view with its true mask."""
    pin = cutout(scene)
    height, width = scene.rgb.shape[:2]
    short = float(min(cv2.minAreaRect(pin.outline)[1]))
    quality = Quality(2.0, 0.5, clipped, clipped, short, score)
    name = f"{view}{scene.rgb.sum()}"
    return PreparedView(view, width, height, 1.0, "image/jpeg", name, scene.rgb, quality, pin)


def empty(view: View, *, score: float = 0.9) -> PreparedView:
    """A photograph of a blank table."""
    rgb = np.full((300, 400, 3), 140, np.uint8)
    quality = Quality(2.0, 0.5, 0.0, 0.0, 300.0, score)
    problem = "Nothing stands out from the background."
    return PreparedView(
        view, 400, 300, 1.0, "image/jpeg", f"{view}-empty", rgb, quality, None, problem, empty=True
    )


@lru_cache(16)
def photo(
    pin: Pin, view: View, *, angle: float = 0.0, side: int = 900, seed: int = 1, **how: float
) -> PreparedView:
    """The prepared view of a photograph in which the pin lies on cloth and fills the picture."""
    table = drawing.background("cloth", side, side, seed)
    taken = drawing.photograph(pin, table, share=0.95, angle=angle, seed=seed, **how)
    taken.rgb.setflags(write=False)
    taken.mask.setflags(write=False)
    return prepared(taken, view)


@lru_cache(8)
def with_holes(pin: Pin) -> Pin:
    """The pin with two holes, a twelfth of it, each with a rim of metal."""
    holes = np.zeros_like(pin.mask)
    for x, y, width, height in ((0.36, 0.57, 0.08, 0.12), (0.66, 0.38, 0.07, 0.07)):
        centre, axes = np.array([x, y]) * PIN_SIDE, np.array([width, height]) * PIN_SIDE
        cv2.ellipse(holes, centre.astype(int), axes.astype(int), 20, 0, 360, 255, -1)
    rgb = pin.rgb.copy()
    rgb[cv2.dilate(holes, np.ones((19, 19), np.uint8)) > 0] = drawing.METALS["silver"]
    return Pin(rgb, cv2.bitwise_and(pin.mask, cv2.bitwise_not(holes)))


@lru_cache(16)
def reference(pin: Pin, view: View) -> Reference:
    """The pin's catalogue picture: sharp, upright, on white."""
    scene = drawing.photograph(pin, drawing.background("white", 640, 640), share=0.95, noise=0, blur=0.3)
    found = cutout(scene)
    return Reference(view, found.rgb, found.crop_mask)


def match(references: dict[View, Reference], pin: CatalogPin = CATALOG_PIN) -> Match:
    """A match that claims `pin`, without registrations."""
    return Match((MatchCandidate(pin, 0.95, 40),), True, True, references=references)


def line(text: str, confidence: float = 0.98) -> TextLine:
    quad = np.array([[100, 100], [300, 100], [300, 130], [100, 130]], np.float32)
    return TextLine(text, confidence, quad)


def reading(*texts: str, code: str | None = None, confidence: float = 0.98) -> StampReading:
    """The stamp reading of these lines; year and edition size are set only if `confidence` is high enough."""
    agreed = texts if confidence >= voting.READ_AGREEMENT else ()
    edition = next(filter(None, map(grammar.edition, agreed)), None)
    return StampReading(
        lines=tuple(line(text, confidence) for text in texts),
        factory_code=code,
        factory_code_confidence=confidence if code else 0.0,
        year=next(filter(None, map(grammar.year, agreed)), None),
        edition_size=edition.size if edition else None,
    )


def plain_view(
    which: View, colour: tuple[int, int, int], *, found: bool = True, side: int = 512
) -> PreparedView:
    """A grey square photograph with a pin of one colour, 400 x 200 pixels."""
    rgb = np.full((side, side, 3), 128, np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[156:356, 56:456] = 255
    rgb[mask > 0] = colour
    outline = np.array([[56, 156], [456, 156], [456, 356], [56, 356]], np.float32)
    pin = Cutout(mask, outline, rgb, mask, np.eye(3), 0.9, False) if found else None
    quality = Quality(1.5, 0.5, 0.0, 0.0, 200.0, 0.8, ("Move <closer>.",))
    problem = "" if found else "Nothing stands out from the background."
    return PreparedView(which, side, side, 1.0, "image/jpeg", "0" * 64, rgb, quality, pin, problem)
