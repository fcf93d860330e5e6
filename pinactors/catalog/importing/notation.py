"""The notation of amounts, whole numbers and dates in a file, which differs between languages.

The other values of the file decide how to read 12.50 and 12,50, 1,234.56 and 1.234,56, 31.12.2025 and
12/31/2025. An ambiguous value is refused with a message that gives both meanings and the form to use.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

_PLAIN = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:([ '.,])\d{3})(?:\1\d{3})*(?:([.,])\d+)?")
_INDIAN = re.compile(r"\d{1,2}(,\d{2})+,\d{3}(\.\d+)?")
"""Indian grouping: three digits at the end, then groups of two: 1,23,456.78."""

_DECIMAL = re.compile(r"\d+([.,])\d+")
_ROUND = re.compile(r"(?<=[.,])[-\u2013\u2014]{1,2}$")
"""The dashes that mean no cents: 12,- and 12.--."""

_SPACED_SIGN = re.compile(r"(?<=[A-Z]) (?=\$)")
"""The space in US $12.50 and C $12.50."""

_SPACES = str.maketrans(
    {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'"}
    | dict.fromkeys("\u200e\u200f\u202a\u202c\u2066\u2068\u2069", "")
)
"""Replacements for Unicode spaces and apostrophes; marks of writing direction, which come with text copied
from web pages, are removed."""

_SIGNS = {
    "€": "EUR",
    "£": "GBP",
    "¥": "",
    "￥": "",
    "円": "JPY",
    "元": "CNY",
    "₹": "INR",
    "Rs.": "INR",
    "₩": "KRW",
    "US$": "USD",
    "A$": "AUD",
    "AU$": "AUD",
    "C$": "CAD",
    "CA$": "CAD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "S$": "SGD",
    "NT$": "TWD",
    "MX$": "MXN",
    "R$": "BRL",
    "$": "",
    "kr.": "",
    "kr": "",
    "Fr.": "CHF",
    "zł": "PLN",
    "Kč": "CZK",
    "Ft": "HUF",
    "₽": "RUB",
    "₺": "TRY",
    "₴": "UAH",
    "฿": "THB",
    "₱": "PHP",
}
"""Currency signs and their currencies; empty if several countries use the sign."""

_ANY_CURRENCY = "[A-Z]{3}"
_DATE = re.compile(r"(\d{1,4})([./-]) ?(\d{1,2})\2 ?(\d{1,4})\.?")
_DAY_NAMED = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?[. -]*([A-Za-z]{3,9})[.,]?[ -](\d{2,4})")
_MONTH_NAMED = re.compile(r"([A-Za-z]{3,9})\.?[ -](\d{1,2})(?:st|nd|rd|th)?,?[ -](\d{2,4})")
_MONTHS = {
    name: number
    for number, month in enumerate(
        [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ],
        1,
    )
    for name in (month, month[:3], month[:4])
}
_WEEKDAY = re.compile(r"^(mon|tue|wed|thu|fri|sat|sun)[a-z]*[.,]* ", re.IGNORECASE)
_SHORT_YEAR = "has a two-digit year: write it like 2025-12-31"
_IDEOGRAPHS = str.maketrans({"年": "-", "月": "-", "日": ""})
_TIME = re.compile(
    r"(T|,? )\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AP]M)?(Z|[+-]\d{2}:?\d{2})?$", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, slots=True)
class Notation:
    """The notation that a file's values show. `decimal` is the sign before an amount's fraction, `day_first`
    is whether 3/4/2025 is in April; None if the values show neither or both."""

    decimal: str | None = None
    day_first: bool | None = None

    @classmethod
    def of(cls, amounts: Iterable[str], dates: Iterable[str], separator: str) -> Notation:
        """The notation that the unambiguous values show. If no amount is unambiguous and commas separate the
        file's values, the decimal sign is the point, as in the documented format."""
        decimals = {sign for text in amounts if (sign := _decimal_of(_bare(text, _ANY_CURRENCY)[0]))}
        orders = {order for text in dates if (order := _order_of(text)) is not None}
        decimal = decimals.pop() if len(decimals) == 1 else None
        if decimal is None and not decimals and separator == ",":
            decimal = "."
        return cls(decimal, orders.pop() if len(orders) == 1 else None)

    def amount(self, text: str, currency: str = "", *, grouped: bool = True) -> float:
        """The amount in `text`. With `grouped` False no thousands are grouped: 1.085 is a little more than
        one.

        Raises `ValueError` that says what is wrong with `text`.
        """
        bare, sign = _bare(text, currency or _ANY_CURRENCY)
        if sign and currency and sign != currency:
            raise ValueError(f"is in {sign}, but the currency is {currency}")
        amount = self._amount(bare, grouped=grouped)
        if not math.isfinite(amount):
            raise ValueError("is larger than any price")
        return amount

    def _amount(self, bare: str, *, grouped: bool) -> float:
        groups = _GROUPED.fullmatch(bare) if grouped else None
        if groups and _DECIMAL.fullmatch(bare):
            whole, fraction = bare.replace(groups[1], ""), bare.replace(groups[1], ".")
            if self.decimal is None:
                raise ValueError(f"may be {whole} or {fraction}: write {whole}.00 or {fraction}0")
            return float(fraction if groups[1] == self.decimal else whole)
        if _PLAIN.fullmatch(bare):
            return float(bare)
        if groups and groups[1] != groups[2]:
            return float(bare.replace(groups[1], "").replace(",", "."))
        if _DECIMAL.fullmatch(bare):
            return float(bare.replace(",", "."))
        if grouped and _INDIAN.fullmatch(bare):
            return float(bare.replace(",", ""))
        raise ValueError("is not an amount above 0")

    def date(self, text: str) -> dt.date:
        """The date in `text`. Raises `ValueError` that says what is wrong with it."""
        day = _day(text)
        try:
            return dt.date.fromisoformat(day)
        except ValueError:
            pass
        if (named := _named(day)) is not None:
            return named
        parts = _DATE.fullmatch(day)
        if re.fullmatch(r"[3-5]\d{4}([.,]\d+)?", day):
            raise ValueError("is a spreadsheet's day number: format the column as dates before saving")
        if parts is None:
            raise ValueError("is not a date like 2025-12-31")
        first, sign, second, third = int(parts[1]), parts[2], int(parts[3]), int(parts[4])
        try:
            if len(parts[1]) == 4:
                return dt.date(first, second, third)
            if len(parts[4]) != 4:
                raise ValueError(_SHORT_YEAR)
            order = True if sign == "." else _order_of(day)
            if order is None and first != second:
                order = self.day_first
            if order is None and first != second:
                one, other = dt.date(third, second, first), dt.date(third, first, second)
                raise ValueError(f"may be {one} or {other}: write it like 2025-12-31")
            return dt.date(third, second, first) if order or order is None else dt.date(third, first, second)
        except ValueError as error:
            if "2025-12-31" in str(error):
                raise
            raise ValueError("is not a date like 2025-12-31") from None


