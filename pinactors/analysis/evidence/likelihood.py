"""The evidence model: what a row is, how much each may weigh, and how rows become a probability.

Each module of rows (`stamp_text`, `waffle`, `colours`, …) returns `Measurement`s; only this module turns them
into log-likelihood ratios, the weights of the packet's evidence. The figures are in `weights.json`, a
versioned, readable file; `reasoned.json` holds figures that were chosen by reasoning before any photograph
was used, from which a fit starts.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from msgspec import UNSET

from pinactors.analysis.model import Doubles, Points, PreparedView, box_around
from pinactors.protocol import Box, Evidence

LOWEST_RATING, HIGHEST_RATING = 3, 97
"""Limits of the rating: no photograph is absolute proof, and clients show a 0 as "no rating"."""


FAVOUR_SHARE = 0.2
"""Share of a group's cap that its rows may weigh in favour: the absence of a fault proves little."""

SLIGHT_SCORE = -0.1
"""Score from which a row is not worded as a fault, because it counts too little against the pin."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measurement of one kind of evidence in the photographs. `score` is between -1 (as bad as possible)
    and 1 (as good as possible), 0 is no evidence; it is None if the row could not be assessed, and `text`
    then says why. `region` is where it was measured in a photograph, `reference` the same place in the
    catalogue picture."""

    name: str
    text: str
    score: float | None = None
    region: Box | None = None
    reference: Box | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest weights of a row, in log10 likelihood ratios, both >= 0: `favour` at a score of 1,
    `against` at -1."""

    favour: float
    against: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The figures of the evidence model; `fitted_on` names the photographs they were fitted to. `prior` is
    the log10 odds before any evidence."""

    version: str
    prior: float
    rows: dict[str, Bounds]
    groups: dict[str, tuple[float, tuple[str, ...]]]
    authentic_from: float
    counterfeit_below: float
    fitted_on: str = ""

    def weigh(self, measurements: Iterable[Measurement]) -> list[Evidence]:
        """The rows of the packet, heaviest first, rows that could not be assessed last."""
        rows = [self._weigh(measurement) for measurement in measurements]
        return sorted(rows, key=lambda row: (not row.assessed, -abs(row.weight)))

    def _weigh(self, measurement: Measurement) -> Evidence:
        row = Evidence(
            measurement.name,
            measurement.text,
            0.0,
            assessed=measurement.score is not None,
            region=UNSET if measurement.region is None else measurement.region,
            reference=UNSET if measurement.reference is None else measurement.reference,
        )
        if measurement.score is not None:
            bounds = self.rows[measurement.name]
            score = min(max(measurement.score, -1.0), 1.0)
            row.weight = round(score * (bounds.favour if score > 0 else bounds.against), 3) + 0.0
        return row

    def total(self, rows: Sequence[Evidence]) -> float:
        """Sum of the weights. Groups of rows that measure the same thing are `group_weight` under the group's
        cap."""
        weights = {row.name: row.weight for row in rows}
        total = 0.0
        for cap, names in self.groups.values():
            total += float(group_weight(np.array([[weights.pop(name, 0.0) for name in names]]), cap)[0])
        return total + sum(weights.values())

    def probability(self, rows: Sequence[Evidence]) -> float:
        """Probability that the pin is genuine, 0 to 1."""
        log_odds = math.log(10) * (self.prior + self.total(rows))
        return 1 / (1 + math.exp(-min(max(log_odds, -30.0), 30.0)))

    def assessed_share(self, rows: Sequence[Evidence]) -> float:
        """Share of the weight that could be assessed, 0 to 1."""
        weights = {name: bounds.favour + bounds.against for name, bounds in self.rows.items()}
        assessed = sum(weights[row.name] for row in rows if row.assessed)
        return assessed / sum(weights.values())


def group_weight(weights: Doubles, cap: float) -> Doubles:
    """The joint weight of a group's rows (columns) for each pin (rows), at least -`cap`.

    Weights in favour add up to at most `FAVOUR_SHARE` of the cap: the rows measure the same thing, and a
    fault in one of them counts however well the others were copied.
    """
    favour = np.minimum(np.maximum(weights, 0).sum(axis=1), FAVOUR_SHARE * cap)
    return np.asarray(np.maximum(favour + np.minimum(weights, 0).sum(axis=1), -cap))


def scaled_by_quality(measurement: Measurement, quality: float) -> Measurement:
    """The measurement with its score multiplied by the photograph's quality (`Quality.score`, 0 to 1),
    because a blurred, small or badly lit photograph is weak evidence either way."""
    if measurement.score is None:
        return measurement
    return dataclasses.replace(measurement, score=measurement.score * quality)


def rating(probability: float) -> int:
    """The probability as the clients' rating, from `LOWEST_RATING` to `HIGHEST_RATING`."""
    return min(max(round(100 * probability), LOWEST_RATING), HIGHEST_RATING)


@functools.cache
def calibration(text: str = "") -> Calibration:
    """The calibration in `text`, or the shipped one if `text` is empty."""
    return parse_calibration(text or _shipped("weights.json"))


def reasoned() -> Calibration:
    """The calibration chosen by reasoning, without photographs."""
    return parse_calibration(_shipped("reasoned.json"))


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def parse_calibration(text: str) -> Calibration:
    """A calibration from its JSON.

    Raises `ValueError` if the JSON is no calibration, a bound is negative or a group names an unknown row.
    """
    try:
        return _parsed(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a calibration: {error!r}") from error


def _parsed(data: dict[str, Any]) -> Calibration:
    rows = {name: Bounds(**bounds) for name, bounds in data["rows"].items()}
    groups = {name: (float(group["cap"]), tuple(group["rows"])) for name, group in data["groups"].items()}
    if any(bounds.favour < 0 or bounds.against < 0 for bounds in rows.values()):
        raise ValueError("a row's bounds must not be negative")
    unknown = {name for _, names in groups.values() for name in names} - rows.keys()
    if unknown:
        raise ValueError(f"groups name unknown rows: {sorted(unknown)}")
    if data.get("scale", 1) != 1:  # files of the first release have it, always 1
        raise ValueError("scale is not used any more: multiply the bounds and the caps by it")
    return Calibration(
        version=data["version"],
        prior=float(data["prior"]),
        rows=rows,
        groups=groups,
        authentic_from=float(data["authentic_from"]),
        counterfeit_below=float(data["counterfeit_below"]),
        fitted_on=str(data.get("fitted_on", "")),
    )


def ramp(value: float, bad: float, neutral: float, good: float) -> float:
    """A piecewise linear score: -1 at `bad`, 0 at `neutral`, 1 at `good`, clipped to -1 and 1. `bad` may be
    less or greater than `good`."""
    places, scores = zip(*sorted([(bad, -1.0), (neutral, 0.0), (good, 1.0)]), strict=True)
    return float(np.interp(value, np.array(places), np.array(scores)))


def box_of(view: PreparedView, points: Points) -> Box | None:
    """The box in the photograph around `points` (n, 2; working pixels); None if it is outside or there are no
    points."""
    height, width = view.rgb.shape[:2]
    return box_around(view.view, points / np.array([width, height]))
