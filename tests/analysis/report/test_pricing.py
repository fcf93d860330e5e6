"""Tests of the pricing method: each rule on sales made for it, then its accuracy on simulated markets."""

import dataclasses
import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinactors.analysis.model import CatalogPin, CatalogSale, Match, MatchCandidate
from pinactors.analysis.report.pricing import CHART_ROWS, LISTED_SALES, price
from pinactors.protocol import PACKET_LIMIT, Estimate, PricingAnalysis, decode
from tests.analysis.imaging import hostile

TODAY = dt.date(2026, 6, 30)
PIN = CatalogPin("P1", "Fox", ("Fox",), None, None, None, None, None)


def sale(
    amount: float, age: int = 10, currency: str = "USD", condition: str = "mint", source: str = "shop"
) -> CatalogSale:
    return CatalogSale(TODAY - dt.timedelta(days=age), amount, currency, condition, source)


def match(sales: list[CatalogSale], rates: dict[str, float] | None = None) -> Match:
    found = (MatchCandidate(PIN, 0.9, 40),)
    return Match(found, True, True, catalog_size=1, sales=tuple(sales), rates=rates or {})


def estimate(sales: list[CatalogSale], rates: dict[str, float] | None = None) -> Estimate:
    found = price(match(sales, rates), TODAY).estimate
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("count", "priced", "word"),
    [
        (0, False, "no sale"),
        (1, False, "1 sale "),
        (2, False, "2 sales "),
        (3, True, "Few sales"),
        (9, True, "Few sales"),
        (10, True, "Firm"),
        (11, True, "Firm"),
    ],
)
def test_how_many_sales_make_an_estimate(count: int, priced: bool, word: str) -> None:
    packet = price(match([sale(20.0, age) for age in range(count)]), TODAY)
    assert (packet.estimate is not None) is priced
    assert word in packet.pricing
    if packet.estimate:
        assert packet.estimate.sample_size == count
        assert "genuine" in packet.pricing
    else:
        assert isinstance(packet.reason, str)
        assert word in packet.reason
        assert packet.pricing.count("<li>") == count


def test_two_sales_are_shown_as_they_are_with_their_dates() -> None:
    packet = price(match([sale(20.0, 3), sale(31.5, 40, "EUR", "good")]), TODAY)
    assert packet.estimate is None
    assert '2026-06-27: 20.00 USD, condition "mint"' in packet.pricing
    assert '2026-05-21: 31.50 EUR, condition "good"' in packet.pricing
    assert [row["price"] for row in packet.sales] == [20.0, 31.5]  # type: ignore[union-attr]


def test_nothing_is_priced_that_is_not_identified() -> None:
    unclaimed = dataclasses.replace(match([sale(20.0)] * 12), identified=False)
    packet = price(unclaimed, TODAY)
    assert packet.estimate is None
    assert "not identified" in str(packet.reason)
    assert "20.00" not in packet.pricing


def test_the_narrow_window_counts_when_it_is_firm() -> None:
    sales = [sale(20.0, age) for age in range(80, 90)] + [sale(80.0, age) for age in range(91, 120)]
    found = estimate(sales)
    assert (found.median, found.sample_size) == (20.0, 10)


def test_the_window_is_widened_in_the_open() -> None:
    sales = [sale(20.0, age) for age in range(9)] + [sale(20.0, age) for age in (91, 365, 366)]
    packet = price(match(sales), TODAY)
    assert packet.estimate is not None
    assert packet.estimate.sample_size == 11  # 366 days is outside
    assert "365 days (only 9 in the last 90)" in packet.pricing
    assert "365 days (only 9 in the last 90)" in str(packet.method)


def test_old_sales_are_dated_not_estimated() -> None:
    packet = price(match([sale(20.0, 400 + age) for age in range(30)]), TODAY)
    assert packet.estimate is None
    assert "last 365 days" in str(packet.reason)
    assert packet.pricing.count("<li>") == LISTED_SALES
    assert "2025-05-26: 20.00 USD" in packet.pricing


def test_a_sale_of_tomorrow_is_not_known_yet() -> None:
    sales = [sale(20.0, age) for age in range(12)]
    assert estimate([*sales, *[sale(90.0, -1)] * 50]) == estimate(sales)
    assert estimate([*sales, *[sale(90.0, 0)] * 50]) != estimate(sales)


def test_outliers_are_left_out_and_counted() -> None:
    sales = [sale(20.0 + 0.1 * n, n) for n in range(12)]
    packet = price(match([*sales, sale(240.0, 1), sale(0.5, 2)]), TODAY)
    assert packet.estimate == estimate(sales)
    assert "2 left out as unusually high or low" in str(packet.method)
    assert "left out" not in str(price(match(sales), TODAY).method)


@pytest.mark.parametrize("label", ["lot of 5", "Bundle", "12 pins", "asking price", "unsold", "set of 3"])
def test_lots_and_asking_prices_are_no_sales_of_the_pin(label: str) -> None:
    sales = [sale(20.0, age) for age in range(12)]
    odd = [sale(21.0, age, condition=label) for age in range(30)] + [sale(21.0, 1, source=label)] * 30
    assert estimate([*sales, *odd]) == estimate(sales)


