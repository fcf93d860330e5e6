"""The probability that a registered candidate is the photographed pin: a logistic model of few measurements
of the front, and another one of the back.

`probability.json` beside this module holds their coefficients and how they were fitted; `pinactors
calibrate-search` fits them.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pinactors.analysis.matching.likeness import Likeness
from pinactors.analysis.matching.reranking import CandidateAgreement

Section = Literal["front", "back"]

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


def measurements(agreement: CandidateAgreement, outlined: bool) -> list[float]:
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


def log_odds(agreement: CandidateAgreement, outlined: bool) -> float:
    """Natural log odds that the candidate is the photographed pin, by its front."""
    return _log_odds("front", NAMES, measurements(agreement, outlined))


BACK_NAMES = ("inner_lines", "worst_lines", "light_tint", "rim_tint")

MIN_BACK_LOG_ODDS, MAX_BACK_LOG_ODDS = -1.7, 2.5
"""Bounds of what a back adds. Variants differ in a few fields of the front, but their backs have another
plating, pattern and stamp. A back that hardly fits is weaker evidence than the regression says, hence the
lower bound: one in twenty of a pin's own backs fits as badly, and one in four of its rivals'."""

MIN_OUTLINE_OVERLAP = 0.8
"""Intersection over union that 99 of 100 registered backs of the same pin exceed, and half of those of other
pins."""

MAX_LIGHT_TINT = 1.0
"""Upper bound of a light's tint (log gains): a larger one is not caused by the light."""


def back_measurements(back: Likeness) -> list[float]:
    """The inputs of the back's model in the order of BACK_NAMES; of `rim_tint`, the square root."""
    return [
        back.inner_lines,
        back.worst_lines,
        min(back.light_tint, MAX_LIGHT_TINT),
        math.sqrt(back.rim_tint),
    ]


def back_log_odds(back: Likeness | None) -> float:
    """Natural log odds that the back adds to those of the other views; 0 if the back cannot be compared, the
    least if its outline is another one: either it is another pin's or it was cut out badly."""
    if back is None:
        return 0.0
    if back.outline < MIN_OUTLINE_OVERLAP:
        return MIN_BACK_LOG_ODDS
    total = _log_odds("back", BACK_NAMES, back_measurements(back))
    return min(MAX_BACK_LOG_ODDS, max(MIN_BACK_LOG_ODDS, total))


def _log_odds(section: Section, names: Sequence[str], values: Sequence[float]) -> float:
    model = shipped()[section]
    coefficients: dict[str, float] = model["coefficients"]
    weighted = (coefficients[name] * value for name, value in zip(names, values, strict=True))
    return float(model["intercept"]) + sum(weighted)


@functools.cache
def shipped() -> dict[Section, dict[str, Any]]:
    """The models in `probability.json`: of each, `intercept` and `coefficients` by name, what it was `fitted`
    to, and the `figures` of the fit."""
    models: dict[Section, dict[str, Any]] = json.loads(
        Path(__file__).with_name("probability.json").read_text("utf-8")
    )
    return models
