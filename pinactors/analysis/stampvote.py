"""Several readings of one line vote on what it says; only what they agree on counts as read.

A reader that is wrong about embossed digits is often sure of it, but seldom twice the same way: seen with
other contrast, polarity, sharpness or margin, a digit that is not there becomes another one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from pinactors.analysis import stamptext
from pinactors.analysis.ocr import Reading
from pinactors.analysis.stamptext import Edition

V = TypeVar("V", bound=Hashable)

READ = 0.8
"""Agreement from which a value counts as read: three sure readings of one mind reach 0.86, four of five with
the fifth half sure of another 0.8."""

READ_POORLY = 0.88
"""The same where known words of the stamp came out misspelt: on such a picture readings err alike. Only sure
readings that agree to the last reach it."""

REPAIRED = 0.3
"""Most that a vote weighs in which a letter was taken for a digit."""

LIKELY = 0.5
"""Agreement from which a value is worth holding against the catalogue."""

VOTES = 2
"""Readings that must say the same, however sure one is."""

RESERVE = 0.5
"""What stands against every value from the start, in votes: few or unsure readings do not agree on much."""


@dataclass(frozen=True, slots=True)
class Agreed(Generic[V]):
    """The value most readings gave, with their agreement: 0 to 1, rising with votes and their sureness."""

    value: V
    agreement: float


def agreed(votes: Iterable[tuple[V, float]]) -> Agreed[V] | None:
    """Counts `votes`, each a value with the probability (0 to 1) of its weakest sign; None where fewer than
    `VOTES` are of one mind or they hardly agree."""
    totals: dict[V, float] = {}
    counts: dict[V, int] = {}
    for value, weight in votes:
        totals[value] = totals.get(value, 0.0) + weight
        counts[value] = counts.get(value, 0) + 1
    if not totals:
        return None
    best = max(totals, key=lambda value: totals[value])
    agreement = totals[best] / (sum(totals.values()) + RESERVE)
    return Agreed(best, agreement) if counts[best] >= VOTES and agreement >= LIKELY else None


def code(readings: Sequence[Reading]) -> Agreed[str] | None:
    """The factory code that the readings of one line support together."""
    votes = []
    for reading in readings:
        if len(reading.text) < 10 or sum(sign.isdigit() for sign in reading.text) < 5:
            continue
        fit = stamptext.fit_code(reading.probabilities)
        if fit is not None and fit.confidence >= LEAST_FIT:
            votes.append((fit.code, fit.weakest_digit))
    return agreed(votes)


LEAST_FIT = 0.3
"""Mean sign probability below which the grammar was forced upon a line that holds no code."""


def year(readings: Sequence[Reading]) -> Agreed[int] | None:
    return agreed(_votes(readings, stamptext.find_year))


def edition(readings: Sequence[Reading]) -> Agreed[Edition] | None:
    return agreed(_votes(readings, stamptext.find_edition))


def brand(readings: Sequence[Reading]) -> Agreed[str] | None:
    return agreed(
        (found, reading.confidence)
        for reading in readings
        if (found := stamptext.brand(reading.text)) is not None
    )


def _votes(
    readings: Iterable[Reading], find: Callable[[str], tuple[V, slice] | None]
) -> list[tuple[V, float]]:
    votes = []
    for reading in readings:
        found = find(reading.text)
        if found is not None:
            weight = float(np.min(reading.letters[found[1]], initial=1.0))
            repaired = any(sign.isalpha() for sign in reading.text[found[1]])
            votes.append((found[0], min(weight, REPAIRED) if repaired else weight))
    return votes
