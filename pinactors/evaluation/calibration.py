"""Fits the evidence weights to labelled photographs: bounded, sign-constrained, near the reasoned start.

A weight in favour cannot become one against, or vice versa. No row weighs more in favour of a pin than
against it (a mark can be copied, its absence cannot) or more than `MAX_LOG10`. Weights that the photographs
do not determine stay as they were reasoned: the fit is a maximum a posteriori estimate whose prior is the
calibration from which it starts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence.likelihood import (
    HIGHEST_RATING,
    LOWEST_RATING,
    Bounds,
    Calibration,
    Measurement,
    group_weight,
)
from pinactors.evaluation.figures import Rated

Values = npt.NDArray[np.float64]

MAX_LOG10 = 2.0
"""Log10 likelihood ratio that no single row may exceed, because any photograph can be misleading."""

FAVOUR_DEVIATION, AGAINST_DEVIATION, PRIOR_DEVIATION = 0.15, 1.0, 0.03
"""Standard deviations of the prior around the start. The first is small because marks in favour of a pin are
easily copied: a larger weight needs much evidence. The second was chosen together with `MAX_LOG10` and the
caps of groups: the Brier score of 250 photo sets of simulated pins, out of fold, went from 0.116 (0.6, 1.5,
and two thirds of the caps) to 0.107."""

STEPS = (0.2, 0.1, 0.05, 0.025, 0.0125)


FOLD_SEED = 20261128


@dataclass(frozen=True, slots=True)
class Observation:
    """The measurements on one pin's photographs, whether the pin is genuine, and which pin it is."""

    measurements: Sequence[Measurement]
    genuine: bool
    pin: str = ""


def fit(observations: Sequence[Observation], start: Calibration, version: str) -> Calibration:
    """The calibration with the best penalised log-likelihood of the observations, near `start`.

    It is found by coordinate descent, with the groups' caps. Raises `ValueError` unless there are genuine
    pins and others.
    """
    genuine = np.array([observation.genuine for observation in observations])
    if not genuine.any() or genuine.all():
        raise ValueError("a calibration needs photographs of genuine pins and of others")
    problem = _Problem(observations, genuine, start)
    values = problem.start.copy()
    best = problem.cost(values)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for index in range(len(values)):
                for change in (step, -step):
                    trial = values.copy()
                    trial[index] += change
                    trial[index] = np.clip(trial[index], *problem.limits(index, values))
                    cost = problem.cost(trial)
                    if cost < best - 1e-4:
                        best, values, improved = cost, trial, True
    return problem.calibration(values, version)


def check_folds(folds: int, pins: int) -> None:
    """Raises `ValueError` if there are fewer pins than folds."""
    if pins < folds:
        raise ValueError(f"{folds} folds need as many pins; there are {pins}")


def out_of_fold(observations: Sequence[Observation], start: Calibration, folds: int) -> Rated:
    """Probabilities of being genuine, each from a fit without photographs of the same pin.

    The pins are assigned to `folds` parts at random; the probabilities of one part come from a fit to the
    others, always from the same start. Raises `ValueError` if there are fewer pins than folds, or a fit has
    only genuine pins or none.
    """
    names = sorted({observation.pin for observation in observations})
    check_folds(folds, len(names))
    part = np.random.default_rng(FOLD_SEED).permutation(len(names)) % folds
    part_of = dict(zip(names, part.tolist(), strict=True))
    probability = np.zeros(len(observations))
    for fold in range(folds):
        fitted = fit([one for one in observations if part_of[one.pin] != fold], start, f"fold {fold}")
        for index, one in enumerate(observations):
            if part_of[one.pin] == fold:
                probability[index] = _rated(fitted, one)
    genuine = np.array([one.genuine for one in observations])
    return Rated(probability, genuine, [one.pin for one in observations])


def _rated(fitted: Calibration, one: Observation) -> float:
    """The rating that an answer would have, over 100."""
    probability = fitted.probability(fitted.weigh(one.measurements))
    return min(max(probability, LOWEST_RATING / 100), HIGHEST_RATING / 100)


class _Problem:
    def __init__(
        self, observations: Sequence[Observation], genuine: npt.NDArray[np.bool_], start: Calibration
    ):
        self.base = start
        self.genuine = genuine
        self.names = list(start.rows)
        scores = np.zeros((len(observations), len(self.names)))
        for row, observation in enumerate(observations):
            for measured in observation.measurements:
                scores[row, self.names.index(measured.name)] = measured.score or 0.0
        self.favour, self.against = np.clip(scores, 0, 1), np.clip(-scores, 0, 1)
        bounds = start.rows.values()
        self.start = np.array([*(b.favour for b in bounds), *(b.against for b in bounds), start.prior])
        count = len(self.names)
        self.deviation = np.repeat([FAVOUR_DEVIATION, AGAINST_DEVIATION, PRIOR_DEVIATION], [count, count, 1])
        grouped = [[self.names.index(name) for name in names] for _, names in start.groups.values()]
        self.caps = [(cap, members) for (cap, _), members in zip(start.groups.values(), grouped, strict=True)]
        self.free = [index for index in range(count) if all(index not in members for members in grouped)]

    def limits(self, index: int, values: Values) -> tuple[float, float]:
        """The limits of the value at `index` while the others are fixed."""
        count = len(self.names)
        if index < count:
            return 0.0, float(values[count + index])
        return (float(values[index - count]), MAX_LOG10) if index < 2 * count else (-np.inf, np.inf)

    def cost(self, values: Values) -> float:
        """Negative log-likelihood plus half the squared standardised distance from the start."""
        count = len(self.names)
        weights = self.favour * values[:count] - self.against * values[count:-1]
        total = weights[:, self.free].sum(axis=1)
        for cap, members in self.caps:
            total += group_weight(weights[:, members], cap)
        odds = np.log(10) * (values[-1] + self.base.scale * total)
        probability = np.clip(1 / (1 + np.exp(-odds)), LOWEST_RATING / 100, HIGHEST_RATING / 100)
        likelihood = np.log(np.where(self.genuine, probability, 1 - probability)).sum()
        return float(-likelihood + 0.5 * np.square((values - self.start) / self.deviation).sum())

    def calibration(self, values: Values, version: str) -> Calibration:
        count = len(self.names)
        rounded = np.round(values, 2) + 0.0
        rows = {
            name: Bounds(float(rounded[index]), float(rounded[count + index]))
            for index, name in enumerate(self.names)
        }
        return dataclasses.replace(
            self.base, version=version, prior=float(rounded[-1]), rows=rows, fitted_on=""
        )


def dump(calibration: Calibration) -> str:
    """The calibration as the JSON that `likelihood.parse_calibration` reads, one row per line."""
    head = {
        "version": calibration.version,
        "about": "Bounds in log10 likelihood ratios: favour at a row's best score, against at its worst.",
        "fitted_on": calibration.fitted_on,
        "prior": calibration.prior,
        "scale": calibration.scale,
        "authentic_from": calibration.authentic_from,
        "counterfeit_below": calibration.counterfeit_below,
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    rows = {name: {"favour": b.favour, "against": b.against} for name, b in calibration.rows.items()}
    groups = {name: {"cap": cap, "rows": list(names)} for name, (cap, names) in calibration.groups.items()}
    for title, entries in (("rows", rows), ("groups", groups)):
        inner = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in entries.items())
        lines.append(f'  "{title}": {{\n{inner}\n  }}')
    return "{\n" + ",\n".join(lines) + "\n}\n"
