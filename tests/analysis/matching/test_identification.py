"""Tests of identification on drawn pins: pins in the catalogue are found, all others are not claimed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pinactors.analysis.matching import identification
from pinactors.analysis.model import Image, StampReading
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View
from tests import drawing
from tests.analysis.matching.conftest import SEEDS
from tests.catalog import folders

UNKNOWN = 11


@pytest.mark.parametrize("seed", [0, 2, 5])
def test_a_drawn_pin_is_found(catalog: Path, seed: int) -> None:
    match = folders.identify(catalog, folders.photograph(seed, View.FRONT, angle=25.0, tilt=8.0))
    assert match.pin is not None
    assert match.pin.pin_id == f"T{seed:03d}"
    best, *others = match.candidates
    assert best.score > 0.75
    assert sum(candidate.score for candidate in match.candidates) <= 1
    assert all(other.score < 0.2 for other in others)
    assert match.catalog_version == Catalog.open(catalog).version
    assert match.catalog_size == len(SEEDS)
    assert View.FRONT in match.references


def test_clear_fronts_decide_without_other_views(catalog: Path) -> None:
    """A busy server can name every pin early only if most fronts are decided without the other views."""
    matches = [folders.identify(catalog, folders.photograph(seed, View.FRONT)) for seed in (0, 2, 5)]
    assert all(match.decided for match in matches)


def test_found_badly_when_tilted_is_no_worse_than_not_found(catalog: Path) -> None:
    source = Catalog.open(catalog)
    with source.connected:
        front = identification.identify(source, folders.photograph(2, View.FRONT))
        badly = [dataclasses.replace(one, score=1e-6) for one in front.candidates]
        tilted = dataclasses.replace(front, candidates=tuple(badly), identified=False)
        unseen = dataclasses.replace(tilted, candidates=())
        joined = [
            identification.refine(source, front, view, None, None).candidates[0] for view in (tilted, unseen)
        ]
    assert joined[0].pin.pin_id == joined[1].pin.pin_id == "T002"
    assert joined[0].score == pytest.approx(joined[1].score, abs=1e-3)


def test_registration_lays_the_photograph_on_the_reference(catalog: Path) -> None:
    front = folders.prepared(folders.photograph(2, View.FRONT, angle=25.0, tilt=8.0))
    match = folders.identify(catalog, front.rgb)
    assert front.pin is not None
    assert match.identified
    to_reference = match.candidates[0].to_reference[View.FRONT]
    reference = match.references[View.FRONT]
    registered = cv2.warpPerspective(front.pin.mask, to_reference, reference.mask.shape[::-1])
    seen, known = registered > 127, reference.mask > 127
    overlap = (seen & known).sum() / (seen | known).sum()
    assert overlap > 0.95
    picture = cv2.warpPerspective(front.rgb, to_reference, reference.mask.shape[::-1])
    both = cv2.erode(np.minimum(registered, reference.mask), np.ones((15, 15), np.uint8)) > 127
    there = np.corrcoef(picture[both].ravel(), reference.rgb[both].ravel())[0, 1]
    turned = np.corrcoef(picture[both][::-1].ravel(), reference.rgb[both].ravel())[0, 1]
    assert there > 0.8 > turned


def test_an_unknown_pin_is_not_claimed(catalog: Path) -> None:
    front, angled = folders.photograph(UNKNOWN, View.FRONT), folders.photograph(UNKNOWN, View.ANGLED)
    first = folders.identify(catalog, front)
    match = folders.refine(catalog, first, None, angled, None)
    for found in (first, match):
        assert not found.identified
        assert found.pin is None
        assert found.reason
        assert not found.references
        assert not found.sales
        assert all(candidate.score < 0.75 for candidate in found.candidates)


def test_a_table_is_not_claimed(catalog: Path) -> None:
    match = folders.identify(catalog, drawing.background("wood", 640, 480, 5))
    assert not match.identified
    assert match.reason


@pytest.mark.parametrize("share", [0.42, 0.9])
def test_a_coin_is_not_a_plain_pin(tmp_path: Path, share: float) -> None:
    """A coin and a plain round pin are both discs with a rim, which is too little to claim anything."""
    side = drawing.PIN_SIDE
    mask, rgb = np.zeros((side, side), np.uint8), np.zeros((side, side, 3), np.uint8)
    cv2.circle(mask, (side // 2, side // 2), 270, 255, -1)
    cv2.circle(rgb, (side // 2, side // 2), 270, (196, 172, 84), -1)
    cv2.circle(rgb, (side // 2, side // 2), 225, (170, 60, 50), -1)
    folder = folders.write_folder(tmp_path / "in", [1], back=False)
    folders.save_picture(folder / "images/1_front.png", drawing.Pin(rgb, mask))
    import_catalog(folder, tmp_path / "catalog")
    coin = cv2.circle(rgb.copy(), (side // 2, side // 2), 235, (176, 80, 60), -1)
    taken = folders.photograph_of(drawing.Pin(coin, mask), View.FRONT, 2, share=share)
    match = folders.identify(tmp_path / "catalog", taken)
    assert all(candidate.score < 0.5 for candidate in match.candidates)
    assert not match.identified


def _coin(side: int) -> Image:
    rgb = cv2.circle(
        drawing.background("wood", side, side, 3).copy(), (side // 2, side // 2), 210, (150, 120, 70), -1
    )
    cv2.circle(rgb, (side // 2, side // 2), 190, (110, 85, 45), 4)
    cv2.putText(
        rgb, "1 FLORIN", (side // 2 - 120, side // 2 + 15), cv2.FONT_HERSHEY_TRIPLEX, 1.5, (90, 70, 30), 3
    )
    return np.asarray(rgb, np.uint8)


def _medal(side: int) -> Image:
    rgb = drawing.background("cloth", side, side, 3).copy()
    ribbon = np.array([[180, 0], [320, 0], [280, 230], [220, 230]])
    cv2.fillPoly(rgb, [ribbon], (40, 60, 170))
    cv2.circle(rgb, (250, 330), 120, (200, 170, 60), -1)
    cv2.putText(rgb, "10 KM", (190, 345), cv2.FONT_HERSHEY_DUPLEX, 1.1, (120, 90, 20), 3)
    return np.asarray(rgb, np.uint8)


def _woven(side: int) -> Image:
    """A woven patch whose fields are striped by the threads."""
    rgb = drawing.background("wood", side, side, 4).copy()
    rgb[90:410, 90:410] = (170, 40, 50)
    cv2.ellipse(rgb, (250, 250), (110, 70), 20, 0, 360, (240, 210, 60), -1)
    rgb[90:410:4, 90:410] = (rgb[90:410:4, 90:410] * 0.6).astype(np.uint8)
    return np.asarray(rgb, np.uint8)


def _circuit_board(side: int) -> Image:
    rgb = drawing.background("cloth", side, side, 5).copy()
    rgb[80:420, 60:440] = (20, 90, 50)
    for at in range(100, 420, 26):
        cv2.polylines(
            rgb, [np.array([[80, at], [200, at], [230, 250], [420, 520 - at]])], False, (60, 150, 90), 3
        )
        cv2.circle(rgb, (420, 520 - at), 7, (210, 180, 90), -1)
    rgb[200:300, 190:300] = (25, 25, 30)
    return np.asarray(rgb, np.uint8)


@pytest.mark.parametrize("drawn", [_coin, _medal, _woven, _circuit_board])
def test_what_is_no_pin_is_not_claimed(catalog: Path, drawn: Callable[[int], Image]) -> None:
    match = identification.identify(Catalog.open(catalog), drawn(500))
    assert not match.identified
    assert all(candidate.score < 0.2 for candidate in match.candidates)


def test_a_mirrored_pin_is_not_claimed(catalog: Path) -> None:
    front = folders.photograph(5, View.FRONT, angle=130.0)
    mirrored = np.ascontiguousarray(front[:, ::-1])
    assert identification.identify(Catalog.open(catalog), front).identified
    assert not identification.identify(Catalog.open(catalog), mirrored).identified


def test_all_views_agree_and_the_back_is_registered(catalog: Path) -> None:
    front = folders.photograph(0, View.FRONT, blur=2.5, noise=8.0)
    back, angled = folders.view(0, View.BACK), folders.photograph(0, View.ANGLED)
    first = folders.identify(catalog, front)
    stamp = StampReading(factory_code=folders.code(0), factory_code_confidence=0.95)
    match = folders.refine(catalog, first, back, angled, stamp)
    assert match.pin is not None
    assert match.pin.pin_id == "T000"
    assert match.decided
    assert match.candidates[0].score >= first.candidates[0].score
    assert set(match.candidates[0].to_reference) == set(View)
    assert set(match.references) == {View.FRONT, View.BACK}
    assert [sale.price for sale in match.sales] == [12.5]


@pytest.mark.parametrize(("seed", "same"), [(5, True), (2, False)])
def test_the_pins_own_back_speaks_for_it(tmp_path: Path, seed: int, same: bool) -> None:
    folder = folders.write_folder(tmp_path / "in", [0])
    folders.save_picture(folder / "images/0_back.png", drawing.pin_front(5))
    import_catalog(folder, tmp_path / "catalog")
    opened = Catalog.open(tmp_path / "catalog")
    number = opened.number("T000")
    assert number is not None
    fits = {number: identification._Fit(3.0, 40)}
    found = identification._with_back(opened, fits, folders.view(seed, View.FRONT))
    assert (found[number].odds > 3.0) if same else (found[number].odds < 3.0)


def test_sister_pins_are_told_apart_where_they_differ(tmp_path: Path) -> None:
    """Two pins have the same drawing, but one has a mark on it: each photograph must be identified as its own
    pin, from the front and with the tilted view."""
    plain = drawing.pin_front(4)
    rgb = plain.rgb.copy()
    cv2.circle(rgb, (drawing.PIN_SIDE // 2, drawing.PIN_SIDE // 2), drawing.PIN_SIDE // 14, (20, 20, 20), 9)
    pins = plain, drawing.Pin(rgb, plain.mask)
    folder = folders.write_folder(tmp_path / "in", [0, 1], back=False)
    for seed, pin in enumerate(pins):
        folders.save_picture(folder / f"images/{seed}_front.png", pin)
    import_catalog(folder, tmp_path / "catalog")
    for seed, pin in enumerate(pins):
        front = folders.photograph_of(pin, View.FRONT, 3, angle=20)
        angled = folders.photograph_of(pin, View.ANGLED, 4, tilt=30)
        match = folders.identify(tmp_path / "catalog", front)
        assert match.pin is not None
        assert match.pin.pin_id == f"T{seed:03d}"
        match = folders.refine(tmp_path / "catalog", match, None, angled, None)
        assert match.pin is not None
        assert match.pin.pin_id == f"T{seed:03d}"


def test_a_catalogue_without_backs_works(catalog: Path) -> None:
    front, back = folders.photograph(3, View.FRONT), folders.view(3, View.BACK)
    match = folders.refine(catalog, folders.identify(catalog, front), back)
    assert match.pin is not None
    assert match.pin.pin_id == "T003"
    assert View.BACK not in match.candidates[0].to_reference
    assert set(match.references) == {View.FRONT}


def test_a_code_alone_claims_nothing(catalog: Path) -> None:
    """An unknown pin's front with the factory code of a known pin must not be identified."""
    front = folders.photograph(UNKNOWN, View.FRONT)
    first = folders.identify(catalog, front)
    stamp = StampReading(factory_code=folders.code(4), factory_code_confidence=0.99)
    match = folders.refine(catalog, first, None, None, stamp)
    assert not match.identified


