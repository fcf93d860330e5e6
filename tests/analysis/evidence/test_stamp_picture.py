"""The catalogue's stamp looked for on a back, line by line."""

from __future__ import annotations

from pinactors.analysis.evidence import comparison, stamp_picture
from pinactors.analysis.evidence.comparison import Target
from pinactors.analysis.evidence.likelihood import Measurement
from pinactors.analysis.model import PreparedView, StampReading
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared

BEAR = 4
LINES = ("OFFICIAL PIN TRADING", "2015 LE 300", "MADE IN CHINA", "FAC-060122-15240")


def judged(back: PreparedView) -> Measurement:
    known = Target(prepared.reference(drawing.pin_back(BEAR, LINES), View.BACK))
    seen = comparison.compare(back, known, None)
    assert seen is not None
    return stamp_picture.row(seen, stamp_picture.measure(seen), StampReading(), None)


def test_a_missing_stamp_is_seen() -> None:
    row = judged(prepared.photo(drawing.pin_back(BEAR, ()), View.BACK, angle=8))
    assert row.score is not None
    assert row.score < -0.5
    assert row.region is not None


def test_other_words_are_less_like_the_stamp_line_by_line() -> None:
    garbled = ("ORTSIAL QIN TNADJGE", "2S07 KB 5B8", "WABE EN OHLMA", "PAO-5B9731-06B19")
    known = Target(prepared.reference(drawing.pin_back(BEAR, LINES), View.BACK))
    likeness = []
    for lines in (LINES, garbled):
        seen = comparison.compare(prepared.photo(drawing.pin_back(BEAR, lines), View.BACK), known, None)
        stamp = stamp_picture.measure(seen)
        assert stamp is not None
        assert len(stamp.likeness) == 4
        likeness.append(stamp.likeness)
    assert (likeness[0] > 0.9).all()
    assert (likeness[1] < likeness[0] - 0.1).all()


def test_a_stamp_that_reads_right_is_not_blamed_for_its_looks() -> None:
    known = Target(prepared.reference(drawing.pin_back(BEAR, LINES), View.BACK))
    seen = comparison.compare(prepared.photo(drawing.pin_back(BEAR, ()), View.BACK), known, None)
    read = prepared.reading(code=prepared.CATALOG_PIN.factory_code)
    row = stamp_picture.row(seen, stamp_picture.measure(seen), read, prepared.CATALOG_PIN)
    assert row.score == 0


def test_words_that_read_right_are_not_missing() -> None:
    """Read and not found at their place: the comparison is at fault, or the back is another year's."""
    known = Target(prepared.reference(drawing.pin_back(BEAR, LINES), View.BACK))
    seen = comparison.compare(prepared.photo(drawing.pin_back(BEAR, ()), View.BACK), known, None)
    stamp = stamp_picture.measure(seen)
    for words, assessed in (
        (("OFFICIAL", "MADE IN CHINA"), False),
        (("OFFICIAL", "MADE IN CHNIA"), False),  # one slip of the reader
        (("OFFICAIL", "MADE IN CHNIA"), True),
    ):
        row = stamp_picture.row(seen, stamp, prepared.reading(*words), prepared.CATALOG_PIN)
        assert (row.score is not None) is assessed
        assert row.text


def test_small_text_is_not_judged() -> None:
    assert judged(prepared.photo(drawing.pin_back(BEAR, LINES), View.BACK, side=150)).score is None


def test_nothing_is_said_without_a_comparison() -> None:
    row = stamp_picture.row(None, None, StampReading(), None)
    assert row.score is None
    assert row.text


def test_a_back_without_text_is_doubted_where_the_catalogue_has_a_stamp() -> None:
    """Where the two cannot be laid on each other, as those of plain backs whose stamp is missing."""
    known = Target(prepared.reference(drawing.pin_back(BEAR, LINES), View.BACK))
    row = stamp_picture.unread(known, StampReading(reason="no text could be read on the back"))
    assert row.score == stamp_picture.UNREAD_SCORE
    assert stamp_picture.unread(known, prepared.reading("MADE IN CHINA")).score is None
    assert stamp_picture.unread(known, None).score is None, "nobody looked"
    plain = Target(prepared.reference(drawing.pin_back(BEAR, (), waffle=False), View.BACK))
    assert stamp_picture.unread(plain, StampReading()).score is None
