"""Tests of the checks that the photographs differ and show the same pin."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest

from pinactors.analysis.evidence import gates
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.catalog import folders


@pytest.mark.parametrize("seed", range(6))
def test_front_and_back_of_one_pin_mirror_each_other(seed: int) -> None:
    one = prepared.photo(drawing.pin_front(seed), View.FRONT, angle=10, side=500)
    other = prepared.photo(drawing.pin_back(seed), View.BACK, angle=-30, tilt=12, side=500)
    overlap = gates.mirror_overlap(one, other)
    assert overlap is not None
    assert overlap > 0.93


def test_other_shapes_do_not_mirror_each_other() -> None:
    views = [prepared.photo(drawing.pin_front(seed), View.FRONT, side=500) for seed in (1, 2, 3, 4)]
    for one, other in itertools.combinations(views, 2):
        overlap = gates.mirror_overlap(one, other)
        assert overlap is not None
        assert overlap < 0.95
    bear, rectangle = views[3], views[0]
    overlap = gates.mirror_overlap(bear, rectangle)
    assert overlap is not None
    assert overlap < gates.MIRRORED_OUTLINE_OVERLAP


def test_a_picture_compressed_again_is_the_same_picture() -> None:
    front = prepared.photo(drawing.pin_front(4), View.FRONT, side=500)
    angled = prepared.photo(drawing.pin_front(4), View.ANGLED, side=500, tilt=30)
    noisy = dataclasses.replace(front, sha256="other", rgb=front.rgb // 8 * 8)
    assert gates.same_picture(front, noisy)
    assert not gates.same_picture(front, angled)


@pytest.mark.parametrize("share", [0.08, 0.25, 0.9])
def test_a_small_pin_is_not_lost_in_a_plain_picture(share: float) -> None:
    plain = np.full((1600, 1600, 3), 235, np.uint8)
    front, back = (
        prepared.prepared(drawing.photograph(pin, plain, share=share), view)
        for view, pin in ((View.FRONT, drawing.pin_front(0)), (View.BACK, drawing.pin_back(0)))
    )
    assert not gates.same_picture(front, back)
    assert not gates.same_picture(front, dataclasses.replace(back, pin=None))
    for side, quality in ((1600, 50), (1100, 90), (800, 70)):
        again = cv2.resize(front.rgb, (side, side), interpolation=cv2.INTER_AREA)
        copy = cv2.imdecode(np.frombuffer(drawing.jpeg(again, quality), np.uint8), cv2.IMREAD_COLOR_RGB)
        copied = folders.prepared(np.asarray(copy, np.uint8), View.BACK)
        for one, other in itertools.permutations([front, copied]):
            assert gates.same_picture(one, other)


def test_pictures_without_a_pin_are_compared_whole() -> None:
    table = prepared.empty(View.FRONT)
    again = dataclasses.replace(table, sha256="other", rgb=table.rgb + 1)
    assert gates.same_picture(table, again)
    assert not gates.same_picture(table, dataclasses.replace(again, rgb=table.rgb // 2))
