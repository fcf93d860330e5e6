"""Tests of drawing the demonstration's pins: clearly different, with backs as real ones have."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

from pinactors.catalog.demo import DESIGNS, render


def thumbnail(pin_side: render.PinSide) -> Any:
    return cv2.resize(
        pin_side.colour * (pin_side.mask > 0)[..., None], (24, 24), interpolation=cv2.INTER_AREA
    )


def overlap(one: render.PinSide, other: render.PinSide) -> float:
    union = np.count_nonzero((one.mask > 0) | (other.mask > 0))
    return float(np.count_nonzero((one.mask > 0) & (other.mask > 0)) / union)


def test_pins_are_clearly_different() -> None:
    faces = {design.name: render.front(design, 160) for design in DESIGNS}
    small = {name: thumbnail(pin_side) for name, pin_side in faces.items()}
    for one, other in itertools.combinations(faces, 2):
        difference = float(np.abs(small[one] - small[other]).mean())
        assert difference > 0.05, (one, other)
    pairs = itertools.combinations(faces.items(), 2)
    alike = [(one, other) for (one, first), (other, second) in pairs if overlap(first, second) > 0.97]
    assert len(alike) <= 1, f"only the two round pins share an outline: {alike}"


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.pin_id)
def test_backs_carry_a_stamp_that_fits_and_two_posts(design: Any) -> None:
    side = 320
    pin_side = render.back(design, side)
    x, y, width, height = render.stamp_box(design, side)
    assert (pin_side.mask[y : y + height, x : x + width] > 0).mean() > 0.98
    posts = render.post_places(design, side)
    assert len(set(posts)) == 2
    for post_x, post_y in posts:
        assert pin_side.mask[post_y, post_x] > 0
        assert not (x <= post_x < x + width and y <= post_y < y + height)
    mirrored = render.front(design, side).mask[:, ::-1]
    assert np.array_equal(mirrored, pin_side.mask), "front and back are one piece of metal"


def test_the_waffle_runs_off_the_edge_and_older_pins_have_none() -> None:
    def cells(design: Any) -> float:
        """The correlation of the relief with itself one lattice step away, on a ring near the pin's edge."""
        side = 680
        pin_side = render.back(design, side)
        depth = cv2.distanceTransform(pin_side.mask, cv2.DIST_L2, 5)
        ring = (depth > 16) & (depth < 46)
        step = round(side / 17)
        level = pin_side.relief - np.median(pin_side.relief[ring])
        plain = np.ones_like(pin_side.mask)
        x, y, width, height = render.stamp_box(design, side)
        cv2.rectangle(plain, (x - 4, y - 4), (x + width + 4, y + height + 4), 0, -1)
        for post in render.post_places(design, side):
            cv2.circle(plain, post, 44, 0, -1)
        ring &= plain > 0
        both = ring & np.roll(ring, step, axis=1)
        return float(np.corrcoef(level[both], np.roll(level, step, axis=1)[both])[0, 1])

    by_back: dict[str, list[float]] = {"waffle": [], "sandblast": []}
    for design in DESIGNS:
        by_back[design.back].append(cells(design))
    assert min(by_back["waffle"]) > 0.3 > max(by_back["sandblast"])
