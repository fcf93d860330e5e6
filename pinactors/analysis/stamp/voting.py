"""Several readings of one line are pooled, digit by digit; only what they agree on counts as read.

A reader that is wrong about embossed digits is often sure of it, but seldom twice the same way: seen with
other contrast, polarity, sharpness or margin, a digit that is not there becomes another one. Seldom are two
digits of a number misread in the same reading, so each place is judged by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pinactors.analysis.stamp import grammar
from pinactors.analysis.stamp.grammar import Edition
from pinactors.analysis.stamp.ocr import Reading

V = TypeVar("V", bound=Hashable)

READ_AGREEMENT = 0.75
"""Agreement from which a year or an edition counts as read: beyond what wrong ones reached on 558 drawn and
photographed backs (0.73), but for one in 300."""

CODE_READ = 0.65
"""The same of a code: 2 of 280 told are wrong (0.80 and 0.72), all others reached 0.6 at most."""

MISSPELT_SURPLUS = 0.05
"""What more it takes where known words of the stamp came out misspelt: on such a picture readings err
alike."""

LIKELY_AGREEMENT = 0.5
"""Agreement from which a value is worth holding against the catalogue."""

LEAST_VOTES = 2
"""Readings that must show the number, however sure one is."""

LEAST_FIT = 0.3
"""Mean sign probability below which the grammar was forced upon a line that holds no code."""


@dataclass(frozen=True, slots=True)
class Agreed(Generic[V]):
    """What the readings show together, with their agreement: 0 to 1, the pooled probability of the digit they
    are least sure of."""

    value: V
    agreement: float


@dataclass(frozen=True, slots=True)
class Sight:
    """A number as one reading shows it: `shape` is its text with # for each digit, `chances` (digits, 10) the
    probability of each digit at each place, `seen` (digits,) whether the reading tells anything of it."""

    shape: str
    chances: npt.NDArray[np.float64]
    seen: npt.NDArray[np.bool_]


def pooled(sights: Sequence[Sight]) -> Agreed[str] | None:
    """The number that `sights` show together: of the shape most of them have, at each place the digit of the
    highest mean probability (the linear opinion pool; Stone 1961) among those who saw it. A sight of another
    shape stands against every digit. None where fewer than `LEAST_VOTES` saw a digit or they hardly agree."""
    if not sights:
        return None
    shape, count = Counter(sight.shape for sight in sights).most_common(1)[0]
    alike = [sight for sight in sights if sight.shape == shape]
    seen = np.sum([sight.seen for sight in alike], axis=0)
    if not len(seen) or seen.min() < LEAST_VOTES:
        return None
    chances = np.sum([sight.chances * sight.seen[:, None] for sight in alike], axis=0)
    chances /= (seen + len(sights) - count)[:, None]
    agreement = float(chances.max(axis=1).min())
    if agreement < LIKELY_AGREEMENT:
        return None
    digits = iter(chances.argmax(axis=1))
    return Agreed("".join(str(next(digits)) if sign == "#" else sign for sign in shape), agreement)


def code_sight(reading: Reading) -> Sight | None:
    """The factory code in a reading, if it looks like one. The dearest of the sights: to be kept."""
    if not grammar.like_code(reading.text):
        return None
    fit = grammar.fit_code(reading.probabilities)
    if fit is None or fit.confidence < LEAST_FIT:
        return None
    return Sight(grammar.CODE, fit.chances, fit.seen(reading.steps))


def year(readings: Sequence[Reading]) -> Agreed[int] | None:
    found = pooled(_sights(readings, grammar.find_year))
    if found is None or not grammar.FIRST_YEAR <= int(found.value) <= grammar.LAST_YEAR:
        return None
    return Agreed(int(found.value), found.agreement)


def edition(readings: Sequence[Reading]) -> Agreed[Edition] | None:
    found = pooled(_sights(readings, grammar.find_edition))
    if found is None:
        return None
    number, slash, size = found.value.rpartition("/")
    if int(size) == 0:
        return None
    blank = bool(slash) and not number
    return Agreed(Edition(int(number) if number else None, int(size), blank), found.agreement)


def brand(readings: Iterable[Reading]) -> Agreed[str] | None:
    """The brand most readings show; its agreement is their confidence over the number of all that show one.

    No grammar holds its letters, and they are misread alike: what is told needs a good picture besides.
    """
    shown = [(name, each.confidence) for each in readings if (name := grammar.brand(each.text)) is not None]
    if not shown:
        return None
    name, count = Counter(name for name, _ in shown).most_common(1)[0]
    agreement = sum(confidence for other, confidence in shown if other == name) / len(shown)
    return Agreed(name, agreement) if count >= LEAST_VOTES and agreement >= LIKELY_AGREEMENT else None


def _sights(readings: Iterable[Reading], find: Callable[[str], tuple[object, slice] | None]) -> list[Sight]:
    """The digits that `find` points at in each reading."""
    sights = []
    for reading in readings:
        found = find(reading.text)
        if found is None:
            continue
        signs = [(sign, reading.steps[found[1]][at]) for at, sign in enumerate(reading.text[found[1]])]
        shape = "".join("/" if sign == "/" else "#" for sign, _ in signs if sign != " ")
        rows = reading.probabilities[[step for sign, step in signs if sign not in "/ "]]
        sights.append(Sight(shape, grammar.digit_chances(rows), np.ones(len(rows), np.bool_)))
    return sights
