"""What the front shows: colours under any light, the drawing's shape and lines, enamel and edge."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from pinactors.analysis.evidence import (
    colours,
    comparison,
    edges,
    enamel,
    linework,
    metal,
    proportions,
    verdict,
)
from pinactors.analysis.evidence.comparison import Comparison, Target
from pinactors.analysis.evidence.likelihood import Measurement
from pinactors.analysis.model import PreparedView
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.drawing import PIN_SIDE, Pin

SEED = 4
FRONT = drawing.pin_front(SEED)


def seen(pin: Pin, **how: float) -> Comparison:
    found = comparison.compare(
        prepared.photo(pin, View.FRONT, **how), Target(prepared.reference(FRONT, View.FRONT)), None
    )
    assert found is not None
    return found


def geometry(found: Comparison) -> dict[str, Measurement]:
    return {row.name: row for row in linework.rows(found, linework.trace(found))}


def score(row: Measurement) -> float:
    assert row.score is not None, row.text
    return row.score


def warped(pin: Pin, reach: float, wave: float) -> Pin:
    """The drawing bent by sine waves of this amplitude and length, in drawing pixels."""
    ys, xs = np.mgrid[:PIN_SIDE, :PIN_SIDE].astype(np.float32)
    mapped_x = (xs + reach * np.sin(2 * np.pi * ys / wave)).astype(np.float32)
    mapped_y = (ys + reach * np.sin(2 * np.pi * xs / wave)).astype(np.float32)
    rgb = cv2.remap(pin.rgb, mapped_x, mapped_y, cv2.INTER_LINEAR)
    return Pin(
        np.asarray(rgb, np.uint8),
        np.asarray(cv2.remap(pin.mask, mapped_x, mapped_y, cv2.INTER_NEAREST), np.uint8),
    )


def repainted(pin: Pin) -> tuple[Pin, float]:
    """The pin with its largest enamel field in another hue, and the field's share of the pin."""
    lab = comparison.lab_of(pin.rgb)[pin.mask > 0]
    members = colours.clusters(lab, 0.02 * len(lab))[0]
    places = np.argwhere(pin.mask > 0)[members]
    rgb = pin.rgb.copy()
    field = rgb[places[:, 0], places[:, 1]]
    rgb[places[:, 0], places[:, 1]] = field[:, [1, 2, 0]]
    return Pin(rgb, pin.mask), len(members) / len(lab)


@pytest.mark.parametrize("angle", [0, 33, 120, 200])
def test_a_front_is_laid_on_its_picture_whatever_the_turn(angle: float) -> None:
    found = seen(FRONT, angle=angle)
    assert found.agreement > 0.8
    assert found.overlap > 0.95
    where = found.inside
    assert comparison.correlation(found.photo_lab[..., 0], found.target.lab[..., 0], where) > 0.9


def test_another_pin_is_not_laid_on_it() -> None:
    other = prepared.photo(drawing.pin_front(SEED + 6), View.FRONT)  # the same outline, another drawing
    found = comparison.compare(other, Target(prepared.reference(FRONT, View.FRONT)), None)
    assert found is None or found.agreement < 0.45


def test_places_lead_back_to_the_photograph() -> None:
    found = seen(FRONT, angle=33)
    rows, columns = np.nonzero(found.inside)
    working = (
        found.to_working(np.column_stack([columns[::500], rows[::500]]).astype(np.float32))
        .round()
        .astype(int)
    )
    assert found.view.pin is not None
    assert (found.view.pin.mask[working[:, 1], working[:, 0]] > 0).mean() > 0.98


def test_the_same_drawing_speaks_for_itself() -> None:
    rows = geometry(seen(FRONT, angle=7, tilt=8))
    assert score(rows["front_geometry"]) > 0.3
    assert score(rows["front_lines"]) > 0.3


def test_a_view_laid_askew_is_put_right_without_a_perspective() -> None:
    """Lines lie further from their places than from their neighbours', and pull the fit every way."""
    found = seen(FRONT)
    askew = np.array([[1, 0.03, 12], [-0.03, 1, -6], [0, 0, 1.0]])
    laid = np.asarray(cv2.warpPerspective(found.photo, askew, found.photo.shape[:2]), np.uint8)
    drawn = linework.trace(dataclasses.replace(found, photo=laid))
    assert drawn is not None
    assert np.abs(drawn.correction[2, :2]).max() * 256 < 0.01


