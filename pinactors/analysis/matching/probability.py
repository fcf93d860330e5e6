"""The probability that a registered candidate is the photographed pin: a logistic model of few measurements.

`probability.json` beside this module holds its coefficients and how they were fitted.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

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
