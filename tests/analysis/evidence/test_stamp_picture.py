"""Tests of searching a back for the catalogue's stamp line by line, and of reading its code there."""

from __future__ import annotations

import pytest

from pinactors.analysis.evidence import comparison, stamp_picture
from pinactors.analysis.evidence.comparison import Target
from pinactors.analysis.evidence.likelihood import Measurement
from pinactors.analysis.model import Match, PreparedView, StampReading
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.drawing import Pin

BEAR = 4
KNOWN = Target(prepared.reference(drawing.pin_back(BEAR), View.BACK))
UNREAD = StampReading(reason="no text could be read on the back")


def judged(back: PreparedView) -> Measurement:
    seen = comparison.compare(back, KNOWN, None)
    assert seen is not None
    return stamp_picture.row(seen, stamp_picture.measure(seen), StampReading(), None)


def test_a_missing_stamp_is_seen() -> None:
    row = judged(prepared.photo(drawing.pin_back(BEAR, ()), View.BACK, angle=8))
    assert row.score is not None
    assert row.score < -0.5
    assert row.region is not None


def test_a_stamp_that_lies_otherwise_on_the_pattern_is_found() -> None:
    """The pattern, on which the back is registered, is another cut of the same sheet on each specimen."""
    stamped = drawing.pin_back(BEAR)
    middle = drawing.PIN_SIDE // 2
    plate = slice(middle - 80, middle + 80), slice(middle - 160, middle + 160)
    moved = drawing.pin_back(BEAR, ()).rgb.copy()
    moved[middle - 66 : middle + 94, plate[1]] = stamped.rgb[plate]
    view = prepared.photo(Pin(moved, stamped.mask), View.BACK)
    stamp = stamp_picture.measure(comparison.compare(view, KNOWN, None))
    assert stamp is not None
    assert (stamp.likeness > 0.9).all()


def test_other_words_are_less_like_the_stamp_line_by_line() -> None:
    garbled = ("ORTSIAL QIN TNADJGE", "2S07 KB 5B8", "WABE EN OHLMA", "PAO-5B9731-06B19")
    likeness = []
    for lines in (drawing.STAMP, garbled):
        seen = comparison.compare(prepared.photo(drawing.pin_back(BEAR, lines), View.BACK), KNOWN, None)
        stamp = stamp_picture.measure(seen)
        assert stamp is not None
        assert len(stamp.likeness) == 4
        likeness.append(stamp.likeness)
    assert (likeness[0] > 0.9).all()
    assert (likeness[1] < likeness[0] - 0.1).all()


def test_a_stamp_that_reads_right_is_not_blamed_for_its_looks() -> None:
    seen = comparison.compare(prepared.photo(drawing.pin_back(BEAR, ()), View.BACK), KNOWN, None)
    read = prepared.reading(code=prepared.CATALOG_PIN.factory_code)
    row = stamp_picture.row(seen, stamp_picture.measure(seen), read, prepared.CATALOG_PIN)
    assert row.score == 0


def test_words_that_read_right_are_not_missing() -> None:
    """If words are read but not found at their place, the comparison failed or the back is another year's."""
    seen = comparison.compare(prepared.photo(drawing.pin_back(BEAR, ()), View.BACK), KNOWN, None)
    stamp = stamp_picture.measure(seen)
    for words, assessed in (
        (("OFFICIAL", "MADE IN CHINA"), False),
        (("OFFICIAL", "MADE IN CHNIA"), False),  # one error of the reader
        (("OFFICAIL", "MADE IN CHNIA"), True),
    ):
        row = stamp_picture.row(seen, stamp, prepared.reading(*words), prepared.CATALOG_PIN)
        assert (row.score is not None) is assessed
        assert row.text


def test_small_text_is_not_judged() -> None:
    assert judged(prepared.photo(drawing.pin_back(BEAR), View.BACK, side=150)).score is None


def test_nothing_is_said_without_a_comparison() -> None:
    row = stamp_picture.row(None, None, StampReading(), None)
    assert row.score is None
    assert row.text


def test_a_back_without_text_is_doubted_where_the_catalogue_has_a_stamp() -> None:
    """`unread` is for backs that cannot be registered, such as a plain back whose stamp is missing."""
    row = stamp_picture.unread(KNOWN, StampReading(reason="no text could be read on the back"))
    assert row.score == stamp_picture.UNREAD_SCORE
    assert stamp_picture.unread(KNOWN, prepared.reading("MADE IN CHINA")).score is None
    assert stamp_picture.unread(KNOWN, None).score is None, "nobody looked"
    plain = Target(prepared.reference(drawing.pin_back(BEAR, (), waffle=False), View.BACK))
    assert stamp_picture.unread(plain, StampReading()).score is None


def read_again(back: PreparedView, stamp: StampReading = UNREAD) -> StampReading:
    catalogued = prepared.reference(drawing.pin_back(BEAR), View.BACK)
    return stamp_picture.read_at_known_place(back, stamp, prepared.match({View.BACK: catalogued}))


@pytest.mark.parametrize("angle", [20, 200])
def test_a_code_nobody_found_is_read_where_the_catalogue_has_it(angle: float) -> None:
    read = read_again(prepared.photo(drawing.pin_back(BEAR), View.BACK, angle=angle))
    assert read.factory_code == "FAC-060122-15240"
    assert read.factory_code_confidence > 0.8
    assert [line.text for line in read.lines] == ["FAC-060122-15240"]
    assert read.reason == ""
    assert read.text_height > 10


def test_the_catalogues_code_is_not_put_on_a_back_that_shows_another() -> None:
    other = (*drawing.STAMP[:-1], "FAC-047315-19871")
    read = read_again(prepared.photo(drawing.pin_back(BEAR, other), View.BACK))
    assert read.factory_code == "FAC-047315-19871"


@pytest.mark.parametrize("code", ["", "PAO-5B9731-06B19", "FA0-W6O1K2-X52M0"])
def test_no_code_is_told_of_a_back_that_shows_none(code: str) -> None:
    lines = (*drawing.STAMP[:-1], code) if code else ()
    assert read_again(prepared.photo(drawing.pin_back(BEAR, lines), View.BACK)).factory_code is None


def test_what_was_read_stays_read() -> None:
    back = prepared.photo(drawing.pin_back(BEAR, ()), View.BACK)
    read = prepared.reading(code="FAC-047315-19871")
    assert read_again(back, read) == read
    unclaimed = Match(reason="nothing like it")
    assert stamp_picture.read_at_known_place(back, UNREAD, unclaimed) is UNREAD


def test_the_catalogue_decides_how_sure_a_reading_must_be() -> None:
    back = prepared.photo(drawing.pin_back(BEAR, ()), View.BACK)
    likely = StampReading(likely={"factory_code": "FAC-060122-15240", "year": 2015})
    told = read_again(back, likely)
    assert (told.factory_code, told.likely) == ("FAC-060122-15240", {"year": 2015})
    slip = read_again(back, prepared.reading(code="FAC-060122-15249"))  # 0 and 9 are easily confused
    assert (slip.factory_code, slip.likely) == (None, {"factory_code": "FAC-060122-15249"})
