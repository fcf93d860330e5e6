"""Tests of the similarity of two registered pins: lines, and the colours of pins with colours and without."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import alignment, likeness, probability
from pinactors.analysis.model import CROP_SIDE, Image
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.analysis.matching.crops import crop, in_another_hue, likeness_of, rotation
from tests.drawing import Pin

COLOURED = drawing.pin_front(4)
RECOLOURED = Pin(np.ascontiguousarray(COLOURED.rgb[..., [2, 0, 1]]), COLOURED.mask)
COLOURLESS = Pin(
    np.asarray(cv2.cvtColor(cv2.cvtColor(COLOURED.rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8),
    COLOURED.mask,
)


def chroma(photographed: Pin, catalogued: Pin) -> float:
    seen, known = (
        prepared.photo(photographed, View.FRONT, angle=3),
        prepared.reference(catalogued, View.FRONT),
    )
    assert seen.pin is not None
    query, reference = Portrait.of(seen.pin.rgb, seen.pin.crop_mask), Portrait.of(known.rgb, known.mask)
    found = likeness.compare(query, reference, alignment.register(query, reference).to_query)
    assert found is not None
    return found.chroma


@pytest.mark.parametrize("pin", [COLOURED, COLOURLESS])
def test_a_pin_has_its_own_colours_even_if_it_has_none(pin: Pin) -> None:
    assert chroma(pin, pin) > 0.9


@pytest.mark.parametrize(
    ("photographed", "catalogued"),
    [(COLOURED, RECOLOURED), (COLOURLESS, COLOURED), (COLOURED, COLOURLESS)],
)
def test_variants_in_other_colours_do_not_agree(photographed: Pin, catalogued: Pin) -> None:
    assert chroma(photographed, catalogued) < 0.5


def test_the_light_drops_out_and_another_colour_does_not() -> None:
    rgb, mask = crop(2)
    slope = np.linspace(0.6, 1.0, CROP_SIDE)[None, :, None] * np.array([1.1, 1.0, 0.85])
    lit = np.clip(rgb * slope, 0, 255).astype(np.uint8)
    recoloured = in_another_hue((rgb, mask))
    same, other = likeness_of((lit, mask), (rgb, mask)), likeness_of(recoloured, (rgb, mask))
    assert same.chroma > 0.9
    assert other.chroma < 0.5
    assert same.inner_lines > 0.9
    assert probability.back_log_odds(same) > probability.back_log_odds(other)


def test_a_card_in_the_outline_has_no_say_in_the_colours() -> None:
    """If the outline is unknown, the mask includes what lies around the pin: here cloths of other colours."""
    whole = np.full((CROP_SIDE, CROP_SIDE), 255, np.uint8)
    small = np.array([[0.75, 0, 64], [0, 0.75, 64], [0, 0, 1]])
    rgb, mask = crop(2, small)

    def lying_on(hue: int, seed: int, rgb: Image) -> tuple[Image, Image]:
        cloth = cv2.cvtColor(drawing.background("cloth", CROP_SIDE, CROP_SIDE, seed), cv2.COLOR_RGB2HSV)
        cloth[..., 0], cloth[..., 1] = hue, 200
        around = cv2.cvtColor(cloth, cv2.COLOR_HSV2RGB)
        return np.where(mask[..., None] > 0, rgb, around).astype(np.uint8), whole

    known = Portrait.of(*lying_on(20, 1, rgb))

    def chroma(query: tuple[Image, Image]) -> float:
        found = likeness.compare(Portrait.of(*query), known, np.eye(3))
        assert found is not None
        return found.chroma

    assert chroma(lying_on(110, 2, rgb)) > 0.5
    assert chroma(lying_on(20, 1, in_another_hue((rgb, mask))[0])) < 0.2


def test_another_pin_is_unlike() -> None:
    found = likeness_of(crop(1), crop(7))
    assert found.inner_lines < 0.5
    assert found.worst_lines < 0.2
    assert probability.back_log_odds(found) <= 0


def test_pins_that_do_not_overlap_are_unlike() -> None:
    portrait = Portrait.of(*crop(1))
    away = np.array([[1, 0, 2 * CROP_SIDE], [0, 1, 0], [0, 0, 1.0]])
    assert likeness.compare(portrait, portrait, away) is None
    assert probability.back_log_odds(None) == 0


def nearer(query: tuple[Image, Image], one: tuple[Image, Image], other: tuple[Image, Image]) -> float:
    seen, first, second = (Portrait.of(*picture) for picture in (query, one, other))
    lies = [alignment.register(seen, pin).to_query for pin in (first, second)]
    return likeness.compare_differences(seen, first, second, *lies)


def with_a_mark(picture: tuple[Image, Image], at: tuple[int, int]) -> tuple[Image, Image]:
    """The pin with a dark ring drawn on it."""
    rgb = picture[0].copy()
    cv2.circle(rgb, at, 34, (20, 20, 20), 7)
    return rgb, picture[1]


def seen_turned(picture: tuple[Image, Image]) -> tuple[Image, Image]:
    pose = rotation(33, 0.9)
    size = (CROP_SIDE, CROP_SIDE)
    rgb, mask = (cv2.warpPerspective(plane, pose, size) for plane in picture)
    dim = np.clip(rgb * np.array([0.8, 0.75, 0.6]), 0, 255).astype(np.uint8)
    return dim, np.where(mask < 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_what_differs_speaks_for_the_pin_whose_lines_are_there(seed: int) -> None:
    plain = crop(seed)
    marked = with_a_mark(plain, (256, 256))
    for shown, other in ((plain, marked), (marked, plain)):
        query = seen_turned(shown)
        assert nearer(query, shown, other) > 0.5
        assert nearer(query, other, shown) < -0.5


def test_what_differs_speaks_for_the_pin_whose_colours_are_there() -> None:
    plain = crop(2)
    other = in_another_hue(plain)
    assert nearer(seen_turned(plain), plain, other) > 1
    assert nearer(seen_turned(other), plain, other) < -1


def test_one_pin_compared_with_itself_differs_nowhere_and_no_difference_decides_alone() -> None:
    query, one, other = seen_turned(crop(1)), crop(1), crop(7)
    assert abs(nearer(query, one, one)) < 0.2
    assert abs(nearer(query, one, other)) <= likeness.MAX_DIFFERENCE_LOG_ODDS
    assert nearer(query, one, other) > 1
