"""Parses stamped text: the grammar of factory codes, editions, years, brands and origins.

A factory code is `FAC-nnnnnn-YYDDD`: six digits for the factory, two for the year, three for the day of the
year. Codes whose last three digits are no day of a year occur and are accepted; they name no day.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pinactors.analysis.model import Doubles, Flags
from pinactors.analysis.stamp.ocr import ALPHABET, Probabilities

FIRST_YEAR, LAST_YEAR = 1950, 2069

_DIGIT_LIKE = str.maketrans("OoQDIlLiSsBZzGbTqgA", "0000111155822667994")
"""Letters as which a recogniser misreads digits. Applied only where the grammar requires a digit."""

LETTER_FOR_DIGIT = 0.5
"""Share of such a letter's probability that counts for its digit: never enough to count as read."""

CODE = "FAC-######-#####"

_PATTERN = tuple(CODE)
_CHOICES = np.array(
    [[1 + ALPHABET.index(digit if sign == "#" else sign) for digit in "0123456789"] for sign in _PATTERN]
)
_ALLOWED = np.array([[sign == "#" or digit == 0 for digit in range(10)] for sign in _PATTERN])
_IS_DIGIT = np.array([sign == "#" for sign in _PATTERN])
_AFTER_DIGIT = np.array([i > 0 and sign == "#" and _PATTERN[i - 1] == "#" for i, sign in enumerate(_PATTERN)])
_GROUPS = tuple((run.start() - 1, slice(*run.span())) for run in re.finditer("#+", CODE))
"""The runs of digits, each with the index of the sign before it."""
_NEVER = -1e9

_DIGITS = [1 + ALPHABET.index(digit) for digit in "0123456789"]
_LETTERS = [1 + ALPHABET.index(chr(letter)) for letter in _DIGIT_LIKE]
_LIKENESS = np.array(
    [[chr(digit) == sign for sign in "0123456789"] for digit in _DIGIT_LIKE.values()], np.float32
)


@dataclass(frozen=True, slots=True)
class Edition:
    """An edition "n/N" or "LE N". `number` is None if only the size is given; `blank` is True for a "/N"
    without its number."""

    number: int | None
    size: int
    blank: bool = False


def manufacture(code: str) -> tuple[int, int | None]:
    """Year and day of the year (None if there is no such day) in a factory code. Two-digit years from 70 on
    belong to the 1900s."""
    short, day = int(code[-5:-3]), int(code[-3:])
    return (1900 if short >= LAST_YEAR - 1999 else 2000) + short, day if 1 <= day <= 366 else None


@dataclass(frozen=True, slots=True)
class CodeFit:
    """A factory code fitted to a line: `confidence` is the geometric mean of its signs' probabilities,
    `digits` (16, 10) the log-probability of each digit at each place (where the code has no digit, that of
    its fixed sign in the first column and `_NEVER` in the others), `steps` (16,) the recogniser's step at
    which each sign is clearest."""

    code: str
    confidence: float
    digits: Doubles
    steps: npt.NDArray[np.intp]

    @property
    def chances(self) -> Doubles:
        """(11, 10): the probability of each digit, relative to the other digits, at each digit's place. A
        letter that the recogniser prefers (D to 0) does not lower it, because the grammar requires a
        digit."""
        chances = np.exp(self.digits[_IS_DIGIT])
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))

    def seen(self, signs: npt.NDArray[np.intp]) -> Flags:
        """(11,): for each digit, whether all digits of its group were seen. `signs` are the steps at which
        the recogniser shows a sign without the grammar. If a group has fewer signs than digits, it is unknown
        which digit is missing, because the fit spreads the signs over all places."""
        whole = np.zeros(len(_PATTERN), np.bool_)
        for before, group in _GROUPS:
            within = (signs > self.steps[before]) & (signs <= self.steps[group.stop - 1])
            whole[group] = int(within.sum()) >= group.stop - group.start
        return np.asarray(whole[_IS_DIGIT])


