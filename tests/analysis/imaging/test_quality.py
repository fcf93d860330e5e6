"""Tests of the quality measurements: they order photographs as a person would, and advise what to change."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging import quality
from pinactors.analysis.model import Quality
from tests import drawing

PINS = {"front": drawing.pin_front(1), "back": drawing.pin_back(1)}
TABLE = drawing.background("cloth", 1000, 800, 1)


def measured(share: float = 0.85, side: str = "front", **changes: float) -> Quality:
    scene = drawing.photograph(PINS[side], TABLE, share=share, **changes)
    contours, _ = cv2.findContours(scene.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)[:, 0].astype(np.float32)
    return quality.measure(scene.rgb, scene.mask, outline, 1.0)


def mentions(found: Quality, word: str) -> bool:
    return any(word in problem for problem in found.problems)


@pytest.mark.parametrize("noise", [0.0, 4.0])
@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_edge_width_is_that_of_the_blurred_step(sigma: float, noise: float) -> None:
    step = np.full((300, 300), 60, np.float32)
    cv2.circle(step, (150, 150), 100, 190, -1)
    cv2.circle(step, (150, 150), 45, 90, -1)
    seen = cv2.GaussianBlur(step, (0, 0), sigma) + np.random.default_rng(0).normal(0, noise, step.shape)
    width = quality.edge_width(np.clip(seen, 0, 255).astype(np.uint8), np.full(step.shape, 255, np.uint8))
    assert width == pytest.approx(2.56 * sigma, rel=0.16)  # 10 to 90 % of a step blurred by sigma


def test_blur_widens_edges_noise_does_not() -> None:
    sharp, soft, blurred = (measured(blur=sigma) for sigma in (0.6, 2.0, 5.0))
    assert sharp.sharpness < soft.sharpness < blurred.sharpness
    assert sharp.score > soft.score > blurred.score
    assert measured(noise=8.0).sharpness < soft.sharpness
    assert mentions(blurred, "blurred")
    assert not mentions(sharp, "blurred")


def test_a_moving_hand_is_seen_though_it_blurs_one_direction_only() -> None:
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("cloth", 900, 900, 1), share=0.85)
    grey = cv2.cvtColor(scene.rgb, cv2.COLOR_RGB2GRAY)
    moved = cv2.blur(grey, (13, 1))
    assert quality.edge_width(moved, scene.mask) > 2 * quality.edge_width(grey, scene.mask)


def test_a_picture_without_edges_counts_as_blurred() -> None:
    flat = np.full((200, 200, 3), 120, np.uint8)
    found = quality.measure(flat, None, np.zeros((0, 2), np.float32), 1.0)
    assert found.sharpness == quality.WIDEST_EDGE_PIXELS
    assert mentions(found, "blurred")


def test_light() -> None:
    dark, normal, bright = (measured(light=light) for light in (0.18, 1.0, 3.5))
    assert dark.exposure < normal.exposure < bright.exposure
    assert dark.score < normal.score > bright.score
    assert mentions(dark, "dark")
    assert not mentions(normal, "dark")
    assert bright.clipped > 0.05 > normal.clipped


def test_a_highlight_is_glare_and_white_enamel_is_not() -> None:
    plain, shining = measured(side="back"), measured(side="back", glare=0.9)
    assert shining.glare > 0.02 > plain.glare
    white = np.full((400, 400, 3), 60, np.uint8)
    cv2.rectangle(white, (120, 120), (280, 280), (245, 245, 245), -1)
    found = quality.measure(white, None, np.zeros((0, 2), np.float32), 1.0)
    assert found.glare == 0.0


def test_no_reflection_on_the_pin_is_reported_if_no_pin_was_found() -> None:
    white = np.full((400, 400, 3), 255, np.uint8)
    found = quality.measure(white, None, np.zeros((0, 2), np.float32), 1.0)
    assert found.clipped == 1.0
    assert not mentions(found, "reflection")
    assert mentions(found, "too bright")
    assert mentions(measured(light=3.5), "reflection")


def test_size_is_counted_in_pixels_of_the_photograph_as_sent() -> None:
    near, far = measured(share=0.95), measured(share=0.3)
    assert far.short_side < near.short_side
    assert mentions(far, "Move closer")
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("grey", 600, 600), share=0.9)
    contours, _ = cv2.findContours(scene.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = contours[0][:, 0].astype(np.float32)
    whole = quality.measure(scene.rgb, scene.mask, outline, 1.0)
    halved = quality.measure(scene.rgb, scene.mask, outline, 0.5)
    assert halved.short_side == pytest.approx(2 * whole.short_side)


def test_notes_come_first_and_a_good_photograph_has_no_problems() -> None:
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("cloth", 1600, 1400, 1), share=0.95)
    contours, _ = cv2.findContours(scene.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = contours[0][:, 0].astype(np.float32)
    good = quality.measure(scene.rgb, scene.mask, outline, 1.0)
    assert good.problems == ()
    assert good.score > 0.9
    assert quality.measure(scene.rgb, scene.mask, outline, 1.0, ("Look here.",)).problems == ("Look here.",)
