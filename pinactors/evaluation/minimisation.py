"""Minimises the costs of fits: L-BFGS-B (Byrd et al. 1995) of SciPy, which the extra `evaluation`
installs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from pinactors.analysis.model import Doubles, Flags

Limits = tuple[float | None, float | None]

MAX_ITERATIONS = 1000


def check_installed() -> None:
    """Raises `ValueError` if SciPy is not installed: to be called before hours of work."""
    if importlib.util.find_spec("scipy") is None:
        raise ValueError("a fit needs SciPy: pip install 'pinactors[evaluation]'")


def minimised(
    cost: Callable[[Doubles], tuple[float, Doubles]] | Callable[[Doubles], float],
    start: Doubles,
    limits: Sequence[Limits],
    *,
    gradient: bool,
) -> Doubles:
    """The values within their `limits` (None: no limit) that minimise `cost`, found from `start`. With
    `gradient` the cost returns its gradient as well, else that is estimated by finite differences."""
    from scipy import optimize  # type: ignore[import-untyped]  # an extra, without annotations

    found = optimize.minimize(
        cost, start, jac=gradient, bounds=limits, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}
    )
    return np.asarray(found.x, np.float64)


def logistic_cost(inputs: Doubles, labels: Flags, weights: Doubles) -> tuple[float, Doubles]:
    """Negative log-likelihood of a logistic regression of `labels` (n) on `inputs` (n, k), and its gradient
    by the weights (k)."""
    odds = inputs @ weights
    cost = float(np.logaddexp(0, np.where(labels, -odds, odds)).sum())
    return cost, inputs.T @ (0.5 * (1 + np.tanh(odds / 2)) - labels)
