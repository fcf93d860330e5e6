"""Tests of the figures of merit on cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.evaluation import metrics

TRUE, FALSE = True, False


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], [TRUE, TRUE, FALSE, FALSE], 1.0),
        ([0.1, 0.2, 0.8, 0.9], [TRUE, TRUE, FALSE, FALSE], 0.0),
        ([0.5, 0.5, 0.5, 0.5], [TRUE, FALSE, TRUE, FALSE], 0.5),
        ([0.9, 0.4, 0.6, 0.1], [TRUE, TRUE, FALSE, FALSE], 0.75),
    ],
)
def test_auc(scores: list[float], positive: list[bool], expected: float) -> None:
    assert metrics.auc(np.array(scores), np.array(positive)) == expected


def test_auc_of_one_kind_is_undefined() -> None:
    assert np.isnan(metrics.auc(np.array([0.1, 0.2]), np.array([True, True])))


def test_brier() -> None:
    assert metrics.brier(np.array([1.0, 0.0, 0.5]), np.array([True, False, True])) == pytest.approx(0.25 / 3)


def test_found_at_a_bound_on_false_alarms() -> None:
    negatives = np.linspace(0.0, 0.19, 20)
    scores = np.concatenate([negatives, [0.185, 0.05, 0.5, 0.9]])
    positive = np.array([False] * 20 + [True] * 4)
    # one of twenty negatives may be exceeded: the threshold is the second highest, 0.18
    assert metrics.found_at(scores, positive, 0.05) == 0.75
    assert metrics.found_at(scores, positive, 0.0) == 0.5


def test_risk_falls_where_sureness_means_something() -> None:
    sureness = np.array([0.5, 0.4, 0.3, 0.2])
    wrong = np.array([False, False, True, True])
    assert metrics.risk_at(sureness, wrong, 0.5) == 0.0
    assert metrics.risk_at(sureness, wrong, 1.0) == 0.5
    assert metrics.risk_curve(sureness, wrong).tolist() == [0.0, 0.0, pytest.approx(1 / 3), 0.5]


def test_equally_sure_answers_share_their_risk() -> None:
    wrong = np.array([True, False, False, False])
    assert metrics.risk_curve(np.full(4, 0.3), wrong).tolist() == [0.25] * 4


def test_coverage_at_precision_does_not_split_equal_scores() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.7, 0.1])
    right = np.array([True, True, True, False, False])
    assert metrics.coverage_at_precision(scores, right, 0.98) == 0.4
    assert metrics.coverage_at_precision(scores, right, 0.75) == 0.8
    assert metrics.coverage_at_precision(scores, ~right, 0.98) == 0.0


def test_reliability_bins() -> None:
    bins = metrics.reliability(np.array([0.05, 0.95, 1.0]), np.array([False, True, False]))
    assert [(one["from"], one["count"], one["seen"]) for one in bins] == [(0.0, 1, 0.0), (0.9, 2, 0.5)]


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 12, 0.0, 0.2425), (104, 104, 0.9644, 1.0), (81, 263, 0.2553, 0.3662), (0, 1, 0.0, 0.7935)],
)
def test_a_share_has_wilsons_interval(hits: int, of: int, low: float, high: float) -> None:
    """81 of 263 is the example of Newcombe (1998); 0 % and 100 % have an interval as well."""
    found = metrics.share([True] * hits + [False] * (of - hits))
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert (found["n"], found["pins"]) == (of, of)


def test_photographs_of_one_pin_are_one_case() -> None:
    """Ten photographs of each of five pins give the same interval as one photograph of each."""
    hits = [True, False, True, True, False]
    once = metrics.share(hits, "abcde")
    often = metrics.share(hits * 10, "abcde" * 10)
    assert {**often, "n": 5} == once
    assert often["n"] == 50
    drawn = metrics.interval(_mean, np.array(hits * 10, float), pins=list("abcde" * 10))
    single = metrics.interval(_mean, np.array(hits, float), pins=list("abcde"))
    assert drawn["high"] - drawn["low"] == pytest.approx(single["high"] - single["low"], abs=0.05)
    assert drawn["pins"] == 5


def test_a_share_of_nothing_is_unknown() -> None:
    assert metrics.share([])["value"] is None


def test_interval_holds_the_value_and_narrows_with_cases() -> None:
    few = metrics.interval(_mean, [0.0, 1.0] * 5)
    many = metrics.interval(_mean, [0.0, 1.0] * 500)
    assert few["low"] < few["value"] == many["value"] == 0.5 < few["high"]
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 5
    assert many["n"] == 1000


def test_interval_of_nothing_is_unknown() -> None:
    unknown = {"value": None, "low": None, "high": None, "n": 0, "pins": 0}
    assert metrics.interval(_mean, []) == unknown


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))