def resembles_code(text: str) -> bool:
    """True if a text is long enough and has enough digits to be most of a code."""
    return len(text) >= 10 and sum(sign.isdigit() for sign in text) >= 5


def begins_code(text: str) -> bool:
    """True if a text starts like a code, complete or not."""
    return text.startswith("FAC")


def broken_code(text: str) -> bool:
    """True if a text starts like a code but is none: letters in place of digits, or digits missing."""
    return begins_code(text) and re.fullmatch(CODE.replace("#", r"\d"), text) is None


def resembles_code_piece(text: str) -> bool:
    """True if a text has at least four digits and few letters, like a piece of a code."""
    digits = sum(sign.isdigit() for sign in text)
    return digits >= 4 and sum(sign.isalpha() for sign in text) <= digits / 3


def fit_code(probabilities: Probabilities) -> CodeFit | None:
    """The most likely factory code under the recogniser's probabilities; None if the line is too short.

    Viterbi search over the CTC lattice of the pattern `FAC-nnnnnn-nnnnn`. Only digits compete where the
    grammar has digits, so an O or B that the recogniser prefers there does not exclude the code. Text before
    and after the code has no cost.
    """
    rows = np.log(np.maximum(probabilities, 1e-7))
    steps, length = rows.shape[0], len(_PATTERN)
    if steps < length:
        return None
    emit = np.where(_ALLOWED, rows[:, _CHOICES], _NEVER)  # (steps, length, 10)
    free = rows.max(axis=1)
    blank = np.full(length + 1, _NEVER)  # before sign 0, between signs, after the last
    blank[0] = 0.0
    symbol = np.full((length, 10), _NEVER)
    blank_trail = np.zeros(
        (steps, length + 1), np.intp
    )  # 0: stayed blank, 1 + j: from choice j of the sign before
    symbol_trail = np.zeros(
        (steps, length, 10), np.intp
    )  # 0: repeated, 1: from blank, 2 + j: from choice j before
    places, choices, after_digit = np.arange(length), np.arange(10)[None, :], _AFTER_DIGIT[:, None]
    before = places - 1
    for step in range(steps):
        best_at = symbol.argmax(axis=1)
        best = symbol[places, best_at]
        others = symbol.copy()
        others[places, best_at] = _NEVER
        second_at = others.argmax(axis=1)
        # A sign may follow its neighbour without a blank in between unless both are the same digit.
        same = after_digit & (choices == best_at[before, None])
        reach = np.where(same, others[places, second_at][before, None], best[before, None])
        reach_at = np.where(same, second_at[before, None], best_at[before, None])
        reach[0] = _NEVER
        paths = np.stack([symbol, np.broadcast_to(blank[:-1, None], symbol.shape), reach])
        path = paths.argmax(axis=0)
        symbol_trail[step] = np.where(path == 2, 2 + reach_at, path)
        left = np.concatenate([[_NEVER], best])
        blank_trail[step] = np.where(blank >= left, 0, np.concatenate([[0], 1 + best_at]))
        cost = np.full(length + 1, rows[step, 0])
        cost[[0, length]] = free[step]
        blank = np.maximum(blank, left) + cost
        symbol = paths.max(axis=0) + emit[step]
    return _backtrack(emit, blank, symbol, blank_trail, symbol_trail)


