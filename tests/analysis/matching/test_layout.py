"""Tests of layouts, line fields, registration and likeness on drawn pins whose pose is known."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import PORTRAIT_SIDE, Portrait, line_field
from pinactors.analysis.matching import alignment, layout, likeness, probability
from pinactors.analysis.model import CROP_SIDE, Image, Matrix
from tests import drawing


def crop(seed: int, pose: Matrix | None = None) -> tuple[Image, Image]:
    """The drawn pin in crop pixels, moved by `pose` (3x3, crop pixels)."""
    pin = drawing.pin_front(seed)
    scale = CROP_SIDE * 0.85 / drawing.PIN_SIDE
    shift = (CROP_SIDE - drawing.PIN_SIDE * scale) / 2
    matrix = np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]])
    if pose is not None:
        matrix = pose @ matrix
    size = (CROP_SIDE, CROP_SIDE)
    rgb = cv2.warpPerspective(pin.rgb, matrix, size, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(pin.mask, matrix, size, flags=cv2.INTER_AREA)
    rgb[mask < 128] = 128
    return np.asarray(rgb, np.uint8), np.where(mask < 128, 0, 255).astype(np.uint8)


def rotation(degrees: float, stretch: float = 1.0) -> Matrix:
    middle = (CROP_SIDE - 1) / 2
    about = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return np.linalg.inv(about) @ np.diag([1, stretch, 1]) @ rotation @ about


def test_layouts_have_length_one() -> None:
    grid = layout.layout(Portrait.of(*crop(1)))
    assert grid.shape == (layout.RINGS, layout.SECTORS, layout.CHANNELS)
    assert np.linalg.norm(grid) == pytest.approx(1, abs=1e-5)


def test_the_turn_is_found() -> None:
    still, moved = Portrait.of(*crop(4)), Portrait.of(*crop(4, rotation(70)))
    found = np.rad2deg(layout.likely_rotations(layout.layout(moved), layout.layout(still), 1)[0])
    assert abs((found - 70 + 180) % 360 - 180) < 10


def test_lines_do_not_care_which_side_is_dark() -> None:
    rgb = np.full((PORTRAIT_SIDE, PORTRAIT_SIDE, 3), 60, np.uint8)
    cv2.line(rgb, (20, 30), (100, 90), (200, 200, 200), 5)
    mask = np.ones((PORTRAIT_SIDE, PORTRAIT_SIDE), np.float32)
    one, other = line_field(rgb, mask), line_field(np.asarray(255 - rgb, np.uint8), mask)
    agreement = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert agreement > 0.95
    across = line_field(np.ascontiguousarray(rgb[:, ::-1]), mask)
    assert (one * across).sum() / np.sqrt((one**2).sum() * (across**2).sum()) < 0.3


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_registration_is_exact_to_a_few_pixels(seed: int) -> None:
    pose = rotation(33, 0.9)
    found_by = alignment.register(Portrait.of(*crop(seed, pose)), Portrait.of(*crop(seed)))
    corners = np.array([[150, 150, 1], [360, 150, 1], [360, 360, 1], [150, 360, 1]], float).T
    wanted, found = pose @ corners, found_by.to_query @ corners
    assert np.abs(wanted[:2] / wanted[2] - found[:2] / found[2]).max() < 4


def test_a_picture_lies_on_itself() -> None:
    """The catalogue's own picture is sent: the registration must accept a cost of zero."""
    portrait = Portrait.of(*crop(2))
    found_by = alignment.register(portrait, portrait)
    assert found_by.cost == pytest.approx(0, abs=1e-6)
    assert found_by.to_query == pytest.approx(np.eye(3), abs=1e-3)


def likeness_of(query: tuple[Image, Image], reference: tuple[Image, Image]) -> likeness.Likeness:
    one, other = Portrait.of(*query), Portrait.of(*reference)
    found = likeness.compare(one, other, alignment.register(one, other).to_query)
    assert found is not None
    return found


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


def test_a_back_of_another_outline_is_evidence_against_a_pin() -> None:
    same = likeness_of(crop(1), crop(1))
    other = dataclasses.replace(same, outline=probability.MIN_OUTLINE_OVERLAP - 0.01)
    assert probability.back_log_odds(same) > 0 > probability.back_log_odds(other)


def nearer(query: tuple[Image, Image], one: tuple[Image, Image], other: tuple[Image, Image]) -> float:
    seen, first, second = (Portrait.of(*picture) for picture in (query, one, other))
    lies = [alignment.register(seen, pin).to_query for pin in (first, second)]
    return likeness.compare_differences(seen, first, second, *lies)


def with_a_mark(picture: tuple[Image, Image], at: tuple[int, int]) -> tuple[Image, Image]:
    """The pin with a dark ring drawn on it."""
    rgb = picture[0].copy()
    cv2.circle(rgb, at, 34, (20, 20, 20), 7)
    return rgb, picture[1]


def in_another_hue(picture: tuple[Image, Image]) -> tuple[Image, Image]:
    return drawing.in_another_hue(picture[0]), picture[1]


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
