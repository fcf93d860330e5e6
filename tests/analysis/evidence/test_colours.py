"""Tests of comparing colours under different lights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinactors.analysis.evidence import colours, comparison, verdict
from pinactors.analysis.evidence.photographs import arrange
from pinactors.analysis.imaging.colorimetry import lab_of_linear
from pinactors.protocol import View
from tests.analysis import prepared
from tests.analysis.evidence import drawn
from tests.drawing import Pin


def repainted(pin: Pin) -> tuple[Pin, float]:
    """The pin with its largest enamel field in another hue, and the field's share of the pin."""
    lab = comparison.lab_of(pin.rgb)[pin.mask > 0]
    members = colours.clusters(lab, 0.02 * len(lab))[0]
    places = np.argwhere(pin.mask > 0)[members]
    rgb = pin.rgb.copy()
    field = rgb[places[:, 0], places[:, 1]]
    rgb[places[:, 0], places[:, 1]] = field[:, [1, 2, 0]]
    return Pin(rgb, pin.mask), len(members) / len(lab)


def test_colours_are_judged_in_both_photographs_of_the_front() -> None:
    """A colour that differs in one photograph only is due to the light; if it differs in both, to the pin."""
    known = prepared.match({View.FRONT: prepared.reference(drawn.FRONT, View.FRONT)})
    other, _ = repainted(drawn.FRONT)

    def judged(straight: Pin, tilted: Pin) -> float:
        front, angled = prepared.photo(straight, View.FRONT), prepared.photo(tilted, View.ANGLED, tilt=30)
        photographs = arrange(front, None, angled, known)
        rows = verdict.measurements(photographs, None, known)
        return drawn.score(next(row for row in rows if row.name == "colour_regions"))

    assert judged(other, other) < -0.5
    assert judged(other, drawn.FRONT) > 0
    assert judged(drawn.FRONT, other) > 0


@pytest.mark.parametrize("light", [0.55, 0.8, 1.0])
def test_light_alone_is_no_other_colour(light: float) -> None:
    row = colours.regions(drawn.compared(drawn.FRONT, light=light), None, [])
    assert drawn.score(row) > 0
    assert row.region is not None


def test_a_white_balance_that_is_off_is_no_other_colour() -> None:
    view = prepared.photo(drawn.FRONT, View.FRONT)
    assert view.pin is not None
    tinted = np.clip(view.rgb * np.array([1.1, 1.0, 0.9]) * 0.8, 0, 255).astype(np.uint8)
    view = dataclasses.replace(view, rgb=tinted)
    found = comparison.compare(view, drawn.TARGET, None)
    assert drawn.score(colours.regions(found, None, [])) > 0


def test_one_repainted_field_is_seen() -> None:
    pin, share = repainted(drawn.FRONT)
    assert 0.03 < share < 0.6
    row = colours.regions(drawn.compared(pin), None, [])
    assert drawn.score(row) < -0.5
    assert row.region is not None


PAINTS = {"red": (0.60, 0.05, 0.06), "blue": (0.05, 0.12, 0.55), "white": (0.85, 0.85, 0.83)}


def painted(
    name: str,
    light: tuple[float, float, float],
    area: float,
    shown: tuple[float, float, float] | None = None,
    *,
    metal: bool = False,
) -> colours.Paint:
    """A field that the catalogue shows as `name` and the photograph, under `light`, as `shown`."""
    there = np.array(PAINTS[name])
    here = np.array(shown or PAINTS[name]) * light
    return colours.Paint(here, there, area, 0.1, np.zeros((1, 2), np.float32), metal)


WARM, GREEN = (0.8, 0.65, 0.5), (0.5, 0.75, 0.5)


def test_the_largest_field_does_not_say_what_the_light_is() -> None:
    """The largest field has nine tenths of the pixels, and its change of colour alone could be explained by a
    light; the two small fields contradict that."""
    standing = colours.deviations(
        [
            painted("white", (0.7, 0.7, 0.7), 0.8, (0.45, 0.85, 0.6)),
            painted("red", (0.7, 0.7, 0.7), 0.03),
            painted("blue", (0.7, 0.7, 0.7), 0.03),
        ]
    )
    assert standing.argmax() == 0
    assert standing[0] > colours.NEUTRAL_DEVIATION + 0.5
    assert standing[1:].max() < standing[0] - 1


def test_every_paint_under_a_lamp_s_light_stands_as_it_should() -> None:
    standing = colours.deviations([painted(name, WARM, 0.2) for name in PAINTS])
    assert standing.max() < colours.NEUTRAL_DEVIATION


def test_a_light_that_no_lamp_gives_is_less_likely_than_another_paint() -> None:
    """Two paints do not determine the light, but lamps give warm light and never green light."""
    warm, green = (
        colours.deviations([painted("white", light, 0.5), painted("blue", (0.65, 0.65, 0.65), 0.1)])
        for light in (WARM, GREEN)
    )
    assert green.max() > warm.max() + 1


def test_a_light_in_which_paint_would_be_more_than_white_does_not_hide_its_tint() -> None:
    """A colour brighter than white keeps its tint: if it were clipped, dividing by too dim a light would make
    it white."""
    dim, bright = np.array([[0.9, 1.0, 0.8]]), np.array([[1.8, 2.0, 1.6]])
    assert lab_of_linear(bright)[0, 1] < lab_of_linear(dim)[0, 1] < -5


def field(shown: tuple[float, float, float], *, metal: bool) -> float:
    """The deviation of a white field shown as `shown` beside two other paints, all in neutral light."""
    return float(
        colours.deviations(
            [
                painted("white", (0.7, 0.7, 0.7), 0.3, shown, metal=metal),
                painted("red", (0.7, 0.7, 0.7), 0.1),
                painted("blue", (0.7, 0.7, 0.7), 0.1),
            ]
        )[0]
    )


def test_what_may_be_metal_is_judged_more_mildly() -> None:
    tinted = (0.7, 0.5, 0.3)
    assert 0 < field(tinted, metal=True) < field(tinted, metal=False) - 0.2


def test_metal_may_mirror_next_to_nothing_and_keeps_its_tint() -> None:
    dark = (0.06, 0.06, 0.06)
    assert field(dark, metal=True) < 0.5 < 1.5 < field(dark, metal=False)
    assert field((0.02, 0.06, 0.02), metal=True) > colours.NEUTRAL_DEVIATION


def test_bare_metal_is_told_from_paint() -> None:
    tone = np.array([75.0, 5.0, 40.0])
    lab = np.array([[80.0, 6.0, 45.0], [60.0, 0.0, 35.0], [75.0, -20.0, 40.0], [20.0, 5.0, 40.0]])
    assert colours.metallic(lab, [tone]).tolist() == [True, True, False, False]
    assert not colours.metallic(lab, []).any()


def test_nothing_is_said_without_a_comparison() -> None:
    for row in [colours.regions(None, None, [])]:
        assert row.score is None
        assert row.text
