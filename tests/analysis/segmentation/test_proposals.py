"""Tests of proposing regions: one is the pin, none is there twice."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.segmentation.proposals import Proposal, add_regions, nearly_identical, propose
from tests import drawing
from tests.analysis.segmentation.drawn import front, proposal_of, shared, small, table


@pytest.mark.parametrize("kind", drawing.BACKGROUNDS)
def test_one_of_the_proposals_is_the_pin(kind: str) -> None:
    for seed in range(3):
        scene, truth = small(drawing.photograph(front(seed), table(kind, seed), share=0.7))
        proposed = propose(scene)
        assert max(shared(one.mask, truth) for one in proposed) > 0.9
        for one in proposed:
            assert one.area == np.count_nonzero(one.mask)
            assert one.mask.max() == 1


def test_the_largest_regions_are_added_filled_and_once() -> None:
    mask = np.zeros((168, 224), np.uint8)
    mask[10:90, 10:90] = 1
    mask[30:50, 30:50] = 0  # a hole
    mask[100:150, 10:60] = 1
    mask[100:130, 100:130] = 1
    found: list[Proposal] = []
    add_regions(mask, "drawn", found, keep=2)
    assert sorted(one.area for one in found) == [50 * 50, 80 * 80]
    add_regions(mask, "again", found, keep=2)
    assert [one.source for one in found] == ["drawn", "drawn"]


def test_regions_are_nearly_identical_up_to_two_percent() -> None:
    one = np.zeros((168, 224), np.uint8)
    cv2.rectangle(one, (10, 10), (109, 109), 1, -1)
    for added, identical in ((2, True), (3, False)):
        other = one.copy()
        other[10:110, 110 : 110 + added] = 1
        assert nearly_identical(proposal_of(one), proposal_of(other)) is identical
    moved = np.roll(one, 30, axis=1)
    assert not nearly_identical(proposal_of(one), proposal_of(moved)), "they only have the same area"