@pytest.mark.parametrize(
    ("odds", "reason"),
    [({1: 3.0, 2: 2.5}, identification.TOO_CLOSE), ({1: -2.0}, identification.NO_MATCH)],
)
def test_why_nothing_is_claimed(catalog: Path, odds: dict[int, float], reason: str) -> None:
    fits = {number: identification._Fit(each, 40) for number, each in odds.items()}
    match = identification._conclude(Catalog.open(catalog), fits)
    assert not match.identified
    assert match.reason == reason


def test_an_empty_or_absent_catalogue_says_so(tmp_path: Path) -> None:
    front = folders.photograph(1, View.FRONT)
    for folder in (tmp_path, tmp_path / "absent"):
        match = folders.identify(folder, front)
        assert not match.identified
        assert match.candidates == ()
        assert "empty" in match.reason
        refined = folders.refine(folder, match)
        assert refined.decided
        assert "empty" in refined.reason


def test_a_variant_in_other_colours_is_told_apart(tmp_path: Path) -> None:
    """The same design in two colourings: the first candidate of each photograph is its own colouring."""
    folder = folders.write_folder(tmp_path / "in", [2], back=False)
    recoloured = turn_hue(drawing.pin_front(2))
    folders.save_picture(folder / "images/other.png", recoloured)
    rows = [folders.pin_row(2, back=False)]
    rows.append(folders.pin_row(2, back=False, pin_id="OTHER", front_image="images/other.png"))
    folders.write_csv(folder / "pins.csv", folders.PIN_HEADER, rows)
    import_catalog(folder, tmp_path / "catalog")
    for pin, expected in ((drawing.pin_front(2), "T002"), (recoloured, "OTHER")):
        match = folders.identify(tmp_path / "catalog", folders.photograph_of(pin, View.FRONT, 3))
        assert match.candidates[0].pin.pin_id == expected
        assert match.pin is None or match.pin.pin_id == expected


