"""Tests of which photographs are judged, and of their registration."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from pinactors.analysis.evidence import comparison
from pinactors.analysis.evidence.comparison import Target
from pinactors.analysis.evidence.photographs import arrange
from pinactors.analysis.model import CROP_SIDE, Match, Registered
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.drawing import Scene

SEED = 4
UNKNOWN = Match(reason="No pin of the catalogue fits this photograph.")


def test_a_tilted_photograph_sent_as_back_too_is_the_tilted_one() -> None:
    front = prepared.photo(drawing.pin_front(SEED), View.FRONT, angle=6)
    angled = prepared.photo(drawing.pin_front(SEED), View.ANGLED, tilt=35)
    known = prepared.match(
        {
            View.FRONT: prepared.reference(drawing.pin_front(SEED), View.FRONT),
            View.BACK: prepared.reference(drawing.pin_back(SEED), View.BACK),
        }
    )
    arranged = arrange(front, dataclasses.replace(angled, view=View.BACK), angled, known)
    assert arranged.back is None
    assert arranged.angled is angled
    assert arranged.angled_comparison is not None
    assert arranged.notes == ("The photograph sent as back shows the front, so the back was not judged.",)


@pytest.mark.parametrize("seed", range(6))
def test_a_back_is_not_taken_for_the_front(seed: int) -> None:
    first = prepared.photo(drawing.pin_front(seed), View.FRONT, angle=6)
    catalogued = prepared.match({View.FRONT: prepared.reference(drawing.pin_front(seed), View.FRONT)})
    back = prepared.photo(drawing.pin_back(seed), View.BACK, angle=60 * seed, tilt=6, seed=2)
    for match in (catalogued, UNKNOWN):
        arranged = arrange(first, back, None, match)
        assert arranged.back is back
        assert arranged.notes == ()


def test_a_front_that_the_search_found_askew_is_registered_by_its_own_outline() -> None:
    pin, skew = drawing.pin_front(2), np.array([[1, 0.3, -0.3 * CROP_SIDE / 2], [0, 1, 0], [0, 0, 1]])
    seen, picture = prepared.photo(pin, View.FRONT, angle=6), prepared.reference(pin, View.FRONT)
    exact = comparison.compare(seen, Target(picture), None)
    assert exact is not None
    askew = skew @ exact.to_target
    mask = cv2.warpPerspective(picture.mask, np.linalg.inv(askew), (seen.width, seen.height))
    scene = Scene(seen.rgb, np.where(mask > 127, 255, 0).astype(np.uint8), np.eye(3))
    pin_of_search = dataclasses.replace(prepared.cutout(scene), registered=Registered("P1", askew))
    searched = dataclasses.replace(seen, pin=pin_of_search)
    arranged = arrange(searched, None, None, prepared.match({View.FRONT: picture}))
    assert arranged.front_comparison is not None
    assert arranged.front_comparison.agreement > 0.9
    assert arranged.front_comparison.overlap > 0.95
    assert arranged.front is arranged.front_comparison.view
