"""Views, settings and questions for tests of the vision-language component."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from pinactors.analysis.model import Cutout, PreparedView, Quality
from pinactors.protocol import View
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from pinactors.vision.question import Question

LIMIT = 120
QUESTION = Question((b"\xff\xd8 front",), "key")


def photographed(text: str, side: int = 1000) -> PreparedView:
    """A drawn photograph of a pin with `text` on it, in the middle of a grey table."""
    rgb = np.full((side, side, 3), 128, np.uint8)
    cv2.rectangle(rgb, (200, 300), (800, 700), (250, 240, 200), -1)
    cv2.putText(rgb, text[:40], (210, 500), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2)
    outline = np.array([[200, 300], [800, 300], [800, 700], [200, 700]], np.float32)
    mask = np.zeros((side, side), np.uint8)
    mask[300:700, 200:800] = 255
    pin = Cutout(mask, outline, rgb, mask, np.eye(3), 1.0, False)
    return PreparedView(
        View.FRONT, side, side, 1.0, "image/png", text, rgb, Quality(1, 1, 0, 0, side, 1.0), pin
    )


def front(context: Any, image: StoredImage) -> PreparedView:
    return photographed(image.sha256)


def back(context: Any, image: StoredImage) -> PreparedView:
    return photographed(image.sha256)


def settings(url: str, **given: Any) -> Settings:
    return Settings(vision_url=url, vision_model="a-model", **given)