def test_a_variant_the_catalogue_lacks_is_not_claimed(tmp_path: Path) -> None:
    import_catalog(folders.write_folder(tmp_path / "in", [2, 3], back=False), tmp_path / "catalog")
    other = folders.photograph_of(turn_hue(drawing.pin_front(2)), View.FRONT, 3)
    match = folders.identify(tmp_path / "catalog", other)
    assert not match.identified
    assert "T002" in {candidate.pin.pin_id for candidate in match.candidates}, "it is shown all the same"
    assert all(candidate.score < 0.5 for candidate in match.candidates)


def turn_hue(pin: drawing.Pin) -> drawing.Pin:
    return drawing.Pin(drawing.in_another_hue(pin.rgb), pin.mask)


def test_import_under_way_is_seen_by_the_next_search(tmp_path: Path) -> None:
    target = tmp_path / "catalog"
    front = folders.photograph(5, View.FRONT)
    import_catalog(folders.write_folder(tmp_path / "a", [1], back=False), target)
    before = folders.identify(target, front)
    import_catalog(folders.write_folder(tmp_path / "b", [5], back=False), target)
    after = folders.identify(target, front)
    assert not before.identified
    assert after.pin is not None
    assert after.pin.pin_id == "T005"
    assert after.catalog_version != before.catalog_version
