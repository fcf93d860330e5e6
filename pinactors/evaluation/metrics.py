"""Figures of merit on plain arrays, as defined in the literature."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pinactors.analysis.model import Doubles, Flags

RESAMPLES = 1000
"""Number of bootstrap resamples: 25 lie outside each end of a 95 % interval."""

SEED = 20261123

BINS = 10
"""Number of bins of the reliability diagram, of equal width."""

Z = 1.959964
"""The 97.5th percentile of the normal distribution."""


def auc(scores: Doubles, positive: Flags) -> float:
    """Area under the ROC curve (Mann–Whitney): how often a positive has a higher score than a negative; ties
    count half.

    NaN unless there are positives and negatives.
    """
    ones, zeros = scores[positive], np.sort(scores[~positive])
    if not len(ones) or not len(zeros):
        return float("nan")
    below, not_above = (np.searchsorted(zeros, ones, side=side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(zeros))


def brier(probabilities: Doubles, outcomes: Flags) -> float:
    """Mean squared difference between probability and outcome (Brier 1950); 0 is perfect."""
    return float(np.mean((probabilities - outcomes) ** 2)) if len(outcomes) else float("nan")


def found_at(scores: Doubles, positive: Flags, false_alarms: float) -> float:
    """Share of the positives above a threshold that at most the share `false_alarms` of the negatives
    exceeds."""
    zeros = np.sort(scores[~positive])[::-1]
    if not len(zeros) or not positive.any():
        return float("nan")
    threshold = zeros[int(np.floor(false_alarms * len(zeros)))] if false_alarms < 1 else -np.inf
    return float((scores[positive] > threshold).mean())


def risk_at(sureness: Doubles, wrong: Flags, coverage: float) -> float:
    """Share of wrong answers among the share `coverage` with the greatest `sureness`; ties count by their
    mean."""
    if not len(wrong):
        return float("nan")
    return float(risk_curve(sureness, wrong)[max(0, round(coverage * len(wrong)) - 1)])


def risk_curve(sureness: Doubles, wrong: Flags) -> Doubles:
    """Risk at each coverage 1/n … 1 (El-Yaniv and Wiener 2010). Ties get their mean risk."""
    order = np.argsort(-sureness, kind="stable")
    sorted_sureness, errors = sureness[order], wrong[order].astype(np.float64)
    _, group = np.unique(-sorted_sureness, return_inverse=True)
    mean = np.bincount(group, errors) / np.bincount(group)
    return np.asarray(np.cumsum(mean[group]) / np.arange(1, len(errors) + 1))


def coverage_at_precision(scores: Doubles, right: Flags, precision: float) -> float:
    """The largest share that can be claimed, best scores first, with at least `precision` of them right."""
    if not len(right):
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    reached = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    usable = np.flatnonzero((reached >= precision) & last_of_score)
    return float((usable[-1] + 1) / len(right)) if len(usable) else 0.0


def reliability(probabilities: Doubles, outcomes: Flags) -> list[dict[str, float]]:
    """The reliability diagram: for each non-empty bin its count, mean probability and share of outcomes."""
    number = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    return [
        {
            "from": index / BINS,
            "to": (index + 1) / BINS,
            "count": int((number == index).sum()),
            "said": float(probabilities[number == index].mean()),
            "seen": float(outcomes[number == index].mean()),
        }
        for index in range(BINS)
        if (number == index).any()
    ]


def fold_of(pin: str, folds: int) -> int:
    """The fold (0 to `folds` - 1) of a pin in a cross-validation: by a hash of its name, so that it does not
    depend on the other pins."""
    return zlib.crc32(pin.encode()) % folds


def share(hits: Sequence[bool] | Flags, pins: Sequence[Any] | None = None) -> dict[str, Any]:
    """The share of photographs for which something holds, with Wilson's 95 % interval: {value, low, high, n,
    pins}.

    `pins` holds the pin of each photograph (None: each shows a different pin). Results of photographs of one
    pin are dependent, so the interval is that of as many independent cases as there are pins. Unlike a
    bootstrap interval, Wilson's (1927) does not shrink to nothing at 0 or 1.
    """
    outcomes = np.asarray(hits, np.float64)
    size = len(outcomes)
    cases = size if pins is None else len(set(pins))
    if not size:
        return {"value": None, "low": None, "high": None, "n": 0, "pins": 0}
    value, part = float(outcomes.mean()), Z * Z / cases
    middle = (value + part / 2) / (1 + part)
    reach = Z * float(np.sqrt(value * (1 - value) / cases + part / cases / 4)) / (1 + part)
    low, high = max(middle - reach, 0.0), min(middle + reach, 1.0)
    return {"value": _json(value), "low": _json(low), "high": _json(high), "n": size, "pins": cases}


def interval(
    figure: Callable[..., float],
    *columns: Sequence[Any] | npt.NDArray[Any],
    pins: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """`figure(*columns)` with its 95 % percentile bootstrap interval: {value, low, high, n, pins}.

    Pins are resampled, each with all its photographs (the cluster bootstrap; Davison and Hinkley 1997,
    section 3.8): `pins` holds the pin of each row, None if each row is a different pin. For shares, use
    `share`.
    """
    arrays = [np.asarray(column) for column in columns]
    size = len(arrays[0])
    value = figure(*arrays) if size else float("nan")
    _, pin = np.unique(np.arange(size) if pins is None else np.asarray(pins, str), return_inverse=True)
    order = np.argsort(pin, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(pin))[:-1]) if size else []
    random = np.random.default_rng(SEED)
    resampled = []
    for _ in range(RESAMPLES if size else 0):
        rows = np.concatenate([members[drawn] for drawn in random.integers(0, len(members), len(members))])
        resampled.append(figure(*(array[rows] for array in arrays)))
    known = [one for one in resampled if np.isfinite(one)]
    low, high = np.percentile(known, [2.5, 97.5]) if known else (float("nan"), float("nan"))
    return {
        "value": _json(value),
        "low": _json(low),
        "high": _json(high),
        "n": size,
        "pins": len(members),
    }


def _json(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
