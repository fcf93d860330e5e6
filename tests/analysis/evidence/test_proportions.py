"""Tests of the ratio of length to width, independent of the camera, and of the border's width."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from pinactors.analysis.evidence import comparison, linework, proportions
from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.evidence.likelihood import Measurement
from tests import drawing
from tests.analysis.evidence import drawn
from tests.drawing import PIN_SIDE, Pin


def stretched(pin: Pin, by: float, angle: float) -> Pin:
    """The pin stretched by the share `by` in the direction of `angle` degrees."""
    turn = np.radians(angle)
    along = np.array([[np.cos(turn), np.sin(turn)]])
    matrix = np.eye(3)
    matrix[:2, :2] += by * along.T @ along
    middle = np.array([PIN_SIDE / 2, PIN_SIDE / 2])
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle
    size = (PIN_SIDE, PIN_SIDE)
    rgb = cv2.warpPerspective(pin.rgb, matrix, size, flags=cv2.INTER_LINEAR)
    return Pin(
        np.asarray(rgb, np.uint8),
        np.asarray(cv2.warpPerspective(pin.mask, matrix, size, flags=cv2.INTER_NEAREST), np.uint8),
    )


def proportioned(found: Comparison) -> Measurement:
    return proportions.row(found, linework.trace(found))


@pytest.mark.parametrize("tilt", [0, 8, 20])
@pytest.mark.parametrize("angle", [0, 40])
def test_a_tilted_pin_has_its_proportions(tilt: float, angle: float) -> None:
    row = proportioned(drawn.compared(drawn.FRONT, angle=angle, tilt=tilt))
    assert drawn.score(row) > 0.5


@pytest.mark.parametrize("tilt", [0, 10])
@pytest.mark.parametrize("direction", [0, 60, 110])
def test_a_stretched_pin_is_seen_from_whatever_side(tilt: float, direction: float) -> None:
    row = proportioned(drawn.compared(stretched(drawn.FRONT, 0.06, direction), angle=15, tilt=tilt))
    assert drawn.score(row) < -0.3


def test_a_stretch_along_the_tilt_may_be_the_tilt() -> None:
    """A pin tilted by 20 degrees looks 6 % shorter, so a shorter pin cannot be blamed in that direction."""
    row = proportioned(drawn.compared(stretched(drawn.FRONT, -0.02, 90), tilt=20))
    assert drawn.score(row) > -0.1


def test_proportions_are_not_measured_where_nothing_lies_on_its_picture() -> None:
    found = dataclasses.replace(drawn.compared(stretched(drawn.FRONT, 0.06, 0)), agreement=0.6, overlap=0.7)
    assert proportioned(found).score is None


def test_what_no_casting_can_be_is_no_stretch() -> None:
    """Lines matched to the wrong lines also yield a homography, with a stretch that no casting has."""
    found = drawn.compared(drawn.FRONT)
    drawing = linework.trace(found)
    assert drawing is not None
    wide = dataclasses.replace(drawing, correction=np.diag([1.2, 1.0, 1.0]))
    assert proportions.row(found, wide).score is None


@pytest.mark.parametrize("focus", [0.6, 1.0, 3.5])
@pytest.mark.parametrize("axis", [(0.0, 0.0), (0.12, -0.1)])
def test_every_camera_leaves_a_flat_pin_its_proportions(focus: float, axis: tuple[float, float]) -> None:
    """For pinhole cameras with any focal length and principal point, the measured stretch is the plane's."""
    generator = np.random.default_rng(3)
    for by in (1.0, 1.05):
        for _ in range(20):
            tilt = generator.uniform(-1, 1, 2) * np.radians(8 if by == 1 else 0.2)
            rotation, _ = cv2.Rodrigues(np.array([*tilt, generator.uniform(-3, 3)]))
            place = np.array([*generator.uniform(-0.1, 0.1, 2), 2.0 * focus])
            plane = np.column_stack([rotation[:, 0] * by, rotation[:, 1], place])
            camera = np.array([[focus, 0, axis[0]], [0, focus, axis[1]], [0, 0, 1]])
            found = proportions.least_anisotropy(camera @ plane)
            if by == 1:
                assert found < proportions.NEUTRAL_STRETCH / 2
            else:
                assert found > proportions.NEUTRAL_STRETCH


def test_nothing_is_said_without_a_comparison() -> None:
    for row in [proportions.row(None, None)]:
        assert row.score is None
        assert row.text


def with_border(pin: Pin, pixels: int) -> Pin:
    """The pin with `pixels` more pixels (of `PIN_SIDE`) of metal around it."""
    mask = cv2.dilate(pin.mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2))
    rgb = pin.rgb.copy()
    rgb[(mask > 0) & (pin.mask == 0)] = drawing.METALS["black"]
    return Pin(rgb, np.asarray(mask, np.uint8))


def bordered(pin: Pin, **how: float) -> Measurement:
    """The measurement `front_border` on a photograph of the pin."""
    found = drawn.compared(pin, **how)
    drawing_seen = linework.trace(found)
    assert drawing_seen is not None
    return proportions.border(comparison.register_again(found, drawing_seen.correction), drawing_seen)


@pytest.mark.parametrize(("angle", "tilt"), [(0, 0), (40, 8), (10, 20)])
def test_a_wider_border_is_seen_from_whatever_side(angle: float, tilt: float) -> None:
    assert drawn.score(bordered(drawn.FRONT, angle=angle, tilt=tilt)) > 0.3
    assert drawn.score(bordered(with_border(drawn.FRONT, 9), angle=angle, tilt=tilt)) < -0.5


def test_metal_on_one_side_is_no_wider_border() -> None:
    """The flank of a tilted pin looks like metal on one side, and so does a shadow."""
    wide, shift = with_border(drawn.FRONT, 9), np.array([[1, 0, 9.0], [0, 1, 0]])
    beside = cv2.warpAffine(drawn.FRONT.mask, shift, wide.mask.shape[::-1]) | drawn.FRONT.mask
    assert drawn.score(bordered(Pin(wide.rgb, np.asarray(beside, np.uint8)))) > -0.1


def test_a_border_is_not_measured_where_it_cannot_be() -> None:
    found = drawn.compared(with_border(drawn.FRONT, 9))
    traced = linework.trace(found)
    assert traced is not None
    assert proportions.border(None, None).score is None
    assert proportions.border(found, None).score is None
    assert proportions.border(dataclasses.replace(found, agreement=0.6, overlap=0.7), traced).score is None
    assert found.view.pin is not None
    cut = dataclasses.replace(found.view, pin=dataclasses.replace(found.view.pin, cut_off=True))
    assert proportions.border(dataclasses.replace(found, view=cut), traced).score is None