@pytest.mark.parametrize("label", ["mint", "slot machine", "pilot", "unlisted", "good, 2 posts"])
def test_other_words_are_conditions(label: str) -> None:
    assert estimate([sale(20.0, age, condition=label) for age in range(12)]).sample_size == 12


def test_one_condition_is_priced_and_the_others_named() -> None:
    mint, good = [sale(20.0, n) for n in range(11)], [sale(15.0, n, condition="Good") for n in range(12)]
    fair = [sale(9.0, n, condition="fair") for n in range(2)]
    packet = price(match([*mint, *good, *fair]), TODAY)
    assert packet.estimate is not None
    assert packet.estimate.median == 15.0  # most sales
    assert 'condition "good"' in packet.pricing
    assert 'Condition "mint": 20.00 USD (11 sales)' in packet.pricing
    assert "9.00" not in packet.pricing
    assert estimate([*mint, *good[:11]]).median == 20.0  # equally many sales: the better condition


def test_without_rates_the_currency_of_most_sales_counts_and_none_is_made_up() -> None:
    euro, dollar = [sale(10.0, n, "eur") for n in range(12)], [sale(20.0, n) for n in range(11)]
    found = estimate(euro + dollar)
    assert (found.currency, found.median, found.sample_size) == ("EUR", 10.0, 12)
    packet = price(match(euro + dollar), TODAY)
    assert "11 sales in other currencies left out because the catalogue has no exchange rate" in str(
        packet.method
    )


def test_with_rates_all_sales_count() -> None:
    euro, dollar = [sale(10.0, n, "EUR") for n in range(4)], [sale(11.0, n) for n in range(11)]
    packet = price(match([*euro, *dollar, sale(3.0, 1, "XYZ")], {"EUR": 1.1}), TODAY)
    assert packet.estimate == Estimate("USD", 11.0, 11.0, 11.0, 15, "2026-06-30")
    assert "4 converted" in str(packet.method)
    assert "1 sale in other currencies left out" in str(packet.method)
    assert {row["currency"] for row in packet.sales} == {"USD", "EUR"}  # type: ignore[union-attr]


def test_sales_without_a_rate_do_not_keep_the_others_from_being_converted() -> None:
    pounds = [sale(9.0, n, "GBP", str(n)) for n in range(5)]
    rated = [sale(11.0, n) for n in range(3)] + [sale(10.0, n, "EUR") for n in range(2)]
    packet = price(match([*pounds, *rated], {"EUR": 1.1}), TODAY)
    assert packet.estimate == Estimate("USD", 11.0, 11.0, 11.0, 5, "2026-06-30")
    assert "2 converted" in str(packet.method)


def test_a_sale_is_left_out_for_its_currency_only_if_it_would_have_counted_otherwise() -> None:
    sales = [sale(20.0, n) for n in range(12)]
    unrated = [sale(9.0, 1, "GBP", "good"), sale(9.0, 200, "GBP")]  # another condition, an older sale
    assert "exchange rate" not in str(price(match([*sales, *unrated]), TODAY).method)
    assert "1 sale in other currencies" in str(
        price(match([*sales, *unrated, sale(9.0, 1, "GBP")]), TODAY).method
    )


def test_recent_sales_that_the_years_fence_leaves_out_are_not_counted() -> None:
    sales = [sale(20.0, 1), sale(900.0, 2)] + [sale(20.0 + n / 10, 100 + n) for n in range(20)]
    packet = price(match(sales), TODAY)
    assert "1 left out as unusually high or low" in str(packet.method)
    assert "only 1 in the last 90" in str(packet.method)


@pytest.mark.parametrize("differing", ["condition", "currency"])
def test_sales_that_differ_in_one_respect_are_not_said_to_differ_in_both(differing: str) -> None:
    sales = [sale(20.0, n, **{differing: f"X{n}"}) for n in range(3)]  # type: ignore[arg-type]
    reason = str(price(match(sales), TODAY).reason)
    assert "The 3 sales in the last 365 days differ in condition or currency" in reason


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 1e300])
def test_an_impossible_rate_is_none(rate: float) -> None:
    sales = [sale(10.0, n, "EUR") for n in range(4)] + [sale(11.0, n) for n in range(11)]
    assert estimate(sales, {"USD": 1.0, "EUR": rate}) == estimate(sales)


@pytest.mark.parametrize("amount", [0.0, -5.0, math.nan, math.inf, 1e300])
def test_an_impossible_price_is_no_sale(amount: float) -> None:
    sales = [sale(20.0, age) for age in range(12)]
    assert estimate([*sales, *[sale(amount)] * 40]) == estimate(sales)


def test_recent_sales_weigh_more() -> None:
    """Eight sales at 10 and eight at 20, a half-life apart: the newer ones have two thirds of the weight."""
    rising = [sale(10.0, 90)] * 8 + [sale(20.0, 0)] * 8
    falling = [sale(20.0, 90)] * 8 + [sale(10.0, 0)] * 8
    assert estimate(rising).median == 20.0
    assert estimate(falling).median == 10.0
    assert estimate(rising).low == 10.0


