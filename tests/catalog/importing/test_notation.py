"""Tests of amounts and dates in the notations of several countries; ambiguous ones are never guessed."""

from __future__ import annotations

import datetime as dt

import pytest

from pinactors.catalog.importing.notation import Notation, whole_number

UNKNOWN = Notation()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.5", 12.5),
        ("12,5", 12.5),
        ("12,50", 12.5),
        ("0,917", 0.917),
        ("0.917", 0.917),
        ("1e-05", 1e-05),
        (".5", 0.5),
        ("1.234,56", 1234.56),
        ("1,234.56", 1234.56),
        ("1.234.567", 1234567),
        ("1,234,567.8", 1234567.8),
        ("1 234,56", 1234.56),
        ("1\u00a0234,56", 1234.56),
        ("1'234.50", 1234.5),
        ("1 234", 1234),
        ("€12.50", 12.5),
        ("12,50 €", 12.5),
        ("EUR 12,50", 12.5),
        ("eur 12,50", 12.5),
        ("12,-", 12),
        ("12.--", 12),
        ("1.234,-", 1234),
        ("1.234,– €", 1234),
        ("1,234.-", 1234),
        ("€ 12,50 EUR", 12.5),
        ("1,23,456.78", 123456.78),
        ("\u200e€12.50", 12.5),
    ],
)
def test_amounts_that_mean_one_thing(text: str, value: float) -> None:
    assert UNKNOWN.amount(text, "EUR") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "currency", "value"),
    [
        ("US$12.50", "USD", 12.5),
        ("US $1,234.50", "USD", 1234.5),
        ("$12.50 USD", "USD", 12.5),
        ("C $12.50", "CAD", 12.5),
        ("CAD $12.50", "CAD", 12.5),
        ("CA$ 12.50", "CAD", 12.5),
        ("R$ 1.234,50", "BRL", 1234.5),
        ("12,50 kr", "SEK", 12.5),
        ("kr. 12,50", "DKK", 12.5),
        ("12,50 zł", "PLN", 12.5),
        ("Fr. 12.-", "CHF", 12),
        ("1200円", "JPY", 1200),
        ("￥1200", "JPY", 1200),
        ("₹ 450", "INR", 450),
    ],
)
def test_amounts_of_other_currencies(text: str, currency: str, value: float) -> None:
    assert UNKNOWN.amount(text, currency) == pytest.approx(value)


@pytest.mark.parametrize("text", ["1e999", "9" * 400])
def test_an_amount_without_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="larger than any price"):
        UNKNOWN.amount(text)