def whole_number(text: str) -> int | None:
    """A whole number, with or without grouped thousands, also written as 2015.0: some programs write a column
    of whole numbers with an empty cell so. None for any other text."""
    bare = text.translate(_SPACES)
    if re.fullmatch(r"\d{1,12}([.,]0{1,2})?", bare):
        return int(re.split(r"[.,]", bare)[0])
    grouped = _GROUPED.fullmatch(bare)
    return int(bare.replace(grouped[1], "")) if grouped and not grouped[2] and len(bare) < 16 else None


def _bare(text: str, currency: str) -> tuple[str, str]:
    """The amount without the currency's code and sign at its ends, and the currency of the sign. `currency`
    is the code, or a pattern of it."""
    code = re.compile(rf"^{currency}(?![A-Z])|(?<![A-Z]){currency}$", re.IGNORECASE)
    bare = _SPACED_SIGN.sub("", code.sub("", text.translate(_SPACES).strip()).strip())
    for sign in sorted(_SIGNS, key=len, reverse=True):
        if bare.startswith(sign) or bare.endswith(sign):
            amount = bare.removeprefix(sign).removesuffix(sign).strip()
            return _ROUND.sub("00", amount), _SIGNS[sign]
    return _ROUND.sub("00", bare), ""


def _day(text: str) -> str:
    """A date's text without its time, weekday, and marks of writing direction."""
    return _WEEKDAY.sub("", _TIME.sub("", text.translate(_SPACES))).translate(_IDEOGRAPHS)


def _named(day: str) -> dt.date | None:
    """A date whose month is an English name; None for any other text. Raises `ValueError`."""
    if found := _DAY_NAMED.fullmatch(day):
        number, name, year = found.groups()
    elif found := _MONTH_NAMED.fullmatch(day):
        name, number, year = found.groups()
    else:
        return None
    month = _MONTHS.get(name.lower())
    if month and len(year) != 4:
        raise ValueError(_SHORT_YEAR)
    try:
        return dt.date(int(year), month, int(number)) if month else None
    except ValueError:
        raise ValueError("is not a date like 2025-12-31") from None


def _decimal_of(bare: str) -> str | None:
    """The decimal sign of an amount that can be read in only one way, else None."""
    grouped = _GROUPED.fullmatch(bare)
    if grouped:
        if grouped[2]:
            return grouped[2] if grouped[1] != grouped[2] else None
        if len(re.findall(r"[.,]", bare)) > 1:
            return "." if grouped[1] == "," else ","
        return None
    decimal = _DECIMAL.fullmatch(bare)
    return decimal[1] if decimal else None


def _order_of(text: str) -> bool | None:
    """Whether the day comes first in a date with slashes or dashes and the year at the end; None if the date
    does not show it."""
    parts = _DATE.fullmatch(_day(text))
    if parts is None or parts[2] == "." or len(parts[1]) == 4:
        return None
    first, second = int(parts[1]), int(parts[3])
    if (first > 12) == (second > 12):
        return None
    return first > 12
