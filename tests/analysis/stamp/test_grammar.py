"""Tests of the grammar of stamps: what a recognised text means."""

from __future__ import annotations

import pytest

from pinactors.analysis.stamp import grammar
from tests.analysis.stamp.lattice import lattice


@pytest.mark.parametrize(
    ("code", "made"),
    [
        ("FAC-060122-15240", (2015, 240)),
        ("FAC-012185-99139", (1999, 139)),
        ("FAC-012185-69001", (2069, 1)),
        ("FAC-012185-70366", (1970, 366)),
        ("FAC-012000-03876", (2003, None)),
        ("FAC-012000-03000", (2003, None)),
    ],
)
def test_a_code_names_year_and_day(code: str, made: tuple[int, int | None]) -> None:
    assert grammar.manufacture(code) == made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LE 750", grammar.Edition(None, 750)),
        ("2015LE300", grammar.Edition(None, 300)),
        ("LE 7SO", grammar.Edition(None, 750)),
        ("LIMITED EDITION OF 1500", grammar.Edition(None, 1500)),
        ("12/300", grammar.Edition(12, 300)),
        ("/300", grammar.Edition(None, 300, blank=True)),
        ("301 / 300", grammar.Edition(301, 300)),
        ("LE 25/300", grammar.Edition(25, 300)),
        ("LE 25 / 300", grammar.Edition(25, 300)),
        ("LE25/300", grammar.Edition(25, 300)),
        ("L.E. 250/500", grammar.Edition(250, 500)),
        ("LIMITED EDITION 25/300", grammar.Edition(25, 300)),
        ("LIMITED EDITION OF 300", grammar.Edition(None, 300)),
        ("LE 350/300", grammar.Edition(350, 300)),
        ("LE 3/300", grammar.Edition(3, 300)),
        ("LE /300", grammar.Edition(None, 300, blank=True)),
        ("LE/300", grammar.Edition(None, 300, blank=True)),
        ("LE 2S/300", grammar.Edition(25, 300)),
        ("LE I/300", None),
        ("25/300 LE", grammar.Edition(25, 300)),
        ("2015LE25/300", grammar.Edition(25, 300)),
        ("# 25/300", grammar.Edition(25, 300)),
        ("NO.25/300", grammar.Edition(25, 300)),
        ("SERIES12/300", grammar.Edition(12, 300)),
        ("DISNEY PINS12/300", grammar.Edition(12, 300)),
        ("B12/300", grammar.Edition(12, 300)),
        ("LE2S/300", grammar.Edition(25, 300)),
        ("I2/300", grammar.Edition(12, 300)),
        ("PINS /300", grammar.Edition(None, 300, blank=True)),
        ("ED /300", grammar.Edition(None, 300, blank=True)),
        ("_/300", grammar.Edition(None, 300, blank=True)),
        ("Ed. 25 of 300", grammar.Edition(25, 300)),
        ("LE 25 OF 300", grammar.Edition(25, 300)),
        ("LIMITED EDITION 25OF300", grammar.Edition(25, 300)),
        ("PIN 3 OF 12", None),
        ("ACME/2015", None),
        ("LE 24/12/2015", None),
        ("24/12/2015", None),
        ("LE SOO", None),
        ("OFFICIAL", None),
    ],
)
def test_editions(text: str, expected: grammar.Edition | None) -> None:
    assert grammar.edition(text) == expected


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("© ACME 2015", 2015),
        ("© ACME 2O15", 2015),
        ("2015LE300", 2015),
        ("FAC-012000-20150", None),
        ("1215", None),
        ("12015", None),
        ("ACME", None),
    ],
)
def test_years_stand_by_themselves(text: str, year: int | None) -> None:
    assert grammar.year(text) == year


@pytest.mark.parametrize(
    ("text", "brand"),
    [
        ("© ACME 2015", "ACME"),
        ("(c) KITE & CO 2005", "KITE & CO"),
        ("O NORTHSTAR 2003", "NORTHSTAR"),
        ("@NORTHSTAR 2003", "NORTHSTAR"),
        ("ORBIT 2003", None),
        ("CACME 2003", None),
        ("©LUMEN PARKS", "LUMEN PARKS"),
        ("OFFICIAL PIN TRADING", None),
        ("2015", None),
    ],
)
def test_brands_stand_behind_the_sign(text: str, brand: str | None) -> None:
    assert grammar.brand(text) == brand


def test_origin() -> None:
    assert grammar.origin("MADE IN CHINA") == "CHINA"
    assert grammar.origin("MADEIN TAIWAN") == "TAIWAN"
    assert grammar.origin("MADE BY HAND") is None


def test_distance() -> None:
    assert grammar.distance("TRADING", "TRADING") == 0
    assert grammar.distance("TRADING", "TRIDCNI") == 3
    assert grammar.distance("", "ABC") == 3


def test_the_grammar_takes_the_likelier_digit_over_a_letter() -> None:
    text = "FAC-O60122-15240"
    fit = grammar.fit_code(lattice(text, {4: {"O": 0.7, "0": 0.2, "6": 0.1}}).probabilities)
    assert fit is not None
    assert fit.code == "FAC-060122-15240"
    assert 0.8 < fit.confidence < 1


def test_equal_digits_in_a_row_are_not_merged() -> None:
    fit = grammar.fit_code(lattice("FAC-000000-11111").probabilities)
    assert fit is not None
    assert fit.code == "FAC-000000-11111"


def test_what_stands_around_a_code_is_free() -> None:
    fit = grammar.fit_code(lattice("NO: FAC-060122-15240 A".replace(" ", "-")).probabilities)
    assert fit is not None
    assert fit.code == "FAC-060122-15240"
    assert grammar.fit_code(lattice("FAC-06").probabilities) is None


def test_the_size_of_an_edition_is_no_year() -> None:
    assert grammar.year("LE 2000") is None
    assert grammar.find_edition("2000 LE 2000") == (grammar.Edition(None, 2000), slice(8, 12))
    assert grammar.year("LE 25/2000") is None
    assert grammar.year("2015 LE 25 OF 2000") == 2015
    assert grammar.year("2000 LE 2000") == 2000


@pytest.mark.parametrize(
    ("text", "wrong"), [("OFRICIAL PIN", True), ("MADE IN CHINA", False), ("NORTHSTAR 2011", False)]
)
def test_misspelt_words_show_a_poor_picture(text: str, wrong: bool) -> None:
    assert grammar.misspelt(text) == wrong
