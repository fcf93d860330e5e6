"""Tests of how fits find their best values."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from pinactors.analysis.model import Doubles
from pinactors.evaluation import minimisation
from pinactors.evaluation.minimisation import logistic_cost, minimised


@pytest.mark.parametrize("gradient", [True, False])
def test_the_least_cost_within_the_limits_is_found(gradient: bool) -> None:
    target = np.array([3.0, -2.0, 0.5])

    def cost(values: Doubles) -> tuple[float, Doubles]:
        away = values - target
        return float(away @ away), 2 * away

    limits = [(None, None), (-1.0, None), (0.0, 0.25)]
    chosen = cost if gradient else lambda values: cost(values)[0]
    found = minimised(chosen, np.zeros(3), limits, gradient=gradient)
    assert found == pytest.approx([3.0, -1.0, 0.25], abs=1e-4)


def test_the_logistic_cost_has_the_gradient_it_gives() -> None:
    chance = np.random.default_rng(5)
    inputs, labels = chance.normal(size=(30, 4)), chance.random(30) < 0.5
    weights = chance.normal(size=4)
    _, gradient = logistic_cost(inputs, labels, weights)
    for index, slope in enumerate(gradient):
        step = 1e-6 * np.eye(4)[index]
        ahead, behind = (logistic_cost(inputs, labels, weights + one)[0] for one in (step, -step))
        assert (ahead - behind) / 2e-6 == pytest.approx(slope, abs=1e-5)


def test_a_missing_scipy_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    minimisation.check_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pinactors\[evaluation\]"):
        minimisation.check_installed()