def test_older_sales_weigh_more_if_the_window_is_widened() -> None:
    """The half-life is the length of the window: eight sales of a year ago outweigh three of today."""
    sales = [sale(10.0, 365)] * 8
    packet = price(match([*sales, *[sale(12.0, 0)] * 3]), TODAY)
    assert packet.estimate is not None
    assert packet.estimate.median == 10.0
    assert "half as much every 365 days" in str(packet.method)
    assert estimate([*sales, *[sale(12.0, 0)] * 5]).median == 12.0


def test_quartiles_of_equal_weights_are_those_of_the_log_prices() -> None:
    amounts = [8.0, 10.0, 12.0, 15.0, 19.0, 24.0, 30.0, 36.0, 45.0, 60.0, 75.0]
    found = estimate([sale(amount) for amount in amounts])
    low, median, high = np.exp(np.quantile(np.log(amounts), [0.25, 0.5, 0.75], method="hazen"))
    assert (found.low, found.median, found.high) == (round(low, 2), round(median, 2), round(high, 2))


def test_yen_have_no_cents() -> None:
    packet = price(match([sale(1234.56, n, "JPY") for n in range(12)]), TODAY)
    assert packet.estimate is not None
    assert packet.estimate.median == 1235.0
    assert "1,235 JPY" in packet.pricing


def test_the_chart_holds_the_newest_rows_behind_the_estimate() -> None:
    packet = price(match([sale(20.0 + age / 100, age) for age in range(60)]), TODAY)
    assert isinstance(packet.sales, list)
    assert [row["soldAt"] for row in packet.sales] == [
        (TODAY - dt.timedelta(days=age)).isoformat() for age in range(CHART_ROWS)
    ]


def test_a_demonstration_says_so() -> None:
    real = price(match([sale(20.0)] * 12), TODAY)
    drawn = price(dataclasses.replace(match([sale(20.0)] * 12), demonstration=True), TODAY)
    assert b"emonstration" not in real.encode()
    assert drawn.demonstration is True
    assert "made-up" in drawn.pricing
    assert "made-up" in price(Match(demonstration=True), TODAY).pricing


@pytest.mark.parametrize("text", hostile.TEXTS)
@pytest.mark.parametrize("count", [2, 12, 60])
def test_hostile_rows_stay_text_and_fit(text: str, count: int) -> None:
    sales = [sale(1e11, n, text or "USD", text, text) for n in range(count)]
    packet = hostile.stamped(price(dataclasses.replace(match(sales), demonstration=True), TODAY))
    assert hostile.faults(packet.pricing) == []
    assert len(packet.encode()) <= PACKET_LIMIT
    assert isinstance(decode(packet.encode()), PricingAnalysis)
    if "7 * 7" in text:
        assert "{{ 7 * 7 }}" in packet.pricing  # printed, not computed


rows = st.builds(
    sale,
    st.floats(0.01, 1e6),
    st.integers(-5, 800),
    st.sampled_from(["USD", "EUR", "JPY"]),
    st.sampled_from(["mint", "good", "lot"]),
)


@given(st.lists(rows, max_size=80), st.sampled_from([None, {"USD": 1.0, "EUR": 1.1, "JPY": 0.007}]))
def test_an_estimate_lies_among_its_sales(sales: list[CatalogSale], rates: dict[str, float] | None) -> None:
    packet = price(match(sales, rates), TODAY)
    assert len(packet.encode()) <= PACKET_LIMIT
    if packet.estimate is None:
        assert packet.reason
        return
    assert packet.estimate.low <= packet.estimate.median <= packet.estimate.high
    assert packet.estimate.sample_size >= 3
    if rates is None:
        amounts = [row.price for row in sales if row.currency == packet.estimate.currency]
        assert min(amounts) - 0.51 <= packet.estimate.low
        assert packet.estimate.high <= max(amounts) + 0.51


def test_the_median_error_on_drawn_markets_is_under_ten_percent() -> None:
    """The markets have log-normal prices (sigma 0.25), a twentieth of them wrong by up to a factor of ten, a
    slow drift and three conditions: they are as hard to price as published lists of sales."""
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(150):
        value = float(np.exp(rng.normal(3, 0.6)))
        sales = []
        for _ in range(int(rng.integers(10, 60))):
            age = int(rng.integers(0, 900))
            condition, offset = [("mint", 0.0), ("good", -0.17), ("fair", -0.5)][
                rng.choice(3, p=[0.6, 0.3, 0.1])
            ]
            noise = rng.normal(0, 0.25) + (rng.uniform(-2.3, 2.3) if rng.random() < 0.05 else 0)
            sales.append(sale(value * math.exp(offset + noise - age / 4000), age, condition=condition))
        packet = price(match(sales), TODAY)
        if packet.estimate:
            errors.append(abs(math.log(packet.estimate.median / value)))
    assert len(errors) > 120
    assert float(np.median(errors)) < 0.10
