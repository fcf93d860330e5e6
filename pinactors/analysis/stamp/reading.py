"""Reads what is stamped into a pin's back: in any direction, embossed, low in contrast."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.model import Image, Points, PreparedView, StampReading, TextLine
from pinactors.analysis.stamp import grammar, ocr, voting
from pinactors.analysis.stamp.lines import (
    CODE_LETTERS,
    Line,
    Source,
    distinct,
    grown,
    joined,
    letter_height,
    place,
    thickness,
    upright,
)
from pinactors.analysis.stamp.voting import Agreed

V = TypeVar("V", bound=Hashable)

DETECTION_SIDE = 480
"""Longer side, in pixels, of the pin where text lines are looked for: letters a thirtieth of it have 16. A
pass over 576 costs a third more and finds no more lines."""

SECOND_SIDE = 640
"""The same for the second look, at the picture turned by 90 degrees, where the first found no good text:
lines that run up or down, small or faint letters."""

PROBED_LINES = 2
"""Lines read both ways at a time until it is known whether the text stands on its head."""

MOST_PROBES = 2
"""How often at most."""

LINE_CONFIDENCE = 0.55
"""Mean letter probability below which a line counts as not read."""

GOOD_LINE = 0.9
"""Mean letter probability from which a word that was read once is told as read."""

CLOSER, CLOSEST, WIDER = -0.3, -0.45, 0.2
"""Shares of a line's thickness that are added around it. A detector leaves about a quarter of the letters'
height above and below them, more where they are small: the reader sees them larger without."""

CLOSE, SLANT, WIDENED = -0.15, 0.15, 1.3
"""For further readings of a code: the share of a line's thickness added around it, its slant in columns a
row, and its stretching along the line."""

MOST_NUMBERS = 4
"""Lines read several times at most."""

SETTLED_AGREEMENT = 0.9
"""Agreement of readings from which a line is not looked at again: beyond what three readings of a wrong code
reached (0.81)."""


def read(back: PreparedView) -> StampReading:
    """Text, factory code, year, edition, brand and origin of the pin's back.

    Lines are looked for as the picture lies and, where that gives no good reading, larger and turned by 90
    degrees; each time both ways up are tried. Pieces of one code are joined, and lines with numbers, codes
    first, are read again in other contrast, sharpness and margins until the readings agree: a number counts
    as read only where they do. The work is bounded by counts, not by a clock: the same picture always reads
    the same.
    """
    if back.pin is None:
        return StampReading(reason=back.pin_problem or "no pin was found in the photograph of the back")
    source = Source.of(back)
    lines = _look(source, [], DETECTION_SIDE, quarter=False)
    if not _convincing(lines):
        lines = _look(source, lines, SECOND_SIDE, quarter=True)
    if not any(line.may_hold_code for line in lines):
        lines += _beside(source, lines)
    lines = joined(source, lines)
    _look_again(source, lines)
    return _interpret(source, lines, back.scale)


def read_code(
    back: PreparedView, quad: Points, *, turned: bool
) -> tuple[Agreed[str], TextLine] | tuple[None, None]:
    """The factory code that stands at a known place of the back, as far as its readings agree, with its line.

    `quad` are the line's corners in working pixels, `turned` whether it stands on its head there, as
    `ocr.straighten` takes them. What the code should be is not asked: it is read from the pixels alone.
    """
    source = Source.of(back)
    line = Line(source.from_working(quad), turned, expected=True)
    line.read(ocr.straighten(source.rgb, line.quad, turned=turned))
    _read_variants(source, line)
    code = line.code
    if code is None:
        return None, None
    return code, TextLine(code.value, round(line.best.confidence, 3), quad)


def _look(source: Source, known: list[Line], side: int, *, quarter: bool) -> list[Line]:
    """Finds text lines in the picture of that `side` (with `quarter` turned by 90 degrees) and reads the
    longest, upright or not: what stands on its head often reads as something, so the longest are read both
    ways. The result holds those of `known` that nothing better lies across."""
    sure = [line.quad for line in known if line.best.confidence >= GOOD_LINE]
    quads = [quad for quad in source.find(side, quarter=quarter) if not _covered(quad, sure)][
        : ocr.MOST_LINES
    ]
    forth: list[Line] = []
    back: list[Line] = []
    for start in range(0, PROBED_LINES * MOST_PROBES, PROBED_LINES):
        probe = quads[start : start + PROBED_LINES]
        forth += source.read(probe, turned=False)
        if _convincing(forth):
            break
        back += source.read(probe, turned=True)
        if _worth(back) > 1.2 * _worth(forth) or _worth(forth) > 2 * _worth(back):
            break
    on_its_head = _worth(back) > 1.2 * _worth(forth)
    lines = back if on_its_head else forth
    lines += source.read(quads[len(lines) :], turned=on_its_head)
    return distinct([*known, *lines]) if known else lines


def _covered(quad: Points, by: Sequence[Points]) -> bool:
    """Whether the middle of a quadrilateral lies in one of the others."""
    centre = tuple(float(value) for value in quad.mean(axis=0))
    return any(cv2.pointPolygonTest(other, centre, False) >= 0 for other in by)


def _worth(lines: Sequence[Line]) -> float:
    """Letters read, each counted by how far its line's confidence is above a guess."""
    return sum(
        len(line.best.text) * max(line.best.confidence - 0.4, 0.0)
        for line in lines
        if not _pattern(line.best.text)
    )


