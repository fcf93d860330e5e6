"""Tests of registering a photograph on its catalogue picture, at any rotation, and not on another pin's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinactors.analysis.evidence import colours, comparison, fitting
from pinactors.analysis.evidence.comparison import Comparison, Target
from pinactors.analysis.evidence.likelihood import Measurement
from pinactors.analysis.model import CROP_SIDE
from pinactors.protocol import Box, View
from tests import drawing
from tests.analysis import prepared
from tests.analysis.evidence import drawn
from tests.drawing import Pin, Scene

HOLED = prepared.with_holes(drawn.FRONT)


def framed(found: Comparison) -> Comparison:
    """`found`, whose catalogue picture is the crop itself, so that places in it are known."""
    reference = dataclasses.replace(
        found.target.reference, to_picture=np.diag([1 / CROP_SIDE, 1 / CROP_SIDE, 1])
    )
    return dataclasses.replace(found, target=dataclasses.replace(found.target, reference=reference))


def intersection_over_union(one: Box, other: Box) -> float:
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (one.width * one.height + other.width * other.height - shared)


def painted(*colour: int) -> Pin:
    """The pin with paint in place of its holes."""
    rgb = HOLED.rgb.copy()
    rgb[(drawn.FRONT.mask > 0) & (HOLED.mask == 0)] = colour
    return Pin(rgb, drawn.FRONT.mask)


def compared_with_white(pin: Pin, surface: str) -> Comparison:
    """`compared` with a catalogue picture on a white ground, in which holes and white paint look alike."""
    known = prepared.reference(painted(240, 240, 240), View.FRONT)
    ground = np.asarray(known.mask & ~prepared.reference(HOLED, View.FRONT).mask, np.uint8)
    return compared(pin, surface, Target(dataclasses.replace(known, ground=ground)))


def compared(pin: Pin, surface: str, target: Target) -> Comparison:
    """A photograph of the pin, cut out along its outer outline as photographs are, on `target`."""
    table = drawing.background(surface, 900, 900, 1)
    taken, outer = (drawing.photograph(one, table, share=0.9, angle=6) for one in (pin, drawn.FRONT))
    scene = Scene(taken.rgb, outer.mask, taken.to_photo)
    found = comparison.compare(prepared.prepared(scene, View.FRONT), target, None)
    assert found is not None
    return found


def judged(found: Comparison) -> float:
    return drawn.score(colours.regions(found, None, []))


@pytest.mark.parametrize("surface", ["cloth", "wood", "speckle", "grey"])
def test_a_hole_is_no_paint_on_any_ground(surface: str) -> None:
    found = compared_with_white(HOLED, surface)
    holes = (drawn.TARGET.mask > 0) & (prepared.reference(HOLED, View.FRONT).mask == 0)
    assert not found.inside[holes].any()
    assert not found.target.mask[holes].any()
    assert found.inside.sum() > 0.75 * drawn.TARGET.mask.sum()
    assert judged(found) > 0


@pytest.mark.parametrize("surface", ["cloth", "wood"])
def test_paint_in_the_colour_of_the_catalogues_ground_is_compared(surface: str) -> None:
    genuine, other = (
        compared_with_white(painted(*rgb), surface) for rgb in ((240, 240, 240), (90, 140, 240))
    )
    for found in (genuine, other):
        assert found.inside.sum() > 0.95 * drawn.TARGET.mask.sum()
    assert judged(genuine) > 0
    assert judged(other) < -0.5


def test_holes_of_a_cut_out_do_not_separate_its_silhouette_from_the_photographs() -> None:
    assert compared(HOLED, "cloth", Target(prepared.reference(HOLED, View.FRONT))).overlap > 0.97


@pytest.mark.parametrize("angle", [0, 33, 120, 200])
def test_a_front_is_laid_on_its_picture_whatever_the_turn(angle: float) -> None:
    found = drawn.compared(drawn.FRONT, angle=angle)
    assert found.agreement > 0.8
    assert found.overlap > 0.95
    where = found.inside
    assert fitting.correlation(found.photo_lab[..., 0], found.target.lab[..., 0], where) > 0.9


def test_another_pin_is_not_laid_on_it() -> None:
    other = prepared.photo(drawing.pin_front(drawn.SEED + 6), View.FRONT)  # the same outline, another drawing
    found = comparison.compare(other, drawn.TARGET, None)
    assert found is None or found.agreement < 0.45


def test_places_lead_back_to_the_photograph() -> None:
    found = drawn.compared(drawn.FRONT, angle=33)
    rows, columns = np.nonzero(found.inside)
    working = (
        found.to_working(np.column_stack([columns[::500], rows[::500]]).astype(np.float32))
        .round()
        .astype(int)
    )
    assert found.view.pin is not None
    assert (found.view.pin.mask[working[:, 1], working[:, 0]] > 0).mean() > 0.98


def test_a_row_without_a_place_is_about_the_whole_pin() -> None:
    found = framed(drawn.compared(drawn.FRONT, angle=33))
    row = comparison.placed(Measurement("front_lines", "The lines run alike.", 0.9), found.view, found)
    assert (row.region, row.reference) == tuple(found.boxes_of_pin.values())
    alone = comparison.placed(dataclasses.replace(row, region=None, reference=None), found.view, None)
    assert alone.reference is None
    assert row.region is not None
    assert alone.region is not None
    assert intersection_over_union(row.region, alone.region) > 0.9
    unknown = Measurement("front_lines", "the lines were not measured")
    assert comparison.placed(unknown, found.view, found) == unknown


def test_a_place_in_the_photograph_is_found_in_the_catalogues_picture() -> None:
    found = framed(drawn.compared(drawn.FRONT, angle=0))
    expected = found.boxes_around(np.array([[60, 70], [120, 110]], np.float32))
    row = comparison.placed(
        Measurement("edge_roughness", "The edge is rough.", -0.5, expected["region"]), found.view, found
    )
    assert row.region == expected["region"]
    assert row.reference is not None
    assert intersection_over_union(row.reference, expected["reference"]) > 0.8


def test_a_wrong_start_by_a_few_pixels_does_not_matter() -> None:
    view = prepared.photo(drawn.FRONT, View.FRONT)
    exact = comparison.compare(view, drawn.TARGET, None)
    assert exact is not None
    assert view.pin is not None
    start = (
        np.array([[1, 0, 3.0], [0, 1, -3.0], [0, 0, 1]]) @ exact.to_target @ np.linalg.inv(view.pin.to_crop)
    )
    found = comparison.compare(view, drawn.TARGET, start)
    assert found is not None
    assert drawn.score(drawn.geometry(found)["front_geometry"]) > 0.3


def test_what_the_search_did_not_lay_is_registered_without_trying_all_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(fitting, "rotation_of")
    assert drawn.compared(drawn.FRONT, angle=115.0).agreement > fitting.SURE_AGREEMENT


def test_a_back_is_turned_right_although_its_pattern_agrees_in_part_when_upside_down() -> None:
    disc = drawing.pin_back(0)  # a round outline fits at any rotation
    view, target = prepared.photo(disc, View.BACK), Target(prepared.reference(disc, View.BACK))
    upside_down = np.array([[-1, 0, CROP_SIDE], [0, -1, CROP_SIDE], [0, 0, 1]], np.float64)
    assert view.pin is not None
    found = comparison.compare(view, target, upside_down @ view.pin.to_crop)
    assert found is not None
    assert found.agreement > 0.95
