"""Tests of preparing one photograph: from its bytes to the crop of the pin."""

from __future__ import annotations

import dataclasses
import pickle

import cv2
import numpy as np
import pytest
from pillow_heif import register_heif_opener

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.imaging.geometry import CROP_MARGIN, NEUTRAL_GREY
from pinactors.analysis.model import CROP_SIDE, WORKING_SIDE, PreparedView
from pinactors.analysis.segmentation import prepare
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared as analysed

register_heif_opener()


LIMIT = 64_000_000


def scene_of(seed: int = 1, **changes: float) -> drawing.Scene:
    options = {"share": 0.75, "angle": 15.0} | changes
    return drawing.photograph(drawing.pin_front(seed), drawing.background("wood", 1000, 800, 1), **options)


def prepared(data: bytes, view: View = View.FRONT) -> PreparedView:
    return prepare.cut_out(decode(data, view, LIMIT, "f00d"))


def test_a_photograph_becomes_a_view_with_a_pin() -> None:
    scene = scene_of()
    found = prepared(drawing.jpeg(scene.rgb), View.BACK)
    assert (found.view, found.sha256, found.media_type) == (View.BACK, "f00d", "image/jpeg")
    assert (found.width, found.height, found.scale) == (1000, 800, 1.0)
    assert found.pin is not None
    assert found.pin_problem == ""
    inside, truth = found.pin.mask > 0, scene.mask > 0
    assert (inside & truth).sum() / (inside | truth).sum() > 0.93
    assert found.pin.confidence > 0.7
    assert found.quality.score > 0.5


def test_the_crop_is_the_pin_centred_in_grey_and_to_crop_maps_into_it() -> None:
    found = prepared(drawing.jpeg(scene_of().rgb))
    assert found.pin is not None
    pin = found.pin
    assert pin.rgb.shape == (CROP_SIDE, CROP_SIDE, 3)
    assert pin.crop_mask.shape == (CROP_SIDE, CROP_SIDE)
    assert set(np.unique(pin.crop_mask)) == {0, 255}
    assert (pin.rgb[pin.crop_mask == 0] == NEUTRAL_GREY).all()
    mapped = cv2.perspectiveTransform(pin.outline[None], pin.to_crop)[0]
    (x, y), radius = cv2.minEnclosingCircle(mapped)
    assert (x, y) == pytest.approx(((CROP_SIDE - 1) / 2, (CROP_SIDE - 1) / 2), abs=0.5)
    assert radius == pytest.approx(CROP_SIDE * (0.5 - CROP_MARGIN), abs=0.5)
    drawn = cv2.fillPoly(np.zeros_like(pin.crop_mask), [np.round(mapped).astype(np.int32)], 255)
    assert ((drawn > 0) & (pin.crop_mask > 0)).sum() / ((drawn > 0) | (pin.crop_mask > 0)).sum() > 0.98


def test_orientation_and_format_do_not_change_what_is_seen() -> None:
    surface = drawing.background("wood", 480, 400, 1)
    scene = drawing.photograph(drawing.pin_front(3), surface, share=0.75, angle=15)
    upright = prepared(drawing.jpeg(scene.rgb, 95))
    turned = prepared(drawing.jpeg(np.rot90(scene.rgb).copy(), 95, orientation=6))
    heic = prepared(drawing.encoded(scene.rgb, "HEIF", quality=90))
    assert heic.media_type == "image/heic"
    for other in (turned, heic):
        assert other.rgb.shape == upright.rgb.shape
        assert upright.pin is not None
        assert other.pin is not None
        same = (other.pin.mask > 0) == (upright.pin.mask > 0)
        assert same.mean() > 0.98


def test_large_photographs_are_measured_as_sent() -> None:
    small = scene_of(1)
    large = cv2.resize(small.rgb, None, fx=2.4, fy=2.4, interpolation=cv2.INTER_CUBIC)
    one, other = prepared(drawing.jpeg(small.rgb)), prepared(drawing.jpeg(large))
    assert max(other.rgb.shape) == WORKING_SIDE
    assert other.width == 2400
    assert other.scale == pytest.approx(WORKING_SIDE / 2400)
    assert other.quality.short_side == pytest.approx(2.4 * one.quality.short_side, rel=0.03)


def test_no_pin_is_an_answer_with_a_reason() -> None:
    found = prepared(drawing.jpeg(drawing.background("cloth", 700, 500, 3)))
    assert found.pin is None
    assert found.pin_problem.endswith(".")
    for forbidden in ("no pin visible", "unable to provide an authenticity verification"):
        assert forbidden not in found.pin_problem.lower()


def test_white_enamel_of_a_known_pin_is_no_glare() -> None:
    pin = drawing.pin_front(1)
    rgb = pin.rgb.copy()
    middle = drawing.PIN_SIDE // 2, drawing.PIN_SIDE // 2
    cv2.circle(rgb, middle, drawing.PIN_SIDE // 5, (246, 246, 242), -1)
    pin = drawing.Pin(rgb, pin.mask)

    def glare(spot: float) -> tuple[float, float]:
        """The glare with and without the catalogue picture, with a highlight left of the white field."""
        scene = drawing.photograph(pin, drawing.background("cloth", 900, 900, 1), share=0.9, angle=5)
        light = np.zeros((900, 900), np.float32)
        cv2.circle(light, (250, 620), 60, 230 * spot, -1)
        shade = np.linspace(1, 0.8, 900)[None, :, None]
        seen = scene.rgb * shade + cv2.GaussianBlur(light, (0, 0), 14)[..., None]
        picture = decode(drawing.jpeg(np.clip(seen, 0, 255).astype(np.uint8)), View.FRONT, LIMIT)
        known = drawing.photograph(pin, drawing.background("white", 640, 640), share=0.95, noise=0, blur=0.3)
        to_reference = analysed.cutout(known).to_crop @ known.to_photo @ np.linalg.inv(scene.to_photo)
        match = analysed.match({View.FRONT: analysed.reference(pin, View.FRONT)})
        found = dataclasses.replace(match.candidates[0], to_reference={View.FRONT: to_reference})
        match = dataclasses.replace(match, candidates=(found,))
        with_match, without = (prepare.cut_out(picture, one) for one in (match, None))
        return with_match.quality.glare, without.quality.glare

    known, unknown = glare(0.0)
    assert known < 0.005
    assert unknown > 0.1
    known, unknown = glare(1.0)
    assert 0.015 < known < unknown - 0.1, "a highlight elsewhere still counts"


def test_what_is_wrong_with_the_framing_is_a_problem_to_read() -> None:
    outside = prepared(drawing.jpeg(scene_of(0, at=(0.5, 0.12)).rgb))
    assert outside.pin is not None
    assert outside.pin.cut_off
    assert "whole pin" in outside.quality.problems[0]
    second = drawing.photograph(
        drawing.pin_front(4), scene_of(0, at=(0.3, 0.5)).rgb, share=0.5, at=(0.8, 0.5)
    )
    assert any(
        "more than one object" in problem for problem in prepared(drawing.jpeg(second.rgb)).quality.problems
    )


def test_a_view_survives_pickling() -> None:
    found = prepared(drawing.jpeg(scene_of().rgb))
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again.rgb, found.rgb)
    assert again.quality == found.quality
