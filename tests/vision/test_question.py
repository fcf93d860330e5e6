"""Tests of what is asked, and of which pins."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
import trio

from pinactors.analysis.model import Match
from pinactors.vision.client import VisionClient
from pinactors.vision.question import LONGEST_SIDE, question
from tests.vision.asking import LIMIT, photographed, settings
from tests.vision.playing import playing


async def test_only_the_pin_is_sent_scaled_down(tmp_path: Path) -> None:
    asked = question(None, Match(), photographed("front", 2000), None)
    assert asked is not None
    (picture,) = asked.pictures
    decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert max(decoded.shape) <= LONGEST_SIDE
    assert decoded.shape[1] / decoded.shape[0] == pytest.approx(672 / 472, rel=0.02)  # the pin with a margin
    with trio.fail_after(LIMIT):
        async with playing() as player:
            await VisionClient(settings(player.url)).suggestions(None, asked, "an owner")
    ((headers, body),) = player.asked
    (_, image) = body["messages"][1]["content"]
    assert image["image_url"]["url"] == "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    assert "authorization" not in headers
    assert "an owner" not in str((headers, body))


def test_a_pin_of_the_catalogue_is_not_asked_about() -> None:
    assert question(None, Match(identified=True), photographed("front"), None) is None