def test_a_drawing_is_not_blamed_where_nothing_lies_on_its_picture() -> None:
    bad = seen(warped(FRONT, 5, 320))
    for agreement, overlap, assessed in ((0.6, 0.7, False), (0.6, 0.95, True), (0.9, 0.7, True)):
        row = geometry(dataclasses.replace(bad, agreement=agreement, overlap=overlap))["front_geometry"]
        assert (row.score is not None) is assessed


def test_a_drawing_drawn_again_is_seen() -> None:
    rows = geometry(seen(warped(FRONT, 5, 320)))
    assert score(rows["front_geometry"]) < -0.5
    assert rows["front_geometry"].region is not None


def test_wavering_lines_are_seen() -> None:
    rows = geometry(seen(warped(FRONT, 2.5, 24)))
    assert score(rows["front_lines"]) < -0.3
    assert score(rows["front_lines"]) < score(geometry(seen(FRONT))["front_lines"]) - 0.5


def stretched(pin: Pin, by: float, angle: float) -> Pin:
    """The pin, longer by this share in the direction of `angle` degrees."""
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
    row = proportioned(seen(FRONT, angle=angle, tilt=tilt))
    assert score(row) > 0.5
    assert row.region is None


@pytest.mark.parametrize("tilt", [0, 10])
@pytest.mark.parametrize("direction", [0, 60, 110])
def test_a_stretched_pin_is_seen_from_whatever_side(tilt: float, direction: float) -> None:
    row = proportioned(seen(stretched(FRONT, 0.06, direction), angle=15, tilt=tilt))
    assert score(row) < -0.3
    assert row.region is not None


def test_a_stretch_along_the_tilt_may_be_the_tilt() -> None:
    """A pin tilted by twenty degrees looks shorter by six per cent: there nothing is said of one that is."""
    row = proportioned(seen(stretched(FRONT, -0.02, 90), tilt=20))
    assert score(row) > -0.1


def test_proportions_are_not_measured_where_nothing_lies_on_its_picture() -> None:
    found = dataclasses.replace(seen(stretched(FRONT, 0.06, 0)), agreement=0.6, overlap=0.7)
    assert proportioned(found).score is None


@pytest.mark.parametrize("focus", [0.6, 1.0, 3.5])
@pytest.mark.parametrize("axis", [(0.0, 0.0), (0.12, -0.1)])
def test_every_camera_leaves_a_flat_pin_its_proportions(focus: float, axis: tuple[float, float]) -> None:
    """Views under pinhole cameras with their axes anywhere: the stretch is that of the plane."""
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
                assert found < proportions.NORMAL / 2
            else:
                assert found > proportions.NORMAL


def test_colours_are_judged_in_both_photographs_of_the_front() -> None:
    """Another colour in one of them only is the light's; one in both is the pin's."""
    known = prepared.match({View.FRONT: prepared.reference(FRONT, View.FRONT)})
    other, _ = repainted(FRONT)

    def judged(straight: Pin, tilted: Pin) -> float:
        front, angled = prepared.photo(straight, View.FRONT), prepared.photo(tilted, View.ANGLED, tilt=30)
        scene = verdict.arrange(front, None, angled, known)
        rows = verdict.measurements(scene, None, known)
        return score(next(row for row in rows if row.name == "colour_regions"))

    assert judged(other, other) < -0.5
    assert judged(other, other) < judged(other, FRONT) - 0.3 < judged(FRONT, FRONT) - 0.6


def test_a_wrong_start_by_a_few_pixels_does_not_matter() -> None:
    reference = prepared.reference(FRONT, View.FRONT)
    view = prepared.photo(FRONT, View.FRONT)
    exact = comparison.compare(view, Target(reference), None)
    assert exact is not None
    assert view.pin is not None
    start = (
        np.array([[1, 0, 3.0], [0, 1, -3.0], [0, 0, 1]]) @ exact.to_target @ np.linalg.inv(view.pin.to_crop)
    )
    found = comparison.compare(view, Target(reference), start)
    assert found is not None
    assert score(geometry(found)["front_geometry"]) > 0.3


