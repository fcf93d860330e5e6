"""Pools several readings of one line, digit by digit; only a number on which they agree counts as read.

A recogniser that misreads embossed digits often has a high confidence, but seldom makes the same error twice:
with another contrast, polarity, sharpness or margin, the misread digit becomes another one. Two digits of a
number are seldom misread in the same reading, so each place is judged separately.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from pinactors.analysis.model import Doubles, Flags
from pinactors.analysis.stamp import grammar
from pinactors.analysis.stamp.grammar import Edition
from pinactors.analysis.stamp.ocr import Reading

V = TypeVar("V", bound=Hashable)

READ_AGREEMENT = 0.75
"""Agreement from which a year or an edition counts as read. Wrong values on 558 drawn and photographed backs
reached at most 0.73, except for one in 300."""

CODE_AGREEMENT = 0.65
"""The same for a code: of 280 reported codes 2 are wrong (0.80 and 0.72); the other wrong ones reached at
most 0.6."""

MISSPELT_SURPLUS = 0.05
"""Additional agreement that is required if known words of the stamp were misspelt: on such a picture the
readings have the same errors."""

LIKELY_AGREEMENT = 0.5
"""Agreement from which a value may be compared with the catalogue."""

MIN_READINGS = 2
"""Least number of readings that must show the number, whatever their confidence."""

MIN_CODE_FIT = 0.3
"""Mean sign probability below which a line holds no code, although the grammar was fitted to it."""


@dataclass(frozen=True, slots=True)
class Pooled(Generic[V]):
    """The pooled value of several readings, with their agreement: 0 to 1, the pooled probability of the least
    certain digit."""

    value: V
    agreement: float


@dataclass(frozen=True, slots=True)
class NumberReading:
    """A number in one reading: `shape` is its text with # for each digit, `chances` (digits, 10) the
    probability of each digit at each place, `seen` (digits,) whether the reading shows the digit at that
    place."""

    shape: str
    chances: Doubles
    seen: Flags


def pool(number_readings: Sequence[NumberReading]) -> Pooled[str] | None:
    """The pooled number of `number_readings`. It has the most frequent shape, and at each place the digit
    with the highest mean probability (linear opinion pool; Stone 1961) among the readings that show the
    place. A reading of another shape counts against every digit. None if fewer than `MIN_READINGS` readings
    show a place, or the agreement is below `LIKELY_AGREEMENT`."""
    if not number_readings:
        return None
    shape, count = Counter(number_reading.shape for number_reading in number_readings).most_common(1)[0]
    alike = [number_reading for number_reading in number_readings if number_reading.shape == shape]
    seen = np.sum([number_reading.seen for number_reading in alike], axis=0)
    if not len(seen) or seen.min() < MIN_READINGS:
        return None
    chances = np.sum(
        [number_reading.chances * number_reading.seen[:, None] for number_reading in alike], axis=0
    )
    chances /= (seen + len(number_readings) - count)[:, None]
    agreement = float(chances.max(axis=1).min())
    if agreement < LIKELY_AGREEMENT:
        return None
    digits = iter(chances.argmax(axis=1))
    return Pooled("".join(str(next(digits)) if sign == "#" else sign for sign in shape), agreement)


def code_reading(reading: Reading) -> NumberReading | None:
    """The factory code in a reading; None if the reading does not look like a code. This is the most
    expensive kind of reading, so callers should keep it."""
    if not grammar.resembles_code(reading.text):
        return None
    fit = grammar.fit_code(reading.probabilities)
    if fit is None or fit.confidence < MIN_CODE_FIT:
        return None
    return NumberReading(grammar.CODE, fit.chances, fit.seen(reading.steps))


def year(readings: Sequence[Reading]) -> Pooled[int] | None:
    found = pool(_number_readings(readings, grammar.find_year))
    if found is None or not grammar.FIRST_YEAR <= int(found.value) <= grammar.LAST_YEAR:
        return None
    return Pooled(int(found.value), found.agreement)


def edition(readings: Sequence[Reading]) -> Pooled[Edition] | None:
    found = pool(_number_readings(readings, grammar.find_edition))
    if found is None:
        return None
    number, slash, size = found.value.rpartition("/")
    if int(size) == 0:
        return None
    blank = bool(slash) and not number
    return Pooled(Edition(int(number) if number else None, int(size), blank), found.agreement)


def brand(readings: Iterable[Reading]) -> Pooled[str] | None:
    """The brand that most readings show; its agreement is the sum of their confidence over the number of all
    readings that show a brand.

    No grammar restricts the letters of a brand, and readings misread them in the same way, so a brand should
    be reported only from a good picture.
    """
    shown = [(name, each.confidence) for each in readings if (name := grammar.brand(each.text)) is not None]
    if not shown:
        return None
    name, count = Counter(name for name, _ in shown).most_common(1)[0]
    agreement = sum(confidence for other, confidence in shown if other == name) / len(shown)
    return Pooled(name, agreement) if count >= MIN_READINGS and agreement >= LIKELY_AGREEMENT else None


def _number_readings(
    readings: Iterable[Reading], find: Callable[[str], tuple[object, slice] | None]
) -> list[NumberReading]:
    """The number that `find` locates in each reading."""
    number_readings = []
    for reading in readings:
        found = find(reading.text)
        if found is None:
            continue
        text = re.sub("of", " /", reading.text[found[1]], flags=re.IGNORECASE)  # "12 of 300" is 12/300
        signs = [(sign, reading.steps[found[1]][at]) for at, sign in enumerate(text)]
        shape = "".join("/" if sign == "/" else "#" for sign, _ in signs if sign != " ")
        rows = reading.probabilities[[step for sign, step in signs if sign not in "/ "]]
        number_readings.append(
            NumberReading(shape, grammar.digit_chances(rows), np.ones(len(rows), np.bool_))
        )
    return number_readings