def _backtrack(
    emit: Doubles,
    blank: Doubles,
    symbol: Doubles,
    blank_trail: npt.NDArray[np.intp],
    symbol_trail: npt.NDArray[np.intp],
) -> CodeFit | None:
    """Traces the best path back and takes each sign at the step where it is most probable."""
    length = symbol.shape[0]
    place, sign = (
        (length, -1) if blank[length] >= symbol[-1].max() else (length - 1, int(symbol[-1].argmax()))
    )
    taken: dict[int, tuple[float, int]] = {}
    for step in range(len(emit) - 1, -1, -1):
        if sign < 0:
            origin = int(blank_trail[step, place])
            if origin:
                place, sign = place - 1, origin - 1
            continue
        taken[place] = max(taken.get(place, (_NEVER, 0)), (float(emit[step, place, sign]), step))
        origin = int(symbol_trail[step, place, sign])
        if origin == 1:
            sign = -1
        elif origin >= 2:
            place, sign = place - 1, origin - 2
    if len(taken) < length:
        return None
    steps = np.array([taken[place][1] for place in range(length)])
    digits = emit[steps, np.arange(length)]
    letters = "".join(
        str(int(row.argmax())) if sign == "#" else sign for sign, row in zip(_PATTERN, digits, strict=True)
    )
    return CodeFit(letters, float(np.exp(digits.max(axis=1).mean())), digits, steps)


def digit_chances(rows: Probabilities) -> Doubles:
    """(n, 10) for `n` rows of a recogniser's probabilities: the probability of each digit plus
    `LETTER_FOR_DIGIT` of that of the letters as which it is misread."""
    return np.asarray(rows[:, _DIGITS] + LETTER_FOR_DIGIT * (rows[:, _LETTERS] @ _LIKENESS), np.float64)


def edition(text: str) -> Edition | None:
    """The edition in a text such as "LE 750", "LIMITED EDITION OF 750", "12/300", "LE 12 OF 300" or "/300"
    (number left blank); None if there is none."""
    found = find_edition(text)
    return found[0] if found else None


_DIGIT = "0-9OISBDQ"
_LIMITED = re.compile(
    rf"(?:(?<![A-Z])(?:L\.?E\.?|[LI]E)|EDITION\s*(?:OF|SIZE)?)\s*[:.]?\s*([{_DIGIT}]{{2,6}})\b"
    r"(?!\s*(?:/|OF)\s*\d)"  # that number is the copy's, not the size
)
_NUMBERED = re.compile(  # letters are misread digits only at the start of a word, together with a digit
    rf"(?P<copy>(?:(?<![\w/])|(?<=[LI]E))(?=[A-Z]*\d)[{_DIGIT}]{{1,6}}|(?<![\d/])\d{{1,6}}"
    r"|(?<![A-Z\d/])|(?<![A-Z][LI]E)(?<=[LI]E))\s*(?P<rest>/\s*(?P<size>\d{2,6}))(?![\d/])"
)
_NUMBERED_IN_WORDS = re.compile(  # only of an edition: "3 of 12" is also a pin of a series
    rf"(?:(?<![A-Z])(?:L\.?E|ED)|EDITION)[\s.:#]*(?P<copy>[{_DIGIT}]{{1,6}})"
    r"\s*(?P<rest>OF\s*(?P<size>\d{2,6}))(?!\d)"
)


def find_edition(text: str) -> tuple[Edition, slice] | None:
    """The edition in `text` as `edition` gives it, and the slice of `text` that holds its digits."""
    compact = text.upper()
    if limited := _LIMITED.search(compact):
        size = _digits(limited.group(1))
        if size:
            return Edition(None, size), slice(*limited.span(1))
    numbered = _NUMBERED_IN_WORDS.search(compact) or _NUMBERED.search(compact)
    if numbered is None or int(numbered["size"]) == 0:
        return None
    copy, size = numbered["copy"], int(numbered["size"])
    if not copy:
        return Edition(None, size, blank=True), slice(*numbered.span("rest"))
    number = _digits(copy)
    if number is None:
        return None
    if number > size and (certain := re.search(r"(?<=[A-Z])\d+$", copy)):
        number = int(certain.group())  # a letter must not make it impossible
    return Edition(number, size), slice(numbered.start("copy"), numbered.end("rest"))


