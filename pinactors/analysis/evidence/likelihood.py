"""The evidence model: what a row is, how much each may weigh, and how rows become a probability.

A family of rows (`stamp_text`, `waffle`, `colours`, …) hands back `Measurement`s; nothing but this module
turns them into log-likelihood ratios, the weights of the packet's evidence. The figures live in
`weights.json`, a versioned file a person can read; `reasoned.json` holds those that were reasoned before any
photograph was looked at, from which a fit starts.
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
import numpy.typing as npt
from msgspec import UNSET

from pinactors.analysis.model import Points, PreparedView
from pinactors.protocol import Box, Evidence

LOWEST_RATING, HIGHEST_RATING = 3, 97
"""No photograph proves anything absolutely, and clients show a 0 as "no rating"."""


FAVOUR_SHARE = 0.2
"""Share of a group's cap that its rows may weigh in favour: lacking a fault proves little."""

SLIGHT_SCORE = -0.1
"""A score above which a row that speaks against a pin speaks too softly to be worded as a fault."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one kind of evidence looks like in these photographs. `score` runs from -1 (as bad as it can look)
    over 0 (says nothing) to 1 (as good as it can look); None when it could not be assessed, and `text` then
    says why. `region` is where it was seen in a photograph, `reference` the same place of the catalogue
    picture."""

    name: str
    text: str
    score: float | None = None
    region: Box | None = None
    reference: Box | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a row may weigh at most, in log10 likelihood ratios: `favour` at a score of 1, `against` at -1 (>=
    0)."""

    favour: float
    against: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything that was fitted, and `fitted_on` what. `prior` is the log10 odds before any evidence,
    `scale` stretches the sum."""

    version: str
    prior: float
    scale: float
    rows: dict[str, Bounds]
    groups: dict[str, tuple[float, tuple[str, ...]]]
    authentic_from: float
    counterfeit_below: float
    fitted_on: str = ""

    def weigh(self, measurements: Iterable[Measurement]) -> list[Evidence]:
        """The rows of the packet, heaviest first, those that could not be assessed last."""
        rows = [self._weigh(measurement) for measurement in measurements]
        return sorted(rows, key=lambda row: (not row.assessed, -abs(row.weight)))

    def _weigh(self, measured: Measurement) -> Evidence:
        row = Evidence(
            measured.name,
            measured.text,
            0.0,
            assessed=measured.score is not None,
            region=UNSET if measured.region is None else measured.region,
            reference=UNSET if measured.reference is None else measured.reference,
        )
        if measured.score is not None:
            bounds = self.rows[measured.name]
            score = min(max(measured.score, -1.0), 1.0)
            row.weight = round(score * (bounds.favour if score > 0 else bounds.against), 3) + 0.0
        return row

    def total(self, rows: Sequence[Evidence]) -> float:
        """Sum of the weights, with groups of rows that see the same thing `joined` under the group's cap."""
        weights = {row.name: row.weight for row in rows}
        total = 0.0
        for cap, names in self.groups.values():
            total += float(joined(np.array([[weights.pop(name, 0.0) for name in names]]), cap)[0])
        return total + sum(weights.values())

    def probability(self, rows: Sequence[Evidence]) -> float:
        """Probability that the pin is genuine, 0 to 1."""
        log_odds = math.log(10) * (self.prior + self.scale * self.total(rows))
        return 1 / (1 + math.exp(-min(max(log_odds, -30.0), 30.0)))

    def assessed_share(self, rows: Sequence[Evidence]) -> float:
        """Share of the weight that could be assessed, 0 to 1."""
        worth = {name: bounds.favour + bounds.against for name, bounds in self.rows.items()}
        assessed = sum(worth[row.name] for row in rows if row.assessed)
        return assessed / sum(worth.values())


def joined(weights: npt.NDArray[np.float64], cap: float) -> npt.NDArray[np.float64]:
    """What the rows of a group (columns) weigh together, for each pin (rows), from -`cap` upwards.

    Rows in favour add up to `FAVOUR_SHARE` of the cap at most: they see the same thing, and a fault in one
    respect stands whatever else was copied well.
    """
    favour = np.minimum(np.maximum(weights, 0).sum(axis=1), FAVOUR_SHARE * cap)
    return np.asarray(np.maximum(favour + np.minimum(weights, 0).sum(axis=1), -cap))


def through(measured: Measurement, quality: float) -> Measurement:
    """The measurement as a photograph of this quality (`Quality.score`, 0 to 1) allows it: in proportion,
    since a blurred, small or badly lit one says little either way."""
    if measured.score is None:
        return measured
    return dataclasses.replace(measured, score=measured.score * quality)


def rating(probability: float) -> int:
    """The probability as the clients' rating, kept clear of both ends."""
    return min(max(round(100 * probability), LOWEST_RATING), HIGHEST_RATING)


@functools.cache
def calibration(text: str = "") -> Calibration:
    """The calibration in `text`, or the one this version ships with."""
    return parse_calibration(text or _shipped("weights.json"))


def reasoned() -> Calibration:
    """The calibration that no photograph had a part in."""
    return parse_calibration(_shipped("reasoned.json"))


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def parse_calibration(text: str) -> Calibration:
    """A calibration from its JSON.

    Raises `ValueError` for other JSON, a negative bound, and a group that names an unknown row.
    """
    try:
        return _parsed(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no calibration: {error!r}") from error


def _parsed(data: dict[str, Any]) -> Calibration:
    rows = {name: Bounds(**bounds) for name, bounds in data["rows"].items()}
    groups = {name: (float(group["cap"]), tuple(group["rows"])) for name, group in data["groups"].items()}
    if any(bounds.favour < 0 or bounds.against < 0 for bounds in rows.values()):
        raise ValueError("a row's bounds must not be negative")
    unknown = {name for _, names in groups.values() for name in names} - rows.keys()
    if unknown:
        raise ValueError(f"groups name unknown rows: {sorted(unknown)}")
    return Calibration(
        version=data["version"],
        prior=float(data["prior"]),
        scale=float(data["scale"]),
        rows=rows,
        groups=groups,
        authentic_from=float(data["authentic_from"]),
        counterfeit_below=float(data["counterfeit_below"]),
        fitted_on=str(data.get("fitted_on", "")),
    )


def ramp(value: float, bad: float, neutral: float, good: float) -> float:
    """A score by straight lines: -1 at `bad`, 0 at `neutral`, 1 at `good`, and no further. Works in either
    direction."""
    places, scores = zip(*sorted([(bad, -1.0), (neutral, 0.0), (good, 1.0)]), strict=True)
    return float(np.interp(value, np.array(places), np.array(scores)))


def box_of(view: PreparedView, points: Points) -> Box | None:
    """The region of the photograph around `points` (n, 2), in working pixels; None when nothing of it is
    inside."""
    height, width = view.rgb.shape[:2]
    if len(points) == 0:
        return None
    x0, y0 = np.clip(points.min(axis=0) / [width, height], 0, 1).tolist()
    x1, y1 = np.clip(points.max(axis=0) / [width, height], 0, 1).tolist()
    if x1 <= x0 or y1 <= y0:
        return None
    return Box(view.view, round(x0, 4), round(y0, 4), round(x1 - x0, 4), round(y1 - y0, 4))