def test_what_the_search_did_not_lay_is_registered_without_trying_all_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(comparison, "_turn")
    assert seen(FRONT, angle=115.0).agreement > comparison.SURE_AGREEMENT


@pytest.mark.parametrize("light", [0.55, 0.8, 1.0])
def test_light_alone_is_no_other_colour(light: float) -> None:
    row = colours.regions(seen(FRONT, light=light), [])
    assert score(row) > 0
    assert row.region is None


def test_a_white_balance_that_is_off_is_no_other_colour() -> None:
    view = prepared.photo(FRONT, View.FRONT)
    assert view.pin is not None
    tinted = np.clip(view.rgb * np.array([1.1, 1.0, 0.9]) * 0.8, 0, 255).astype(np.uint8)
    view = dataclasses.replace(view, rgb=tinted)
    found = comparison.compare(view, Target(prepared.reference(FRONT, View.FRONT)), None)
    assert score(colours.regions(found, [])) > 0


def test_one_repainted_field_is_seen() -> None:
    pin, share = repainted(FRONT)
    assert 0.03 < share < 0.6
    row = colours.regions(seen(pin), [])
    assert score(row) < -0.5
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
    """Seen alone it would: nine tenths of the pixels, and a light that makes it."""
    standing = colours.stand(
        [
            painted("white", (0.7, 0.7, 0.7), 0.8, (0.45, 0.85, 0.6)),
            painted("red", (0.7, 0.7, 0.7), 0.03),
            painted("blue", (0.7, 0.7, 0.7), 0.03),
        ]
    )
    assert standing.deviation.argmax() == 0
    assert standing.deviation[0] > colours.OPEN + 0.5
    assert standing.apart[0] > 10
    assert standing.deviation[1:].max() < standing.deviation[0] - 1


def test_every_paint_under_a_lamp_s_light_stands_as_it_should() -> None:
    standing = colours.stand([painted(name, WARM, 0.2) for name in PAINTS])
    assert standing.deviation.max() < colours.OPEN


def test_a_light_that_no_lamp_gives_is_less_likely_than_another_paint() -> None:
    """Two paints leave the light open but for what lights are: green is none, warm is one."""
    warm, green = (
        colours.stand([painted("white", light, 0.5), painted("blue", (0.65, 0.65, 0.65), 0.1)])
        for light in (WARM, GREEN)
    )
    assert green.deviation.max() > warm.deviation.max() + 1


def test_a_light_in_which_paint_would_be_more_than_white_does_not_hide_its_tint() -> None:
    """Dividing by too dim a light would make white of it, were colours cut off there."""
    dim, bright = np.array([[0.9, 1.0, 0.8]]), np.array([[1.8, 2.0, 1.6]])
    assert colours.lab_of_linear(bright)[0, 1] < colours.lab_of_linear(dim)[0, 1] < -5


def field(shown: tuple[float, float, float], *, metal: bool) -> float:
    """How far a white field shown like that stands from two paints in plain light."""
    return float(
        colours.stand(
            [
                painted("white", (0.7, 0.7, 0.7), 0.3, shown, metal=metal),
                painted("red", (0.7, 0.7, 0.7), 0.1),
                painted("blue", (0.7, 0.7, 0.7), 0.1),
            ]
        ).deviation[0]
    )


def test_what_may_be_metal_is_judged_more_mildly() -> None:
    tinted = (0.7, 0.5, 0.3)
    assert 0 < field(tinted, metal=True) < field(tinted, metal=False) - 0.2