def _digits(token: str) -> int | None:
    """The number in signs that are digits or misread for digits; None if none of them is a digit."""
    return int(token.translate(_DIGIT_LIKE)) if any(sign.isdigit() for sign in token) else None


def year(text: str) -> int | None:
    """A separate four-digit year in a text, None if there is none. Letters misread for its digits are
    corrected if at least two signs are digits and the year is plausible."""
    found = find_year(text)
    return found[0] if found else None


def find_year(text: str) -> tuple[int, slice] | None:
    """The year in `text` as `year` gives it, and the slice of `text` that holds it. The size of an edition of
    2000 is no year."""
    limited = find_edition(text)
    taken = limited[1] if limited else slice(0, 0)
    for found in re.finditer(r"(?<![0-9A-Za-z-])[12][0-9A-Za-z]{3}(?=LE|[^0-9A-Za-z-]|$)", text):
        token = found.group()
        digits = token.translate(_DIGIT_LIKE)
        if (
            digits.isdigit()
            and sum(c.isdigit() for c in token) >= 2
            and not taken.start <= found.start() < taken.stop
            and FIRST_YEAR <= int(digits) <= LAST_YEAR
        ):
            return int(digits), slice(*found.span())
    return None


def brand(text: str) -> str | None:
    """The words after ©, without the year; None if there are none. Recognisers often read © as (c), @, a
    digit or a letter. A leading © or (c) is enough. A leading @, 0, 3 or 6, or O, C, G or e followed by a
    space, counts only before capitals and if the text has a year; without the space the letter may belong to
    the name."""
    text = text.strip()
    marked = re.search(
        r"(?:(?:©|\([cC]\)|^[0@63])\s*|^[OCGe]\s+)([A-Z][A-Za-z&.' -]*[A-Za-z.])(?:\s*,?\s*[12]\d{3})?", text
    )
    if not marked:
        return None
    if not text.startswith(("©", "(c)", "(C)")) and year(text) is None:
        return None
    words = re.sub(r"\s+", " ", marked.group(1)).strip(" .-'")
    return words.upper() if len(words) >= 3 else None


def origin(text: str) -> str | None:
    """The country of a "MADE IN …" line."""
    found = re.search(r"MADE\s*IN\s*([A-Z][A-Z. ]{2,20})", text.upper())
    return found.group(1).strip(" .") if found else None


LEXICON = (
    "OFFICIAL", "PIN", "TRADING", "MADE", "IN", "CHINA", "TAIWAN", "KOREA", "LIMITED", "EDITION", "OF", "THE",
    "LICENSED", "PRODUCT", "ALL", "RIGHTS", "RESERVED", "COLLECTION", "COLLECTIBLE", "LE", "RELEASE", "AND",
    "AUTHENTIC", "ORIGINAL", "PARKS", "DISNEY", "PIXAR", "WORLD", "LAND", "BASED", "ON", "WORKS", "BY",
)  # fmt: skip
"""Words stamped on trading pins. A word that differs from one of these in one or two letters is a
misspelling."""


def words(text: str) -> list[str]:
    """The words of `text`, in capitals, that are long enough to check their spelling."""
    return re.findall(r"[A-Z]{4,}", text.upper())


def correct_spelling(word: str, known: Collection[str]) -> str | None:
    """The word of `known` that differs from `word` in one or two letters; None if `word` is in `known` or
    similar to none."""
    nearest = min(known, key=lambda entry: distance(word, entry))
    away = distance(word, nearest)
    return nearest if 0 < away <= 2 and len(word) >= 3 * away + 1 else None


def misspelt(text: str) -> bool:
    """True if a word of `text` differs in one or two letters from a word of `LEXICON`."""
    return any(correct_spelling(word, LEXICON) for word in words(text))


DISTANCES_KEPT = 1 << 14
"""Size of the cache of distances. It is bounded because a worker runs for weeks and each misread word is a
new entry."""


@functools.lru_cache(DISTANCES_KEPT)
def distance(first: str, second: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
