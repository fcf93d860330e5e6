"""Tests of each row of evidence from the stamp's text, on given readings."""

from __future__ import annotations

import pytest

from pinactors.analysis.evidence import stamp_text
from pinactors.analysis.model import CatalogPin, StampReading
from pinactors.protocol import View
from tests.analysis import prepared
from tests.analysis.prepared import CATALOG_PIN, reading

BACK = prepared.empty(View.BACK)
CODE = "FAC-060122-15240"


@pytest.mark.parametrize(
    ("texts", "low", "high"),
    [
        (("OFFICIAL PIN TRADING", "MADE IN CHINA"), 1.0, 1.0),
        (("© ACME 2015", "MADE IN CHINA"), 1.0, 1.0),
        (("OFFICIAL PIN TRADING", "MADE IN CHIMA"), -0.2, -0.01),  # one error may be the reader's
        (("OFFICAL PIM TRADIMG", "MADE IN CHIMA"), -1.0, -0.5),
    ],
)
def test_wording(texts: tuple[str, ...], low: float, high: float) -> None:
    row = stamp_text.wording(BACK, reading(*texts), CATALOG_PIN)
    assert row.score is not None
    assert low <= row.score <= high
    assert row.region is not None


@pytest.mark.parametrize(
    "stamp",
    [
        StampReading(reason="too dark"),
        reading("OFFICAL PIM TRADIMG", "MADE IN CHIMA", confidence=0.7),  # read without confidence
        reading("FAC-060122-15240"),  # a code has no spelling
        reading("XQZWV KJHGF"),  # nothing like a known word: another language, another brand
    ],
)
def test_wording_is_not_judged_on_what_was_not_surely_read(stamp: StampReading) -> None:
    assert stamp_text.wording(BACK, stamp, None).score is None


def test_a_brand_of_the_catalogue_is_no_misspelling() -> None:
    stamp = reading("© CHIMA 2015", "MADE IN CHINA")
    known = prepared.CatalogPin("P", "", (), None, 2015, None, "CHIMA", None)
    ours, theirs = stamp_text.wording(BACK, stamp, known), stamp_text.wording(BACK, stamp, None)
    assert ours.score == 1.0
    assert theirs.score is not None
    assert theirs.score < 0


@pytest.mark.parametrize(
    ("texts", "code", "sign"),
    [
        (("© ACME 2015", "LE 300"), CODE, 1),
        (("© ACME 2015",), None, 1),
        ((), CODE, 1),
        (("© ACME 2014",), CODE, 1),  # made a year after the design; 2014 may be a misread 2015
        (("© ACME 1998",), CODE, -1),  # neither the catalogue's year nor the code's
        (("LE 1750",), None, -1),
        ((), "FAC-099977-03111", -1),
        ((), "FAC-060122-15246", 0),  # 6 and 0 look alike
        (("LE 900",), None, 0),  # one digit off is no contradiction
    ],
)
def test_consistency_with_the_catalogue(texts: tuple[str, ...], code: str | None, sign: int) -> None:
    row = stamp_text.consistency(BACK, reading(*texts, code=code), CATALOG_PIN)
    if sign == 0:
        assert row.score is None
        return
    assert row.score is not None
    assert row.score * sign > 0
    assert abs(row.score) <= 1


@pytest.mark.parametrize("pin", [None, CatalogPin("P", "", (), None, None, None, None, None)])
def test_what_was_read_without_anything_to_compare_it_with_is_not_called_unread(
    pin: CatalogPin | None,
) -> None:
    row = stamp_text.consistency(BACK, reading("LE 300", code=CODE), pin)
    assert row.score is None
    assert "read (factory code, edition size)" in row.text
    assert "nothing in the catalogue to compare it with" in row.text


def test_agreement_in_more_respects_says_more() -> None:
    one = stamp_text.consistency(BACK, reading("© ACME 2015"), CATALOG_PIN).score
    three = stamp_text.consistency(BACK, reading("© ACME 2015", "LE 300", code=CODE), CATALOG_PIN).score
    assert one is not None
    assert three is not None
    assert 0 < one < three


def test_a_stamp_can_contradict_itself_without_a_catalogue() -> None:
    contradicting = stamp_text.consistency(BACK, reading("© ACME 1989", code=CODE), None)
    agreeing = stamp_text.consistency(BACK, reading("© ACME 2013", code=CODE), None)
    assert contradicting.score is not None
    assert contradicting.score < -0.3
    assert "2015" in contradicting.text
    assert "1989" in contradicting.text
    assert agreeing.score is not None
    assert agreeing.score > 0


@pytest.mark.parametrize(
    "stamp", [StampReading(), reading("MADE IN CHINA"), reading("© ACME 1998", code=None, confidence=0.6)]
)
def test_consistency_is_not_judged_on_what_was_not_read(stamp: StampReading) -> None:
    assert stamp_text.consistency(BACK, stamp, CATALOG_PIN).score is None


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("12/300", 1.0),
        ("300/300", 1.0),
        ("301/300", -1.0),
        ("0/300", -1.0),
        ("/300", -1.0),
        ("LE 25/300", 1.0),
        ("LE 350/300", -1.0),
    ],
)
def test_edition_numbers(text: str, score: float) -> None:
    row = stamp_text.edition_number(BACK, reading(text))
    assert row.score == score
    assert row.region is not None


@pytest.mark.parametrize("stamp", [StampReading(), reading("LE 300"), reading("/300", confidence=0.5)])
def test_an_edition_without_numbers_is_not_judged(stamp: StampReading) -> None:
    assert stamp_text.edition_number(BACK, stamp).score is None


@pytest.mark.parametrize(
    ("read", "known", "expected"),
    [
        ("2015", "2015", False),
        ("2016", "2015", False),
        ("2065", "2005", False),
        ("1998", "2015", True),
        ("300", "1500", True),
        ("FAC-012037-19387", "FAC-012037-18387", False),
        ("FAC-099977-03111", "FAC-060122-15240", True),
    ],
)
def test_digits_that_look_alike_do_not_make_numbers_unlike(read: str, known: str, expected: bool) -> None:
    assert stamp_text.contradicts(read, known) is expected