def test_metal_may_mirror_next_to_nothing_and_keeps_its_tint() -> None:
    dark = (0.06, 0.06, 0.06)
    assert field(dark, metal=True) < 0.5 < 1.5 < field(dark, metal=False)
    assert field((0.02, 0.06, 0.02), metal=True) > colours.OPEN


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # Sharma, Wu and Dalal 2005, table 1
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_differences_are_those_of_the_standard(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    assert colours.difference(np.array(first), np.array(second)) == pytest.approx(expected, abs=1e-4)


def test_colours_through_linear_light_and_back() -> None:
    rgb = np.array([[0.2, 0.5, 0.9], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    lab = colours.lab_of_linear(colours.linear(rgb))
    direct = cv2.cvtColor(rgb[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    assert np.abs(lab - direct).max() < 0.2  # OpenCV's goes by tables
    assert colours.lab_of_linear(np.array([1.0, 0.0, 0.0])) == pytest.approx([53.24, 80.09, 67.20], abs=0.03)


def test_bare_metal_is_told_from_paint() -> None:
    tone = np.array([75.0, 5.0, 40.0])
    lab = np.array([[80.0, 6.0, 45.0], [60.0, 0.0, 35.0], [75.0, -20.0, 40.0], [20.0, 5.0, 40.0]])
    assert colours.metallic(lab, [tone]).tolist() == [True, True, False, False]
    assert not colours.metallic(lab, []).any()


def test_a_wavy_surface_is_seen() -> None:
    rng = np.random.default_rng(2)
    waves = cv2.GaussianBlur(rng.normal(0, 1, (PIN_SIDE, PIN_SIDE)).astype(np.float32), (0, 0), 5)
    wavy = np.clip(FRONT.rgb * (1 + 2.2 * waves[..., None]), 0, 255).astype(np.uint8)
    smooth, uneven = seen(FRONT), seen(Pin(wavy, FRONT.mask))
    assert score(enamel.fill(smooth, enamel.measure(smooth, []))) > 0
    bad = enamel.fill(uneven, enamel.measure(uneven, []))
    assert score(bad) < -0.4
    assert bad.region is not None


def frayed(pin: Pin, depth: int) -> Pin:
    """Burrs of this depth (drawing pixels) all around: bites out of the outline and bits beside it."""
    rng = np.random.default_rng(5)
    mask = pin.mask.copy()
    (contour, *_), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for x, y in contour[::9, 0]:
        cv2.circle(mask, (int(x), int(y)), int(rng.integers(1, depth + 1)), int(rng.choice([0, 255])), -1)
    rgb = pin.rgb.copy()
    rgb[(mask > 0) & (pin.mask == 0)] = drawing.METALS["silver"]
    return Pin(rgb, mask)


def edge(front: PreparedView, back: PreparedView | None = None) -> Measurement:
    (row,) = edges.rows(front, back, None)
    return row


def test_burrs_are_seen_and_smooth_edges_are_not_blamed() -> None:
    clean = edge(prepared.photo(FRONT, View.FRONT, side=700))
    rough = edge(prepared.photo(frayed(FRONT, 6), View.FRONT, side=700))
    assert score(clean) > 0.3
    assert score(rough) < -0.5
    assert clean.region is None
    assert rough.region is not None


def test_an_edge_cut_off_or_too_small_is_not_judged() -> None:
    view = prepared.photo(FRONT, View.FRONT, side=700)
    assert view.pin is not None
    cut = dataclasses.replace(view, pin=dataclasses.replace(view.pin, cut_off=True))
    assert edge(cut).score is None
    assert edge(prepared.photo(FRONT, View.FRONT, side=200)).score is None
    assert edge(prepared.empty(View.FRONT)).score is None


def test_even_plating_and_blotches() -> None:
    pin = drawing.pin_back(SEED, (), waffle=False, metal="gold")
    blotched = pin.rgb.copy()
    blotched[: PIN_SIDE // 2] = np.clip(blotched[: PIN_SIDE // 2] * np.array([1.0, 0.62, 1.3]), 0, 255)
    even = metal.uniformity(prepared.photo(pin, View.BACK))
    spotty = metal.uniformity(prepared.photo(Pin(blotched, pin.mask), View.BACK))
    assert score(even) > 0.3
    assert score(spotty) < -0.3
    assert metal.uniformity(prepared.empty(View.BACK)).score is None


def test_nothing_is_said_without_a_comparison() -> None:
    for row in [*linework.rows(None, None), colours.regions(None, []), enamel.fill(None, None)]:
        assert row.score is None
        assert row.text