def _pattern(text: str) -> bool:
    """True for what a reader makes of a row of the pattern: the same few signs over and over."""
    return len(text) >= 6 and len(set(text.upper())) <= 3


def _convincing(lines: Sequence[Line]) -> bool:
    letters = sum(len(line.best.text) for line in lines if not _pattern(line.best.text))
    return letters >= 12 and _worth(lines) >= 0.46 * letters


def _beside(source: Source, lines: list[Line]) -> list[Line]:
    """The lines before and after those found, at their distance: a detector misses faint ones, and the code
    is usually the last."""
    block = sorted((line for line in lines if line.best.confidence >= LINE_CONFIDENCE), key=place)
    if len(block) < 2 or not _convincing(block):
        return []
    frames = [upright(line.quad) for line in block]
    origins = np.array([frame.mean(axis=0) for frame in frames])
    along = np.mean([frame[1] - frame[0] for frame in frames], axis=0)
    along /= max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]]) * (-1 if block[0].turned else 1)
    depths = np.sort(origins @ down)
    pitch = float(np.median(np.diff(depths)))
    half = max(float(np.linalg.norm(frame[1] - frame[0])) for frame in frames) / 2
    thick = float(np.median([thickness(line.quad) for line in block])) / 2
    if pitch < thick:
        return []
    middle = float(np.median(origins @ along))
    quads = []
    for depth in (depths[0] - pitch, depths[-1] + pitch):
        centre = middle * along + depth * down
        u, v = along * half, np.array([-along[1], along[0]]) * thick
        quads.append(
            np.stack([centre - u - v, centre + u - v, centre + u + v, centre - u + v]).astype(np.float32)
        )
    found = source.read(quads, turned=block[0].turned)
    return [line for line in found if line.best.confidence >= LINE_CONFIDENCE or line.may_hold_code]


def _look_again(source: Source, lines: list[Line]) -> None:
    """Reads lines with numbers, those like a code first, in other ways until their readings agree."""
    for index, line in enumerate(lines):
        lines[index] = _whole(source, line)
    chosen = sorted(filter(_may_hold_number, lines), key=_worth_of_number, reverse=True)[:MOST_NUMBERS]
    for line in chosen:
        _read_variants(source, line)


def _read_variants(source: Source, line: Line) -> None:
    """Reads the line in other ways until its readings agree."""
    for picture in _other_pictures(source, line):
        line.read(picture)
        if _agreed(line):
            return


def _whole(source: Source, line: Line) -> Line:
    """`line`, or where it begins like a code and ends too early (glare hides the rest from the detector), the
    line with the rest if that reads as more of it."""
    text = line.best.text
    if not grammar.begins_code(text) or not CODE_LETTERS / 2 <= len(text) < CODE_LETTERS - 1:
        return line
    missing = (CODE_LETTERS + 0.5) / len(text) - 1
    start, end = (missing, 0.0) if line.turned else (0.0, missing)
    longer = Line(grown(line.quad, across=0.0, start=start, end=end), line.turned)
    longer.read(ocr.straighten(source.rgb, longer.quad, turned=line.turned))
    return longer if len(longer.best.text) > len(text) else line


def _other_pictures(source: Source, line: Line) -> Iterator[Image]:
    """Ways to see a line besides as it is: closer, equalised, blurred, and with more around it; where a code
    is known to stand also slanted both ways, inverted, normalised and wider. Each way the reader slips on
    other digits."""
    closer = source.closer(line, across=CLOSER)
    yield closer
    yield source.closer(line, across=CLOSEST)
    grey = as_image(cv2.cvtColor(closer, cv2.COLOR_RGB2GRAY))
    yield as_image(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(1, 8)).apply(grey))
    yield _blurred(closer)
    yield source.closer(line, across=WIDER, along=0.25 if line.may_hold_code else 0.02)
    if line.expected and line.codes:  # where none of the above shows anything like a code more will not
        close = source.closer(line, across=CLOSE)
        yield _slanted(close, SLANT)
        yield _slanted(close, -SLANT)
        yield as_image(255 - close)
        yield _normalised(close)
        yield as_image(cv2.resize(close, None, fx=WIDENED, fy=1.0, interpolation=cv2.INTER_CUBIC))


