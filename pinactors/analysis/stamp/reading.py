"""Reads the text stamped into a pin's back: in any direction, embossed, with low contrast."""

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
    BackCrop,
    Line,
    aligned,
    distinct,
    grown,
    join_pieces,
    letter_height,
    lies_in,
    reading_order,
    thickness,
)
from pinactors.analysis.stamp.voting import Pooled

V = TypeVar("V", bound=Hashable)

DETECTION_SIDE = 480
"""Longer side of the pin, in pixels, in which text lines are detected: letters of a thirtieth of it have 16
pixels. A pass at 576 costs a third more and finds no more lines."""

SECOND_SIDE = 640
"""The same for a second pass over the picture rotated by 90 degrees, if the first found no good text: for
vertical lines and small or faint letters."""

PROBED_LINES = 2
"""Number of lines read both upright and upside down in each round that determines the text's direction."""

MAX_PROBES = 2
"""Largest number of such rounds."""

LINE_CONFIDENCE = 0.55
"""Mean letter probability below which a line counts as not read."""

GOOD_LINE_CONFIDENCE = 0.9
"""Mean letter probability from which a word counts as read after a single reading."""

TIGHT_MARGIN, TIGHTEST_MARGIN, WIDE_MARGIN = -0.3, -0.45, 0.2
"""Shares of a line's thickness that are added around it. The detector leaves about a quarter of the letters'
height above and below them, more for small letters; without that margin the letters are larger in the scaled
line."""

CODE_MARGIN, CODE_SLANT, CODE_STRETCH = -0.15, 0.15, 1.3
"""For further readings of a code: the share of a line's thickness added around it, its slant in columns per
row, and its stretching along the line."""

MAX_REREAD_LINES = 4
"""Largest number of lines that are read several times."""

SUFFICIENT_AGREEMENT = 0.9
"""Agreement of readings from which a line is not read again: above what three readings of a wrong code
reached (0.81)."""


def read(back: PreparedView) -> StampReading:
    """Text, factory code, year, edition, brand and origin of the pin's back.

    Lines are detected in the picture as it is and, if that gives no good reading, in a larger picture rotated
    by 90 degrees; both are also read upside down. Pieces of one code are joined. Lines with numbers, codes
    first, are read again with other contrast, sharpness and margins until the readings agree: a number counts
    as read only if they do. The work is bounded by counts, not by time, so that the same picture always gives
    the same reading.
    """
    if back.pin is None:
        return StampReading(reason=back.pin_problem or "no pin was found in the photograph of the back")
    source = BackCrop.of(back)
    lines = _detect_and_read(source, [], DETECTION_SIDE, rotated=False)
    if not _read_well(lines):
        lines = _detect_and_read(source, lines, SECOND_SIDE, rotated=True)
    if not any(line.may_hold_code for line in lines):
        lines += _neighbouring_lines(source, lines)
    lines = join_pieces(source, lines)
    _read_numbers_again(source, lines)
    return _interpret(source, lines, back.scale)


def read_code(
    back: PreparedView, quad: Points, *, upside_down: bool
) -> tuple[Pooled[str], TextLine] | tuple[None, None]:
    """The factory code at a known position of the back, with its line; (None, None) if its readings do not
    agree.

    `quad` are the line's corners in working pixels, `upside_down` is True if it is upside down there, both as
    in `ocr.straighten`. The code is read from the pixels alone, without an expected value.
    """
    source = BackCrop.of(back)
    line = Line(source.from_working(quad), upside_down, expected=True)
    line.read(ocr.straighten(source.rgb, line.quad, upside_down=upside_down))
    _read_variants(source, line)
    code = line.code
    if code is None:
        return None, None
    return code, TextLine(code.value, round(line.best.confidence, 3), quad)


