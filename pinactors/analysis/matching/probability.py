"""The probability that a registered candidate is the photographed pin: a logistic model of few measurements.

`probability.json` beside this module holds its coefficients and how they were fitted.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pinactors.analysis.matching.reranking import Agreement

NAMES = (
    "weight",
    "covered",
    "patches",
    "patch_mean",
    "inner_lines",
    "outline",
    "chroma",
    "outlined",
)
UNCOMPARED_VALUES = (0.3, 0.5, 0.3)
"""Values used for `inner_lines`, `outline` and `chroma` if lines and colours could not be compared."""

RIDGE_STRENGTH = 5.0


def measurements(agreement: Agreement, outlined: bool) -> list[float]:
    """The model's inputs in the order of NAMES; of `weight`, the logarithm of 1 + weight."""
    alike = agreement.likeness
    return [
        math.log1p(agreement.weight),
        agreement.covered,
        agreement.patches,
        agreement.patch_mean,
        *((alike.inner_lines, alike.outline, alike.chroma) if alike is not None else UNCOMPARED_VALUES),
        float(outlined),
    ]


@functools.cache
def _shipped() -> tuple[float, tuple[float, ...]]:
    model = json.loads(Path(__file__).with_name("probability.json").read_text("utf-8"))
    return model["intercept"], tuple(model["coefficients"][name] for name in NAMES)


def log_odds(agreement: Agreement, outlined: bool) -> float:
    """Natural log odds that the candidate is the photographed pin, by the coefficients in
    `probability.json`."""
    intercept, coefficients = _shipped()
    values = measurements(agreement, outlined)
    return intercept + sum(one * value for one, value in zip(coefficients, values, strict=True))


def fit(
    rows: Sequence[Sequence[float]], right: Sequence[bool], ridge: float = RIDGE_STRENGTH
) -> npt.NDArray[np.float64]:
    """(1 + columns): intercept and coefficients of a logistic regression by Newton's method, with a ridge on
    the coefficients of the standardised columns."""
    inputs, labels = np.asarray(rows, np.float64), np.asarray(right, np.float64)
    middle, spread = inputs.mean(0), inputs.std(0) + 1e-9
    columns = np.column_stack([np.ones(len(inputs)), (inputs - middle) / spread])
    penalty = np.diag([1e-6, *[ridge] * inputs.shape[1]])
    solution = np.zeros(columns.shape[1])
    for _ in range(50):
        expected = 1 / (1 + np.exp(-columns @ solution))
        slope = columns.T @ (expected - labels) + penalty @ solution
        curvature = (columns * (expected * (1 - expected))[:, None]).T @ columns + penalty
        step = np.linalg.solve(curvature, slope)
        solution -= step
        if np.abs(step).max() < 1e-8:
            break
    coefficients = solution[1:] / spread
    return np.concatenate([[solution[0] - coefficients @ middle], coefficients])
