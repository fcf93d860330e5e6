"""Figures of merit against cases worked out by hand."""

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


def test_interval_holds_the_value_and_narrows_with_cases() -> None:
    few = metrics.interval(lambda values: float(np.mean(values)), [0.0, 1.0] * 5)
    many = metrics.interval(lambda values: float(np.mean(values)), [0.0, 1.0] * 500)
    assert few["low"] < few["value"] == many["value"] == 0.5 < few["high"]
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 5
    assert many["n"] == 1000


def test_interval_of_nothing_is_unknown() -> None:
    assert metrics.interval(lambda values: float(np.mean(values)), []) == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
    }