def _detect_and_read(source: BackCrop, known: list[Line], side: int, *, rotated: bool) -> list[Line]:
    """Detects text lines in the picture of that `side` (rotated by 90 degrees if `rotated`) and reads the
    longest. Text that is upside down is often read as other text, so the first lines are read both ways to
    determine the direction. The result includes the lines of `known` that no better line overlaps."""
    sure = [line.quad for line in known if line.best.confidence >= GOOD_LINE_CONFIDENCE]
    detected = source.find_lines(side, rotated=rotated)
    quads = [quad for quad in detected if not any(lies_in(quad, other) for other in sure)][: ocr.MAX_LINES]
    as_seen: list[Line] = []
    inverted: list[Line] = []
    for start in range(0, PROBED_LINES * MAX_PROBES, PROBED_LINES):
        probe = quads[start : start + PROBED_LINES]
        as_seen += source.read(probe, upside_down=False)
        if _read_well(as_seen):
            break
        inverted += source.read(probe, upside_down=True)
        if _letters_read(inverted) > 1.2 * _letters_read(as_seen) or _letters_read(
            as_seen
        ) > 2 * _letters_read(inverted):
            break
    upside_down = _letters_read(inverted) > 1.2 * _letters_read(as_seen)
    lines = inverted if upside_down else as_seen
    lines += source.read(quads[len(lines) :], upside_down=upside_down)
    return distinct([*known, *lines]) if known else lines


def _letters_read(lines: Sequence[Line]) -> float:
    """The number of letters read, each weighted by its line's confidence above 0.4, that of a guess."""
    return sum(
        len(line.best.text) * max(line.best.confidence - 0.4, 0.0)
        for line in lines
        if not _is_pattern(line.best.text)
    )


def _is_pattern(text: str) -> bool:
    """True if a text of six signs or more has at most three different ones, as a misread row of a backing
    pattern has."""
    return len(text) >= 6 and len(set(text.upper())) <= 3


def _read_well(lines: Sequence[Line]) -> bool:
    letters = sum(len(line.best.text) for line in lines if not _is_pattern(line.best.text))
    return letters >= 12 and _letters_read(lines) >= 0.46 * letters


def _neighbouring_lines(source: BackCrop, lines: list[Line]) -> list[Line]:
    """The lines before and after the detected ones, at the same line distance: the detector misses faint
    lines, and the code is usually the last."""
    block = sorted((line for line in lines if line.best.confidence >= LINE_CONFIDENCE), key=reading_order)
    if len(block) < 2 or not _read_well(block):
        return []
    frames = [aligned(line.quad) for line in block]
    origins = np.array([frame.mean(axis=0) for frame in frames])
    along = np.mean([frame[1] - frame[0] for frame in frames], axis=0)
    along /= max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]]) * (-1 if block[0].upside_down else 1)
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
    found = source.read(quads, upside_down=block[0].upside_down)
    return [line for line in found if line.best.confidence >= LINE_CONFIDENCE or line.may_hold_code]


def _read_numbers_again(source: BackCrop, lines: list[Line]) -> None:
    """Reads the lines with numbers, possible codes first, in further variants until their readings agree."""
    for index, line in enumerate(lines):
        lines[index] = _complete_code(source, line)
    chosen = sorted(filter(_may_hold_number, lines), key=_number_priority, reverse=True)[:MAX_REREAD_LINES]
    for line in chosen:
        _read_variants(source, line)


def _read_variants(source: BackCrop, line: Line) -> None:
    """Reads further variants of the line's picture until the readings agree."""
    for picture in _variants(source, line):
        line.read(picture)
        if _readings_agree(line):
            return


def _complete_code(source: BackCrop, line: Line) -> Line:
    """`line`; or, if it begins like a code but is too short (glare hides the rest from the detector), the
    line extended to a code's length, if that reads as a longer text."""
    text = line.best.text
    if not grammar.begins_code(text) or not CODE_LETTERS / 2 <= len(text) < CODE_LETTERS - 1:
        return line
    missing = (CODE_LETTERS + 0.5) / len(text) - 1
    start, end = (missing, 0.0) if line.upside_down else (0.0, missing)
    longer = Line(grown(line.quad, across=0.0, start=start, end=end), line.upside_down)
    longer.read(ocr.straighten(source.rgb, longer.quad, upside_down=line.upside_down))
    return longer if len(longer.best.text) > len(text) else line


def _variants(source: BackCrop, line: Line) -> Iterator[Image]:
    """Variants of a line's picture: closer, equalised, blurred, and with a wider margin; if a code is known
    to be there also slanted both ways, inverted, normalised and stretched. The recogniser misreads other
    digits in each variant."""
    line_picture = source.line_picture(line, across=TIGHT_MARGIN)
    yield line_picture
    yield source.line_picture(line, across=TIGHTEST_MARGIN)
    grey = as_image(cv2.cvtColor(line_picture, cv2.COLOR_RGB2GRAY))
    yield as_image(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(1, 8)).apply(grey))
    yield _blurred(line_picture)
    yield source.line_picture(line, across=WIDE_MARGIN, along=0.25 if line.may_hold_code else 0.02)
    if line.expected and line.codes:  # if none of the variants above shows a code, more will not
        wider = source.line_picture(line, across=CODE_MARGIN)
        yield _slanted(wider, CODE_SLANT)
        yield _slanted(wider, -CODE_SLANT)
        yield as_image(255 - wider)
        yield _normalised(wider)
        yield as_image(cv2.resize(wider, None, fx=CODE_STRETCH, fy=1.0, interpolation=cv2.INTER_CUBIC))