def _slanted(picture: Image, slant: float) -> Image:
    """The picture sheared along its rows by `slant` columns a row, its middle kept in place."""
    height, width = picture.shape[:2]
    shear = np.array([[1, slant, -slant * height / 2], [0, 1, 0]], np.float32)
    border = cv2.BORDER_REPLICATE
    return as_image(cv2.warpAffine(picture, shear, (width, height), flags=cv2.INTER_CUBIC, borderMode=border))


def _normalised(picture: Image) -> Image:
    """Its lightness less the local mean, over the local standard deviation (windows half a line wide)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sigma = ocr.LINE_HEIGHT / 2
    mean = cv2.GaussianBlur(grey, (0, 0), sigma)
    deviation = np.sqrt(cv2.GaussianBlur((grey - mean) ** 2, (0, 0), sigma))
    return as_image(np.clip(128 + 50 * (grey - mean) / np.maximum(deviation, 4), 0, 255).astype(np.uint8))


def _blurred(picture: Image) -> Image:
    size = picture.shape[1] // 2, picture.shape[0] // 2
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return as_image(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _poor(lines: Sequence[Line]) -> bool:
    """True where known words came out misspelt."""
    return any(grammar.misspelt(line.best.text) for line in lines if line.best.confidence >= LINE_CONFIDENCE)


def _agreed(line: Line) -> bool:
    """True where the readings agree, and on a code if the line looks like one."""
    found = [value for value in (line.code, line.year, line.edition) if value is not None]
    sure = bool(found) and all(value.agreement >= SETTLED_AGREEMENT for value in found)
    return sure and (not line.may_hold_code or line.code is not None)


def _worth_of_number(line: Line) -> tuple[bool, int]:
    return line.may_hold_code, len(line.best.text)


def _may_hold_number(line: Line) -> bool:
    text = line.best.text
    return line.may_hold_code or (
        len(text) >= 3
        and line.best.confidence >= 0.3
        and (sum(sign.isdigit() for sign in text) >= 2 or text.startswith(("©", "(c)")))
        and not _pattern(text)
    )


def _interpret(source: Source, lines: Sequence[Line], scale: float) -> StampReading:
    ordered = sorted(lines, key=place)
    text = [
        line
        for line in ordered
        if line.best.confidence >= LINE_CONFIDENCE
        and len(line.best.text) >= 2
        and not _pattern(line.best.text)
    ]
    code, year = _strongest(line.code for line in ordered), _strongest(line.year for line in ordered)
    edition = _strongest(line.edition for line in ordered)
    brand = _strongest(line.brand for line in ordered)
    if not text and code is None:
        return StampReading(reason="no text could be read on the back")
    words = [line.best.text for line in text if line.best.confidence >= GOOD_LINE]
    poor = _poor(text)
    code, likely_code = _told(code, voting.CODE_READ, poor=poor)
    year, likely_year = _told(year, voting.READ_AGREEMENT, poor=poor)
    edition, likely_edition = _told(edition, voting.READ_AGREEMENT, poor=poor)
    brand, _ = _told(brand, voting.READ_AGREEMENT, poor=poor)
    likely = {
        "factory_code": likely_code.value if likely_code else None,
        "year": likely_year.value if likely_year else None,
        "edition_size": likely_edition.value.size if likely_edition else None,
    }
    return StampReading(
        lines=tuple(
            TextLine(
                code.value if code and line.code == code else line.best.text,
                round(line.best.confidence, 3),
                source.to_working(line.quad),
            )
            for line in text
        ),
        factory_code=code.value if code else None,
        factory_code_confidence=round(code.agreement, 3) if code else 0.0,
        year=year.value if year else None,
        edition_number=edition.value.number if edition else None,
        edition_size=edition.value.size if edition else None,
        brand=brand.value if brand and not poor else None,
        origin=next(filter(None, map(grammar.origin, words)), None),
        likely={field: value for field, value in likely.items() if value is not None},
        text_height=round(letter_height(text or ordered) / source.scale / scale, 1),
    )


def _strongest(values: Iterable[Agreed[V] | None]) -> Agreed[V] | None:
    return max(
        (value for value in values if value is not None), key=lambda value: value.agreement, default=None
    )


def _told(found: Agreed[V] | None, least: float, *, poor: bool) -> tuple[Agreed[V] | None, Agreed[V] | None]:
    """`found` as what counts as read, or else as what is likely."""
    if found is None or found.agreement >= least + (voting.MISSPELT_SURPLUS if poor else 0.0):
        return found, None
    return None, found
