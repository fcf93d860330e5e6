"""Tests of the checks that the photographs differ and show the same pin."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from pinactors.analysis.evidence import gates
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared


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
