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

from pinactors.analysis.evidence.likelihood import (
    HIGHEST_RATING,
    LOWEST_RATING,
    Bounds,
    Calibration,
    Measurement,
    group_weight,
)
from pinactors.analysis.model import Doubles, Flags
from pinactors.evaluation.figures import Rated
from pinactors.evaluation.minimisation import Limits, minimised

MAX_LOG10 = 2.0
"""Log10 likelihood ratio that no single row may exceed, because any photograph can be misleading."""

FAVOUR_DEVIATION, AGAINST_DEVIATION, PRIOR_DEVIATION = 0.15, 1.0, 0.03
"""Standard deviations of the prior around the start. The first is small because marks in favour of a pin are
easily copied: a larger weight needs much evidence. The second was chosen together with `MAX_LOG10` and the
caps of groups: the Brier score of 250 photo sets of simulated pins, out of fold, went from 0.116 (0.6, 1.5,
and two thirds of the caps) to 0.107."""

FOLD_SEED = 20261128


@dataclass(frozen=True, slots=True)
class Observation:
    """The measurements on one pin's photographs, whether the pin is genuine, and which pin it is."""

    measurements: Sequence[Measurement]
    genuine: bool
    pin: str = ""


def fit(observations: Sequence[Observation], start: Calibration, version: str) -> Calibration:
    """The calibration with the best penalised log-likelihood of the observations, near `start`.

    The groups' caps count in it. Raises `ValueError` unless there are genuine pins and others.
    """
    genuine = np.array([observation.genuine for observation in observations])
    if not genuine.any() or genuine.all():
        raise ValueError("a calibration needs photographs of genuine pins and of others")
    problem = _Problem(observations, genuine, start)
    return problem.calibration(minimised(problem.cost, *problem.beginning, gradient=False), version)


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
    """The cost of a calibration, as a function of three groups of values: for each row its bound in favour as
    a share of the bound against, then the bounds against, then the prior. As shares they have limits that do
    not depend on each other."""

    def __init__(self, observations: Sequence[Observation], genuine: Flags, start: Calibration):
        self.base = start
        self.genuine = genuine
        self.names = list(start.rows)
        scores = np.zeros((len(observations), len(self.names)))
        for row, observation in enumerate(observations):
            for measured in observation.measurements:
                scores[row, self.names.index(measured.name)] = measured.score or 0.0
        self.favour, self.against = np.clip(scores, 0, 1), np.clip(-scores, 0, 1)
        self.start = np.array(
            [[b.favour for b in start.rows.values()], [b.against for b in start.rows.values()]]
        )
        grouped = [[self.names.index(name) for name in names] for _, names in start.groups.values()]
        self.caps = [(cap, members) for (cap, _), members in zip(start.groups.values(), grouped, strict=True)]
        count = len(self.names)
        self.free = [index for index in range(count) if all(index not in members for members in grouped)]

    @property
    def beginning(self) -> tuple[Doubles, list[Limits]]:
        """The values of the start, and the limits of each."""
        favour, against = self.start
        shares = np.minimum(favour / np.maximum(against, 1e-9), 1.0)
        count = len(self.names)
        limits: list[Limits] = [(0.0, 1.0)] * count + [(0.0, MAX_LOG10)] * count + [(None, None)]
        return np.array([*shares, *against, self.base.prior]), limits

    def bounds(self, values: Doubles) -> Doubles:
        """(2, rows): the bounds in favour and against."""
        shares, against = values[:-1].reshape(2, -1)
        return np.stack([shares * against, against])

    def cost(self, values: Doubles) -> float:
        """Negative log-likelihood plus half the squared standardised distance from the start."""
        bounds, prior = self.bounds(values), values[-1]
        weights = self.favour * bounds[0] - self.against * bounds[1]
        total = weights[:, self.free].sum(axis=1)
        for cap, members in self.caps:
            total += group_weight(weights[:, members], cap)
        odds = np.log(10) * (prior + total)
        probability = np.clip(1 / (1 + np.exp(-odds)), LOWEST_RATING / 100, HIGHEST_RATING / 100)
        likelihood = np.log(np.where(self.genuine, probability, 1 - probability)).sum()
        away = (bounds - self.start) / np.array([[FAVOUR_DEVIATION], [AGAINST_DEVIATION]])
        prior_away = (prior - self.base.prior) / PRIOR_DEVIATION
        return float(-likelihood + 0.5 * (np.square(away).sum() + prior_away**2))

    def calibration(self, values: Doubles, version: str) -> Calibration:
        rounded = np.round(self.bounds(values), 2) + 0.0
        rows = {
            name: Bounds(float(favour), float(against))
            for name, (favour, against) in zip(self.names, rounded.T, strict=True)
        }
        prior = round(float(values[-1]), 2) + 0.0
        return dataclasses.replace(self.base, version=version, prior=prior, rows=rows, fitted_on="")


def dump(calibration: Calibration) -> str:
    """The calibration as the JSON that `likelihood.parse_calibration` reads, one row per line."""
    head = {
        "version": calibration.version,
        "about": "Bounds in log10 likelihood ratios: favour at a row's best score, against at its worst.",
        "fitted_on": calibration.fitted_on,
        "prior": calibration.prior,
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
