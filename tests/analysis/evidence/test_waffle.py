"""Tests of the back's pattern and stamp on drawn backs, with and without their catalogue pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinactors.analysis.evidence import comparison, stamp_picture, waffle
from pinactors.analysis.evidence.comparison import Target
from pinactors.analysis.evidence.likelihood import Measurement
from pinactors.analysis.model import CROP_SIDE, PreparedView, StampReading
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.analysis.evidence import drawn
from tests.drawing import Pin

DISC, CLOUD, BEAR = 0, 5, 4


def rows(back: PreparedView, seed: int = BEAR, **catalogue: bool) -> dict[str, Measurement]:
    """The pattern and stamp rows of a photographed back, compared with the catalogue's back."""
    known = Target(prepared.reference(drawing.pin_back(seed, **catalogue), View.BACK))
    seen = comparison.compare(back, known, None)
    assert seen is not None
    stamp = stamp_picture.measure(seen)
    found = waffle.rows(waffle.measure(back, seen, stamp.quads if stamp else ()))
    found.append(stamp_picture.row(seen, stamp, StampReading(), None))
    return {row.name: row for row in found}


@pytest.mark.parametrize("seed", [BEAR, CLOUD])
def test_the_same_back_speaks_for_itself(seed: int) -> None:
    found = rows(prepared.photo(drawing.pin_back(seed), View.BACK, angle=8), seed)
    for name in ("waffle_edge_runoff", "waffle_regularity", "waffle_absent", "stamp_match"):
        assert drawn.score(found[name]) > 0.3, name


def test_a_rim_around_the_pattern_is_seen() -> None:
    found = rows(prepared.photo(drawing.pin_back(BEAR, rim=True), View.BACK, angle=8))
    assert drawn.score(found["waffle_edge_runoff"]) < -0.5
    assert drawn.score(found["waffle_regularity"]) > 0
    assert drawn.score(found["stamp_match"]) > 0.5


def test_a_rim_around_a_faint_pattern_counts_half() -> None:
    rimmed, plain = (drawing.pin_back(DISC, rim=rim, waffle=rim) for rim in (True, False))
    shallow = Pin(np.asarray(0.9 * plain.rgb + 0.1 * rimmed.rgb, np.uint8), plain.mask)
    found = rows(prepared.photo(shallow, View.BACK), DISC)
    assert -0.5 <= drawn.score(found["waffle_edge_runoff"]) < -0.3
    assert drawn.score(found["waffle_absent"]) > 0


def test_a_pattern_of_another_pitch_is_seen() -> None:
    found = rows(prepared.photo(drawing.pin_back(BEAR, period=60), View.BACK, angle=8))
    assert drawn.score(found["waffle_regularity"]) < -0.5
    assert "1.3" in found["waffle_regularity"].text or "1.4" in found["waffle_regularity"].text
    assert drawn.score(found["waffle_absent"]) >= 0


def test_a_plain_back_is_seen_where_the_catalogue_has_a_pattern() -> None:
    found = rows(prepared.photo(drawing.pin_back(BEAR, waffle=False), View.BACK, angle=8))
    assert drawn.score(found["waffle_absent"]) < -0.3
    assert found["waffle_edge_runoff"].score is None
    assert found["waffle_regularity"].score is None


def test_a_back_that_never_had_a_pattern_is_not_blamed() -> None:
    plain = drawing.pin_back(BEAR, waffle=False)
    found = rows(prepared.photo(plain, View.BACK, angle=8), waffle=False)
    for name in ("waffle_edge_runoff", "waffle_regularity", "waffle_absent"):
        assert found[name].score is None
        assert found[name].text
    assert drawn.score(found["stamp_match"]) > 0.5


def test_without_a_catalogue_only_the_edge_can_be_judged_and_counts_half() -> None:
    running = waffle.measure(prepared.photo(drawing.pin_back(BEAR), View.BACK), None)
    rimmed = waffle.measure(prepared.photo(drawing.pin_back(BEAR, rim=True), View.BACK), None)
    for pattern, low, high in ((running, 0.0, 0.5), (rimmed, -0.5, -0.1)):
        edge, regular, absent = waffle.rows(pattern)
        assert low <= drawn.score(edge) <= high
        assert regular.score is None
        assert absent.score is None


def unregistered(photographed: Pin, catalogued: Pin, *, legible: bool = True) -> list[Measurement]:
    """The rows of a back that could not be registered on its catalogue picture."""
    shares = np.diag([1 / CROP_SIDE, 1 / CROP_SIDE, 1.0])  # the catalogue picture is the crop itself
    known = Target(replace(prepared.reference(catalogued, View.BACK), to_picture=shares))
    back = prepared.photo(photographed, View.BACK)
    found = waffle.rows(waffle.measure(back, None, picture=known, legible=legible))
    return [comparison.placed(row, back, None, known) for row in found]


def test_a_rim_is_not_judged_if_the_catalogues_back_could_not_be_registered() -> None:
    """The catalogue's own back may have a rim."""
    for row in unregistered(drawing.pin_back(BEAR, rim=True), drawing.pin_back(BEAR)):
        assert row.score is None
        assert "could not be registered on" in row.text


def test_a_plain_back_counts_half_if_the_catalogues_back_could_not_be_registered() -> None:
    edge, regular, absent = unregistered(drawing.pin_back(BEAR, waffle=False), drawing.pin_back(BEAR))
    assert drawn.score(absent) == -0.5
    assert absent.reference is not None, "the page shows both backs side by side"
    assert absent.reference.view is View.BACK
    assert edge.score is None
    assert regular.score is None


def test_what_may_be_no_back_at_all_is_not_missing_its_pattern() -> None:
    """Something plain behind the pin may have been cut out in its place."""
    found = unregistered(drawing.pin_back(BEAR, waffle=False), drawing.pin_back(BEAR), legible=False)
    assert [row.score for row in found] == [None, None, None]


def test_a_plain_back_is_as_it_should_be_if_the_catalogues_is_plain_too() -> None:
    plain = drawing.pin_back(BEAR, waffle=False)
    assert [row.score for row in unregistered(plain, plain)] == [None, None, None]


def test_a_lattice_has_its_period_whatever_the_view() -> None:
    """A period of 44 drawing pixels is photographed at a scale of 0.95 x 900 / 640."""
    pattern = waffle.measure(prepared.photo(drawing.pin_back(BEAR, (), period=44), View.BACK, angle=25), None)
    assert pattern is not None
    assert pattern.photo_lattice.strength > 0.5
    expected = 44 * 0.95 * 900 / 640
    assert pattern.period == pytest.approx(expected, rel=0.12)


def test_nothing_is_said_about_a_back_nobody_found() -> None:
    assert waffle.measure(prepared.empty(View.BACK), None) is None
    for row in waffle.rows(None):
        assert row.score is None
        assert row.text


@pytest.mark.parametrize(
    ("waffled", "words"), [(True, "a repeating pattern is visible"), (False, "no repeating pattern")]
)
def test_a_pattern_is_seen_without_a_catalogue_and_counts_for_nothing(waffled: bool, words: str) -> None:
    pattern = waffle.measure(prepared.photo(drawing.pin_back(BEAR, (), waffle=waffled), View.BACK), None)
    assert pattern is not None
    assert pattern.repeating is waffled
    _, _, absent = waffle.rows(pattern)
    assert words in absent.text
    assert absent.score is None