@pytest.mark.parametrize(
    "text", ["", "x", "nan", "-3", "1,23,4", "12,34.56.7", "1.234.-", "1_000", "12 5", "0x10"]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        UNKNOWN.amount(text)


@pytest.mark.parametrize(
    ("others", "separator", "expected"),
    [
        (["12,50"], ";", 1234),
        (["12.50"], ";", 1.234),
        (["1.234,5"], ",", 1234),
        (["12,-"], ";", 1234),
        ([], ",", 1.234),
        (["5"], "\t", None),
        (["12,50", "12.50"], ",", None),
    ],
)
def test_a_point_before_three_digits_means_what_the_rest_of_the_file_shows(
    others: list[str], separator: str, expected: float | None
) -> None:
    notation = Notation.of([*others, "1.234"], [], separator)
    if expected is None:
        with pytest.raises(ValueError, match=r"may be 1234 or 1\.234: write 1234\.00 or 1\.2340"):
            notation.amount("1.234")
    else:
        assert notation.amount("1.234") == expected


def test_nobody_groups_an_exchange_rate() -> None:
    assert UNKNOWN.amount("1,085", grouped=False) == 1.085


def test_a_sign_that_contradicts_the_currency() -> None:
    with pytest.raises(ValueError, match="is in EUR, but the currency is USD"):
        UNKNOWN.amount("€5", "USD")
    with pytest.raises(ValueError, match="is in USD, but the currency is CAD"):
        UNKNOWN.amount("US$5", "CAD")
    with pytest.raises(ValueError, match="is in USD, but the currency is CAD"):
        UNKNOWN.amount("US $5", "CAD")


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2025-12-31", dt.date(2025, 12, 31)),
        ("20251231", dt.date(2025, 12, 31)),
        ("2025-12-31 00:00:00", dt.date(2025, 12, 31)),
        ("2025-12-31T14:05:00Z", dt.date(2025, 12, 31)),
        ("31.12.2025", dt.date(2025, 12, 31)),
        ("3.4.2025", dt.date(2025, 4, 3)),
        ("03.04.2025 12:00", dt.date(2025, 4, 3)),
        ("2025/4/3", dt.date(2025, 4, 3)),
        ("2025.04.03", dt.date(2025, 4, 3)),
        ("31/12/2025", dt.date(2025, 12, 31)),
        ("12/31/2025", dt.date(2025, 12, 31)),
        ("5/5/2025", dt.date(2025, 5, 5)),
        ("31-12-2025", dt.date(2025, 12, 31)),
        ("12/31/2025 10:00 PM", dt.date(2025, 12, 31)),
        ("12/31/2025, 10:00:00 AM", dt.date(2025, 12, 31)),
        ("31.12.2025, 10:00", dt.date(2025, 12, 31)),
        ("2025. 12. 31.", dt.date(2025, 12, 31)),
        ("2025年12月31日", dt.date(2025, 12, 31)),
        ("31-Dec-2025", dt.date(2025, 12, 31)),
        ("Dec 31, 2025", dt.date(2025, 12, 31)),
        ("1st September 2025", dt.date(2025, 9, 1)),
        ("Wednesday, December 31, 2025", dt.date(2025, 12, 31)),
        ("Wed, 31 Dec 2025 10:00:00", dt.date(2025, 12, 31)),
        ("Wed 12/31/2025", dt.date(2025, 12, 31)),
    ],
)
def test_dates_that_mean_one_day(text: str, day: dt.date) -> None:
    assert UNKNOWN.date(text) == day


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3/4/2025", "may be 2025-04-03 or 2025-03-04: write it like 2025-12-31"),
        ("31.12.25", "has a two-digit year"),
        ("45992", "a spreadsheet's day number"),
        ("45992.75", "a spreadsheet's day number"),
        ("31-Dec-25", "has a two-digit year"),
        ("31 Feb 2025", "is not a date like 2025-12-31"),
        ("31 déc. 2025", "is not a date like 2025-12-31"),
        ("31.2.2025", "is not a date like 2025-12-31"),
        ("13/13/2025", "is not a date like 2025-12-31"),
        ("yesterday", "is not a date like 2025-12-31"),
        ("", "is not a date like 2025-12-31"),
    ],
)
def test_dates_that_do_not(text: str, said: str) -> None:
    with pytest.raises(ValueError) as raised:
        UNKNOWN.date(text)
    assert said in str(raised.value)


def test_one_date_shows_the_order_of_the_others() -> None:
    assert Notation.of([], ["3/4/2025", "31/12/2025"], ",").date("3/4/2025") == dt.date(2025, 4, 3)
    assert Notation.of([], ["3/4/2025", "12/31/2025"], ",").date("3/4/2025") == dt.date(2025, 3, 4)
    with pytest.raises(ValueError, match="may be"):
        Notation.of([], ["31/12/2025", "12/31/2025"], ",").date("3/4/2025")


@pytest.mark.parametrize(
    ("text", "number"),
    [("2015", 2015), ("2015.0", 2015), ("1,000", 1000), ("1.000", 1000), ("1 500", 1500), ("12.5", None)],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["MMXV", "-3", "", "²", "1,23", "1.000.0"])
def test_what_is_no_whole_number(text: str) -> None:
    assert whole_number(text) is None
