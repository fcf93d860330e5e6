"""The question to the model: photographs of a pin that was not identified, cropped to it and scaled down.

Runs in a worker. Nothing else leaves the machine: no name, no key, no original file, no location.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2

from pinactors.analysis.imaging.geometry import reduced
from pinactors.analysis.model import Image, Match, PreparedView

LONGEST_SIDE = 768
"""Longest side in pixels of a picture that is sent: models scale larger pictures down themselves."""

MARGIN_SHARE = 0.06
"""Margin left around the pin, as a share of its longer side."""

JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one pin. `pictures` are JPEGs, the front first; `key` identifies their photographs."""

    pictures: tuple[bytes, ...]
    key: str


def question(
    context: Any, match: Match | None, front: PreparedView, back: PreparedView | None
) -> Question | None:
    """The question about a pin; None if the catalogue has identified it."""
    if match is not None and match.identified:
        return None
    views = [view for view in (front, back) if view is not None]
    digest = hashlib.sha256("".join(f"{view.view}:{view.sha256};" for view in views).encode())
    return Question(tuple(_jpeg(_cropped(view)) for view in views), digest.hexdigest())


def _cropped(view: PreparedView) -> Image:
    """The upright pixels of the pin with a margin; the whole picture if no pin was found."""
    if view.pin is None or not len(view.pin.outline):
        return view.rgb
    low, high = view.pin.outline.min(axis=0), view.pin.outline.max(axis=0)
    margin = MARGIN_SHARE * float((high - low).max())
    height, width = view.rgb.shape[:2]
    left, top = (max(0, int(value - margin)) for value in low)
    right, bottom = min(width, int(high[0] + margin) + 1), min(height, int(high[1] + margin) + 1)
    return view.rgb[top:bottom, left:right]


def _jpeg(rgb: Image) -> bytes:
    bgr = cv2.cvtColor(reduced(rgb, LONGEST_SIDE), cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise ValueError("the picture could not be encoded")
    return bytes(data)
