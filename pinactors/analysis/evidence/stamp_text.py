"""Evidence from the back's text: its wording, its consistency with the catalogue and within itself, and the
edition's number."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pinactors.analysis.evidence.likelihood import Measurement, box_of
from pinactors.analysis.model import CatalogPin, Points, PreparedView, StampReading, TextLine
from pinactors.analysis.stamp import grammar

SURE_READING = 0.85
"""Mean letter probability from which a misreading is so unlikely that an error counts against the stamp."""

UNREAD = "no stamped text could be read"
UNCLEAR = "no year, edition or factory code could be read clearly enough to compare"
"""Texts of a stamp that another photograph of the back might make readable."""


def wording(back: PreparedView, stamp: StampReading, pin: CatalogPin | None) -> Measurement:
    """`stamp_wording`: compares the words read with the words that such stamps use and the catalogue's brand.
    The value is the share of words that differ in one or two letters (Levenshtein distance), no unit.

    Misreadings of small, worn or badly lit letters and words of another language affect it as well. A single
    wrong letter in a word read with confidence is as often a misreading as an error of the stamp, so one
    misspelt word is weak evidence. A stamp in which most words are misspelt was cut by someone who could not
    read it.
    """
    name = "stamp_wording"
    right, wrong = words(stamp, pin)
    if len(right) + len(wrong) < 2:
        return Measurement(name, f"{UNREAD} clearly enough to judge its wording" if stamp.lines else UNREAD)
    share = len(wrong) / (len(right) + len(wrong))
    if not wrong:
        text = f"The stamped words are spelt correctly ({', '.join(dict.fromkeys(right))})."
        return Measurement(name, text, 1.0, box_of(back, _all_points(stamp.lines)))
    box = box_of(back, np.concatenate([line.quad for _, _, line in wrong]))
    pairs = ", ".join(f"{word} instead of {nearest}" for word, nearest, _ in wrong[:3])
    if share < 0.5:
        return Measurement(name, f"Read {pairs}: misread, or misspelt on the stamp.", -0.25 * share, box)
    return Measurement(name, f"Most stamped words are misspelt: {pairs}.", -min(1.0, 0.3 * len(wrong)), box)


def is_legible(stamp: StampReading) -> bool:
    """Whether a line of the stamp was read with confidence. Then the photograph shows a pin's back, sharply
    enough for its pattern."""
    return any(line.confidence >= SURE_READING for line in stamp.lines)


def words(stamp: StampReading, pin: CatalogPin | None) -> tuple[list[str], list[tuple[str, str, TextLine]]]:
    """The confidently read words that such stamps use, and those that differ in one or two letters, each with
    the correct word and its line."""
    lines = [line for line in stamp.lines if line.confidence >= SURE_READING and not _is_code(line)]
    known = set(grammar.LEXICON) | set(re.findall(r"[A-Z]+", (pin.brand or "").upper() if pin else ""))
    right: list[str] = []
    wrong: list[tuple[str, str, TextLine]] = []
    for line in lines:
        for word in grammar.words(line.text):
            if word in known:
                right.append(word)
            elif nearest := grammar.correct_spelling(word, known):
                wrong.append((word, nearest, line))
    return right, wrong


def consistency(back: PreparedView, stamp: StampReading, pin: CatalogPin | None) -> Measurement:
    """`stamp_consistency`: compares factory code, year and edition with the catalogue and with each other.

    Only values on which several readings agree count (`stamp.voting`). Digits that are often misread for each
    other do not make a contradiction.
    """
    name = "stamp_consistency"
    agree: list[str] = []
    differ: list[str] = []
    code, year = stamp.factory_code, stamp.year
    if code and year:
        made, _ = grammar.manufacture(code)
        # A © year is when the design was registered: the pin is made that year or within a few after.
        if -1 <= made - year <= 8:
            agree.append(f"the factory code's year {made} fits © {year}")
        elif contradicts(str(made), str(year)):
            differ.append(f"the factory code says {made}, but the stamp says {year}")
    unknown: list[str] = []
    numbers = {
        "factory code": (code, pin and pin.factory_code),
        "year": (year, pin and pin.year),
        "edition size": (stamp.edition_size, pin and pin.edition_size),
    }
    read_numbers = {label: (read, known) for label, (read, known) in numbers.items() if read}
    for label, (read, known) in read_numbers.items():
        if not known:
            unknown.append(label)
        elif str(read) == str(known):
            agree.append(f"the {label} {read} is the same as the catalogue's")
        elif contradicts(str(read), str(known)):
            differ.append(f"the {label} is {read}, but the catalogue's is {known}")
    if not agree and not differ:
        if unknown and len(unknown) == len(read_numbers):
            return Measurement(
                name,
                f"read ({', '.join(unknown)}), but there is nothing in the catalogue to compare it with",
            )
        return Measurement(name, UNCLEAR if stamp.lines else UNREAD)
    box = box_of(back, _all_points(stamp.lines))
    if differ:
        return Measurement(
            name, _sentence(differ), min(-0.2, -0.4 - 0.3 * len(differ) + 0.25 * len(agree)), box
        )
    return Measurement(name, _sentence(agree), min(1.0, 0.35 * len(agree)), box)


def contradicts(read: str, known: str) -> bool:
    """True if two numbers differ by more than misreadings explain: a digit that looks like the other one
    counts half."""
    if len(read) != len(known):
        return grammar.distance(read, known) > 1
    cost = sum(
        0.0 if a == b else 0.5 if any(a in group and b in group for group in LOOKALIKES) else 1.0
        for a, b in zip(read, known, strict=True)
    )
    return cost >= 2.0


LOOKALIKES = ("0689", "358", "17", "247", "49", "56")
"""Groups of digits that embossing and blur make look alike."""


def edition_number(back: PreparedView, stamp: StampReading) -> Measurement:
    """`edition_number`: a numbered edition must give the copy's number, and it must not exceed the size."""
    name = "edition_number"
    for line in stamp.lines:
        edition = grammar.edition(line.text)
        if (
            edition is None
            or line.confidence < SURE_READING
            or (edition.number is None and not edition.blank)
        ):
            continue
        box = box_of(back, line.quad)
        if edition.blank:
            return Measurement(name, f'The copy number is blank: only "/{edition.size}" is there.', -1.0, box)
        assert edition.number is not None
        if not 1 <= edition.number <= edition.size:
            return Measurement(
                name, f"Number {edition.number} is impossible in an edition of {edition.size}.", -1.0, box
            )
        return Measurement(name, f"Number {edition.number} of {edition.size} is possible.", 1.0, box)
    return Measurement(name, "no copy number was read: the pin has none, or it is not readable")


def _is_code(line: TextLine) -> bool:
    return sum(sign.isdigit() for sign in line.text) > len(line.text) / 2


def _all_points(lines: Sequence[TextLine]) -> Points:
    return np.concatenate([line.quad for line in lines]) if lines else np.zeros((0, 2), np.float32)


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."