def _slanted(picture: Image, slant: float) -> Image:
    """The picture sheared along its rows by `slant` columns per row around its middle."""
    height, width = picture.shape[:2]
    shear = np.array([[1, slant, -slant * height / 2], [0, 1, 0]], np.float32)
    border = cv2.BORDER_REPLICATE
    return as_image(cv2.warpAffine(picture, shear, (width, height), flags=cv2.INTER_CUBIC, borderMode=border))


def _normalised(picture: Image) -> Image:
    """The picture's lightness minus the local mean, over the local standard deviation (Gaussian windows with
    a sigma of half the line height)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sigma = ocr.LINE_HEIGHT / 2
    mean = cv2.GaussianBlur(grey, (0, 0), sigma)
    deviation = np.sqrt(cv2.GaussianBlur((grey - mean) ** 2, (0, 0), sigma))
    return as_image(np.clip(128 + 50 * (grey - mean) / np.maximum(deviation, 4), 0, 255).astype(np.uint8))


def _blurred(picture: Image) -> Image:
    size = picture.shape[1] // 2, picture.shape[0] // 2
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return as_image(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _misspelt(lines: Sequence[Line]) -> bool:
    """True if known words were misspelt in lines that count as read."""
    return any(grammar.misspelt(line.best.text) for line in lines if line.best.confidence >= LINE_CONFIDENCE)


def _readings_agree(line: Line) -> bool:
    """True if the readings agree on a value, and on a code if the line may hold one."""
    found = [value for value in (line.code, line.year, line.edition) if value is not None]
    sure = bool(found) and all(value.agreement >= SUFFICIENT_AGREEMENT for value in found)
    return sure and (not line.may_hold_code or line.code is not None)


def _number_priority(line: Line) -> tuple[bool, int]:
    return line.may_hold_code, len(line.best.text)


def _may_hold_number(line: Line) -> bool:
    text = line.best.text
    return line.may_hold_code or (
        len(text) >= 3
        and line.best.confidence >= 0.3
        and (sum(sign.isdigit() for sign in text) >= 2 or text.startswith(("©", "(c)")))
        and not _is_pattern(text)
    )


def _interpret(source: BackCrop, lines: Sequence[Line], scale: float) -> StampReading:
    ordered = sorted(lines, key=reading_order)
    text = [
        line
        for line in ordered
        if line.best.confidence >= LINE_CONFIDENCE
        and len(line.best.text) >= 2
        and not _is_pattern(line.best.text)
    ]
    code, year = _strongest(line.code for line in ordered), _strongest(line.year for line in ordered)
    edition = _strongest(line.edition for line in ordered)
    brand = _strongest(line.brand for line in ordered)
    if not text and code is None:
        return StampReading(reason="no text could be read on the back")
    words = [line.best.text for line in text if line.best.confidence >= GOOD_LINE_CONFIDENCE]
    poor = _misspelt(text)
    code, likely_code = _read_or_likely(code, voting.CODE_AGREEMENT, poor=poor)
    year, likely_year = _read_or_likely(year, voting.READ_AGREEMENT, poor=poor)
    edition, likely_edition = _read_or_likely(edition, voting.READ_AGREEMENT, poor=poor)
    brand, _ = _read_or_likely(brand, voting.READ_AGREEMENT, poor=poor)
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
        text_height=round(letter_height([line.quad for line in text or ordered]) / source.scale / scale, 1),
    )


def _strongest(values: Iterable[Pooled[V] | None]) -> Pooled[V] | None:
    return max(
        (value for value in values if value is not None), key=lambda value: value.agreement, default=None
    )


def _read_or_likely(
    found: Pooled[V] | None, least: float, *, poor: bool
) -> tuple[Pooled[V] | None, Pooled[V] | None]:
    """(`found`, None) if it counts as read, else (None, `found`): it is only likely."""
    if found is None or found.agreement >= least + (voting.MISSPELT_SURPLUS if poor else 0.0):
        return found, None
    return None, found
