"""Tests of the measurements of the enamel's surface and the pin's edge."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import cv2
import numpy as np

from pinactors.analysis.evidence import comparison, surface
from pinactors.analysis.evidence.likelihood import Measurement, ramp
from pinactors.analysis.model import CROP_SIDE, PreparedView
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.analysis.evidence import drawn
from tests.drawing import PIN_SIDE, Pin


@lru_cache(4)
def wavy(left: int = 0, right: int = PIN_SIDE) -> Pin:
    """The drawn front with waves and pits in the enamel of the columns from `left` to `right`."""
    noise = np.random.default_rng(2).normal(0, 1, (PIN_SIDE, PIN_SIDE)).astype(np.float32)
    waves = np.zeros_like(noise)
    waves[:, left:right] = cv2.GaussianBlur(noise, (0, 0), 5)[:, left:right]
    rgb = np.clip(drawn.FRONT.rgb * (1 + 2.2 * waves[..., None]), 0, 255).astype(np.uint8)
    return Pin(rgb, drawn.FRONT.mask)


MIDDLE = PIN_SIDE // 2


def test_a_wavy_surface_is_seen() -> None:
    smooth, uneven = drawn.compared(drawn.FRONT), drawn.compared(wavy())
    assert drawn.score(surface.enamel_fill(smooth, None, [])) > 0
    bad = surface.enamel_fill(uneven, None, [])
    assert drawn.score(bad) < -0.4
    assert bad.region is not None


def test_what_shows_in_both_photographs_is_on_the_pin() -> None:
    """Waves at different places in two photographs are reflections; at the same place they are on the pin."""
    uneven = drawn.compared(wavy(0, MIDDLE))
    same = surface.unevenness(uneven, drawn.compared(wavy(0, MIDDLE), angle=20), [])
    other = surface.unevenness(uneven, drawn.compared(wavy(MIDDLE, PIN_SIDE), angle=20), [])
    smooth = surface.unevenness(uneven, drawn.compared(drawn.FRONT, angle=20), [])
    assert same is not None
    assert other is not None
    assert smooth is not None
    assert same.level > 1.5 * other.level
    assert same.level > 1.5 * smooth.level
    assert (same.worst[:, 0] < CROP_SIDE / 2).all()
    assert surface.unevenness(None, uneven, []) is None, "a photograph from the side alone says nothing"


def test_a_photograph_under_a_reflection_is_left_aside() -> None:
    smooth, uneven = drawn.compared(drawn.FRONT), drawn.compared(wavy())
    view = uneven.view
    has_glare = dataclasses.replace(
        uneven, view=dataclasses.replace(view, quality=dataclasses.replace(view.quality, clipped=0.2))
    )
    assert surface.enamel_fill(has_glare, smooth, []).score is None
    assert surface.enamel_fill(uneven, has_glare, []) == surface.enamel_fill(uneven, None, [])


def frayed(pin: Pin, depth: int) -> Pin:
    """The pin with burrs of at most this depth (drawing pixels) all around: pieces cut from the outline and
    pieces added to it."""
    rng = np.random.default_rng(5)
    mask = pin.mask.copy()
    (contour, *_), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for x, y in contour[::9, 0]:
        cv2.circle(mask, (int(x), int(y)), int(rng.integers(1, depth + 1)), int(rng.choice([0, 255])), -1)
    rgb = pin.rgb.copy()
    rgb[(mask > 0) & (pin.mask == 0)] = drawing.METALS["silver"]
    return Pin(rgb, mask)


def edge(front: PreparedView, back: PreparedView | None = None) -> Measurement:
    return surface.edge_roughness(front, back, None)


def test_burrs_are_seen_and_smooth_edges_are_not_blamed() -> None:
    clean = edge(prepared.photo(drawn.FRONT, View.FRONT, side=700))
    rough = edge(prepared.photo(frayed(drawn.FRONT, 6), View.FRONT, side=700))
    assert drawn.score(clean) > 0.3
    assert drawn.score(rough) < -0.5
    assert clean.region is not None
    assert rough.region is not None


def test_an_edge_that_is_rough_on_one_side_only_counts_less() -> None:
    """Burrs show on both sides of a pin, a shadow or a bad cut-out mostly on one."""
    rough = prepared.photo(frayed(drawn.FRONT, 6), View.FRONT, side=700)
    rough_back = dataclasses.replace(rough, view=View.BACK)
    clean_back = dataclasses.replace(prepared.photo(drawn.FRONT, View.FRONT, side=700), view=View.BACK)
    both, one = drawn.score(edge(rough, rough_back)), drawn.score(edge(rough, clean_back))
    assert both < -0.5
    front, back = surface.roughness(rough), surface.roughness(clean_back)
    assert front is not None
    assert back is not None
    mean = (front.typical + back.typical) / 2
    assert one > max(
        both, ramp(mean, surface.BAD_ROUGHNESS, surface.NEUTRAL_ROUGHNESS, surface.GOOD_ROUGHNESS)
    )


def test_an_edge_cut_off_or_too_small_is_not_judged() -> None:
    view = prepared.photo(drawn.FRONT, View.FRONT, side=700)
    assert view.pin is not None
    cut = dataclasses.replace(view, pin=dataclasses.replace(view.pin, cut_off=True))
    assert edge(cut).score is None
    assert edge(prepared.photo(drawn.FRONT, View.FRONT, side=200)).score is None
    assert edge(prepared.empty(View.FRONT)).score is None


def test_nothing_is_said_without_a_comparison() -> None:
    for row in [surface.enamel_fill(None, None, [])]:
        assert row.score is None
        assert row.text


def test_a_design_with_a_ragged_edge_is_not_blamed_for_it() -> None:
    view = prepared.photo(frayed(drawn.FRONT, 6), View.FRONT, side=700)
    own = prepared.reference(frayed(drawn.FRONT, 6), View.FRONT)
    assert surface.edge_roughness(view, None, None, own).score is None
    smooth = prepared.reference(drawn.FRONT, View.FRONT)
    assert drawn.score(surface.edge_roughness(view, None, None, smooth)) < -0.5
    whole = dataclasses.replace(own, outlined=False)
    assert drawn.score(surface.edge_roughness(view, None, None, whole)) < -0.5


def test_an_edge_hardly_rougher_than_the_catalogue_s_counts_less() -> None:
    view = prepared.photo(frayed(drawn.FRONT, 4), View.FRONT, side=700)
    similar = prepared.reference(frayed(drawn.FRONT, 2), View.FRONT)
    smooth = prepared.reference(drawn.FRONT, View.FRONT)
    against, mildly = (
        drawn.score(surface.edge_roughness(view, None, None, catalogued)) for catalogued in (smooth, similar)
    )
    assert against < surface.SLIGHT_SCORE
    assert mildly > against + 0.2


def test_glitter_that_the_catalogue_shows_as_well_is_not_blamed() -> None:
    own = comparison.Target(prepared.reference(wavy(), View.FRONT))
    seen = comparison.compare(prepared.photo(wavy(), View.FRONT), own, None)
    assert seen is not None
    assert surface.unevenness(seen, None, []) is not None
    assert surface.enamel_fill(seen, None, []).score is None
