"""Estimates the price of the identified pin from its sales in one condition and one currency.

Sales more than 1.5 interquartile ranges outside the quartiles of the log price (Tukey's fence) are left out:
they are mostly lots and mistyped prices. The estimate is the recency-weighted median with the 25th and 75th
percentile, in log price, of the last 90 days. If these have fewer than ten sales, the window is widened to
365 days, and the packet says so. A sale loses half its weight in the length of the window: where sales are
few, older ones count more. Ten sales make a firm estimate, three to nine a thin one; one or two are only
listed.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import UNSET

from pinactors.analysis.model import CatalogSale, Doubles, Match
from pinactors.analysis.report.html import plain, render
from pinactors.protocol import Estimate, PricingAnalysis

WINDOW_DAYS = 90
WIDE_WINDOW_DAYS = 365
FENCE_QUARTILE_RANGES = 1.5
MIN_SALES_WITH_OUTLIERS = 4
"""Least number of sales whose quartiles can show outliers."""
FIRM_ESTIMATE_SALES, MIN_ESTIMATE_SALES = 10, 3

PRICE_LIMIT = 1e12
RATE_LIMIT = 1e9
"""Bounds of prices and exchange rates within which logarithms, quotients and printed figures are valid; they
exclude NaN and infinity."""

CHART_ROWS = 40
LISTED_SALES = 5
OTHER_CONDITIONS = 3
LABEL_BYTES = 60

_NOT_ONE_SOLD_PIN = re.compile(
    r"\b(lots?|bundles?|bulk|set of \d+|\d+ ?(pcs|pieces|pins)|asking|asked|listed|listing|unsold)\b",
    re.IGNORECASE,
)
GRADES = ("sealed", "new", "mint", "near mint", "excellent", "very good", "good", "fair", "poor", "damaged")
"""The conditions that sales usually state, the best first; any other text is a condition of its own."""
NOT_STATED = "not stated"
_WITHOUT_CENTS = frozenset({"JPY", "KRW", "VND", "CLP", "ISK", "PYG", "UGX", "XAF", "XOF", "XPF"})


@dataclass(frozen=True, slots=True)
class _Row:
    """A usable sale. `amount` is in `currency`, to which the sale may have been converted; `age` is in
    days."""

    sale: CatalogSale
    condition: str
    currency: str
    amount: float
    age: int


@dataclass(frozen=True, slots=True)
class _Sample:
    """Sales in one condition and currency within `window` days. `outliers` is the number of sales left out,
    `recent` the number of `rows` within the narrow window."""

    rows: list[_Row]
    outliers: int
    window: int
    recent: int

    def quartiles(self) -> tuple[float, float, float]:
        logs = np.log([row.amount for row in self.rows])
        weights = np.power(0.5, np.array([row.age for row in self.rows]) / self.window)
        low, median, high = np.exp([_weighted_quantile(logs, weights, q) for q in (0.25, 0.5, 0.75)])
        return float(low), float(median), float(high)


def price(match: Match, as_of: dt.date) -> PricingAnalysis:
    """The packet for the pin that `match` identifies, as of a day; later sales are ignored.

    Sales are converted to one currency by the catalogue's exchange rates. Of currencies that cannot be
    converted, only the one with the most sales counts, and the packet says what is left out. The condition is
    the one with the most sales, because that of the photographed pin is unknown; the other conditions are
    listed as well.
    """
    if match.pin is None:
        return _no_price(match, "The pin is not identified, so there are no sales to go by.", [])
    rows = _usable(match.sales, as_of)
    if not rows:
        return _no_price(match, "The catalogue has no sales of this pin to go by.", [])
    year = [row for row in rows if row.age <= WIDE_WINDOW_DAYS]
    if not year:
        return _no_price(
            match, f"The catalogue has no sale of this pin in the last {WIDE_WINDOW_DAYS} days.", rows
        )
    converted = _in_one_currency(year, match.rates)
    groups: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for row in converted:
        groups[row.condition, row.currency].append(row)
    condition, currency = min(groups, key=lambda key: (-len(groups[key]), _grade(key[0]), key))
    sample = _sample(groups[condition, currency])
    if len(sample.rows) < MIN_ESTIMATE_SALES:
        return _no_price(match, _too_few(len(year)), year)
    others = {
        other: _sample(found)
        for (other, unit), found in groups.items()
        if unit == currency and other != condition
    }
    unconverted = sum(
        row.condition == condition and row.currency != currency and row.age <= sample.window
        for row in converted
    )
    return _estimate(match, as_of, sample, condition, currency, others, unconverted)


def condition_of(text: str) -> str:
    """The condition that a sale states, in the spelling by which sales are grouped."""
    return " ".join(text.casefold().split()) or NOT_STATED


def without_rate(currencies: Iterable[str], rates: Mapping[str, float]) -> set[str]:
    """Those of several currencies whose sales cannot be converted to the others for want of a rate."""
    found = set(currencies)
    return found - set(_usable_rates(rates)) if len(found) > 1 else set()


def _usable_rates(rates: Mapping[str, float]) -> dict[str, float]:
    """US dollars per unit of each currency that can be converted."""
    return {"USD": 1.0} | {unit: rate for unit, rate in rates.items() if 1 / RATE_LIMIT < rate < RATE_LIMIT}


def _usable(sales: Sequence[CatalogSale], as_of: dt.date) -> list[_Row]:
    """The usable sales of single pins up to `as_of`, newest first."""
    rows = [
        _Row(
            sale,
            condition_of(sale.condition),
            sale.currency.strip().upper(),
            sale.price,
            (as_of - sale.sold_at).days,
        )
        for sale in sales
        if sale.sold_at <= as_of
        and 0 < sale.price < PRICE_LIMIT
        and sale.currency.strip()
        and not _NOT_ONE_SOLD_PIN.search(f"{sale.condition} {sale.source}")
    ]
    return sorted(rows, key=lambda row: (row.age, row.currency, row.amount))


def _in_one_currency(rows: list[_Row], rates: Mapping[str, float]) -> list[_Row]:
    """The rows converted to the currency that most of those with an exchange rate have; rows without a rate
    are unchanged."""
    known = _usable_rates(rates)
    counts = Counter(row.currency for row in rows if row.currency in known)
    if not counts:
        return rows
    target = min(counts, key=lambda unit: (-counts[unit], unit))
    return [
        _Row(row.sale, row.condition, target, row.amount * known[row.currency] / known[target], row.age)
        if row.currency in known
        else row
        for row in rows
    ]


def _sample(rows: list[_Row]) -> _Sample:
    recent = [row for row in rows if row.age <= WINDOW_DAYS]
    kept = _without_outliers(recent)
    if len(kept) >= FIRM_ESTIMATE_SALES:
        return _Sample(kept, len(recent) - len(kept), WINDOW_DAYS, len(kept))
    wide = _without_outliers(rows)
    # The two fences differ, so a sale that the narrow one keeps may be an outlier of the year.
    return _Sample(wide, len(rows) - len(wide), WIDE_WINDOW_DAYS, sum(row.age <= WINDOW_DAYS for row in wide))


def _without_outliers(rows: list[_Row]) -> list[_Row]:
    if len(rows) < MIN_SALES_WITH_OUTLIERS:
        return rows
    logs = np.log([row.amount for row in rows])
    first, third = np.percentile(logs, [25, 75])
    reach = FENCE_QUARTILE_RANGES * (third - first) + 1e-9  # converted equal prices may differ by rounding
    return [row for row, log in zip(rows, logs, strict=True) if first - reach <= log <= third + reach]


def _weighted_quantile(values: Doubles, weights: Doubles, quantile: float) -> float:
    """A weighted quantile, linear between the middles of each value's share of the weight (Hazen's
    definition, weighted)."""
    order = np.argsort(values)
    shares = weights[order]
    middles = np.cumsum(shares) - shares / 2
    return float(np.interp(quantile * shares.sum(), middles, values[order]))


def _estimate(
    match: Match,
    as_of: dt.date,
    sample: _Sample,
    condition: str,
    currency: str,
    others: dict[str, _Sample],
    unconverted: int,
) -> PricingAnalysis:
    low, median, high = sample.quartiles()
    size = len(sample.rows)
    named = sorted(others.items(), key=lambda item: (_grade(item[0]), item[0]))
    return PricingAnalysis(
        pricing=render(
            "pricing.html",
            estimate={
                "low": _money(low, currency),
                "median": _money(median, currency),
                "high": _money(high, currency),
            },
            strength="Firm" if size >= FIRM_ESTIMATE_SALES else "Few sales, a rough guide only",
            count=_count(size),
            condition=plain(condition, LABEL_BYTES),
            window=_window(sample),
            as_of=as_of.isoformat(),
            method=(method := _method(sample, currency, unconverted)),
            others=[
                {
                    "condition": plain(other, LABEL_BYTES),
                    "median": _money(found.quartiles()[1], currency),
                    "size": len(found.rows),
                }
                for other, found in named
                if len(found.rows) >= MIN_ESTIMATE_SALES
            ][:OTHER_CONDITIONS],
            demonstration=match.demonstration,
        ),
        estimate=Estimate(
            currency=plain(currency, LABEL_BYTES),
            low=_rounded(low, currency),
            median=_rounded(median, currency),
            high=_rounded(high, currency),
            sample_size=size,
            as_of=as_of.isoformat(),
        ),
        method=f"{method} Condition {plain(condition, LABEL_BYTES)}, {_window(sample)}.",
        sales=_chart(sample.rows),
        demonstration=match.demonstration or UNSET,
    )


def _no_price(match: Match, reason: str, rows: list[_Row]) -> PricingAnalysis:
    return PricingAnalysis(
        pricing=render(
            "pricing.html",
            estimate=None,
            reason=reason,
            dated=[
                {
                    "date": row.sale.sold_at.isoformat(),
                    "price": _money(row.sale.price, row.currency),
                    "condition": plain(row.condition, LABEL_BYTES),
                }
                for row in rows[:LISTED_SALES]
            ],
            demonstration=match.demonstration,
        ),
        estimate=None,
        reason=reason,
        sales=_chart(rows[:LISTED_SALES]) if rows else UNSET,
        demonstration=match.demonstration or UNSET,
    )


def _chart(rows: list[_Row]) -> list[dict[str, Any]]:
    """The newest sales, in the currency in which they were sold."""
    return [
        {
            "soldAt": row.sale.sold_at.isoformat(),
            "price": row.sale.price,
            "currency": plain(row.sale.currency, LABEL_BYTES),
            "condition": plain(row.condition, LABEL_BYTES),
            "source": plain(row.sale.source, LABEL_BYTES),
        }
        for row in rows[:CHART_ROWS]
    ]


def _method(sample: _Sample, currency: str, unconverted: int) -> str:
    text = f"Median of sold prices; a sale counts half as much every {sample.window} days"
    converted = sum(row.sale.currency.strip().upper() != currency for row in sample.rows)
    if converted:
        text += f"; {converted} converted at the catalogue's exchange rates"
    if unconverted:
        text += (
            f"; {_count(unconverted)} in other currencies left out because the catalogue has no exchange rate"
        )
    if sample.outliers:
        text += f"; {sample.outliers} left out as unusually high or low"
    return text + "."


def _window(sample: _Sample) -> str:
    text = f"the last {sample.window} days"
    if sample.window > WINDOW_DAYS:
        recent = f"only {sample.recent}" if sample.recent else "none"
        text += f" ({recent} in the last {WINDOW_DAYS})"
    return text


def _count(size: int) -> str:
    return "1 sale" if size == 1 else f"{size} sales"


def _too_few(size: int) -> str:
    if size < MIN_ESTIMATE_SALES:
        return f"Only {_count(size)} in the last {WIDE_WINDOW_DAYS} days: too few for an estimate."
    return (
        f"The {size} sales in the last {WIDE_WINDOW_DAYS} days differ in condition or currency: "
        f"an estimate needs {MIN_ESTIMATE_SALES} in the same condition and currency."
    )


def _grade(condition: str) -> int:
    return GRADES.index(condition) if condition in GRADES else len(GRADES)


def _rounded(amount: float, currency: str) -> float:
    return round(amount, 0 if currency in _WITHOUT_CENTS else 2)


def _money(amount: float, currency: str) -> str:
    return f"{amount:,.{0 if currency in _WITHOUT_CENTS else 2}f} {plain(currency, LABEL_BYTES)}"
