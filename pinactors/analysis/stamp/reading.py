"""Reads what is stamped into a pin's back: in any direction, embossed, low in contrast."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.model import Image, Points, PreparedView, StampReading, TextLine
from pinactors.analysis.stamp import grammar, ocr, voting
from pinactors.analysis.stamp.grammar import Edition
from pinactors.analysis.stamp.ocr import Reading
from pinactors.analysis.stamp.voting import Agreed, Sight

V = TypeVar("V", bound=Hashable)

DETECTION_SIDE = 480
"""Longer side, in pixels, of the pin where text lines are looked for: letters a thirtieth of it have 16. A
pass over 576 costs a third more and finds no more lines."""

PROBED_LINES = 2
"""Lines read both ways at a time until it is settled whether the text stands on its head."""

PROBES = 2
"""How often at most."""

SOURCE_SIDE = 1200
"""Longer side of the pin in the picture lines are read from."""

LINE_CONFIDENCE = 0.55
"""Mean letter probability below which a line counts as not read."""

GOOD_LINE = 0.9
"""Mean letter probability from which a word that was read once is told as read."""

SQUAT = 4.5
"""Length over thickness under which a line is wider than a code's letters need."""

MOST_NUMBERS = 4
"""Lines read several times at most."""

SETTLED = 0.9
"""Agreement of readings from which a line is not looked at again: beyond what three readings of a wrong code
reached (0.81)."""

CODE_LETTERS = len(grammar.CODE)


@dataclass(slots=True)
class Line:
    """A text line under examination: its corners in source pixels, every reading of it so far, and the code
    as each shows it."""

    quad: Points
    turned: bool
    readings: list[Reading] = field(default_factory=list)
    codes: list[Sight] = field(default_factory=list)

    @property
    def best(self) -> Reading:
        return max(self.readings, key=lambda reading: reading.confidence)

    @property
    def code(self) -> Agreed[str] | None:
        return voting.pooled(self.codes)

    @property
    def year(self) -> Agreed[int] | None:
        return voting.year(self.readings)

    @property
    def edition(self) -> Agreed[Edition] | None:
        return voting.edition(self.readings)

    @property
    def brand(self) -> Agreed[str] | None:
        return voting.brand(self.readings)

    def read(self, picture: Image) -> None:
        """Reads it in one more picture."""
        reading = ocr.recognise(picture)
        self.readings.append(reading)
        sight = voting.code_sight(reading)
        if sight is not None:
            self.codes.append(sight)


@dataclass(frozen=True, slots=True)
class _Source:
    """The pin in grey, cut out of the working picture; `scale`, `left` and `top` lead back to its pixels."""

    grey: Image
    mask: Image
    scale: float
    left: int
    top: int

    def to_working(self, quad: Points) -> Points:
        return np.asarray(quad / self.scale + np.array([self.left, self.top]), np.float32)


def read(back: PreparedView) -> StampReading:
    """Text, factory code, year, edition, brand and origin of the pin's back.

    Lines are looked for as the picture lies and, where that gives no good reading, turned by 90 degrees; each
    time it is settled whether the text stands on its head. Lines with numbers are read again in other
    contrast, sharpness, polarity and margins until the readings agree, and a number counts as read only where
    they do. The work is bounded by counts, not by a clock: the same picture always reads the same.
    """
    if back.pin is None:
        return StampReading(reason=back.pin_problem or "no pin was found in the photograph of the back")
    source = _source(back.rgb, back.pin.mask)
    lines = _look(source, quarter=False)
    if not _convincing(lines):
        lines = _distinct([*lines, *_look(source, quarter=True)])
    if not any(_may_hold_code(line) for line in lines):
        lines += _beside(source, lines)
    _look_again(source, lines)
    return _interpret(source, lines, back.scale)


def _source(rgb: Image, mask: Image) -> _Source:
    height, width = mask.shape
    x, y, w, h = cv2.boundingRect(mask)
    margin = round(0.03 * max(w, h))
    left, top = max(x - margin, 0), max(y - margin, 0)
    right, bottom = min(x + w + margin, width), min(y + h + margin, height)
    grey = as_image(cv2.cvtColor(rgb[top:bottom, left:right], cv2.COLOR_RGB2GRAY))
    inside = mask[top:bottom, left:right]
    scale = min(1.0, SOURCE_SIDE / max(w, h))
    if scale < 1:
        grey = as_image(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        inside = as_image(cv2.resize(inside, grey.shape[::-1], interpolation=cv2.INTER_NEAREST))
    return _Source(np.asarray(grey, np.uint8), np.asarray(inside, np.uint8), scale, left, top)


def _look(source: _Source, *, quarter: bool) -> list[Line]:
    """Finds text lines (with `quarter` in the picture turned by 90 degrees) and reads the longest, upright or
    not: what stands on its head often reads as something, so the longest are read both ways."""
    quads = _find(source, quarter=quarter)
    upright: list[Line] = []
    turned: list[Line] = []
    for start in range(0, PROBED_LINES * PROBES, PROBED_LINES):
        probe = quads[start : start + PROBED_LINES]
        upright += _read(source.grey, probe, turned=False)
        if _convincing(upright):
            break
        turned += _read(source.grey, probe, turned=True)
        if _worth(turned) > 1.2 * _worth(upright) or _worth(upright) > 2 * _worth(turned):
            break
    on_its_head = _worth(turned) > 1.2 * _worth(upright)
    lines = turned if on_its_head else upright
    return lines + _read(source.grey, quads[len(lines) :], turned=on_its_head)


def _find(source: _Source, *, quarter: bool) -> list[Points]:
    """Quadrilaterals of text lines on the pin, in source pixels, the longest first."""
    scale = DETECTION_SIDE / max(source.grey.shape)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(source.grey, None, fx=scale, fy=scale, interpolation=way), np.uint8)
    found = ocr.detect(np.ascontiguousarray(np.rot90(picture)) if quarter else picture)
    quads = []
    for quad in found:
        if quarter:  # np.rot90 took (x, y) to (y, width - 1 - x)
            quad = np.stack([picture.shape[1] - 1 - quad[:, 1], quad[:, 0]], axis=1)
        quad = np.asarray(quad / scale, np.float32)
        x, y = quad.mean(axis=0).round().astype(int)
        inside = 0 <= y < source.mask.shape[0] and 0 <= x < source.mask.shape[1] and source.mask[y, x]
        if inside and _length(quad) >= 1.2 * _thickness(quad):
            quads.append(quad)
    return sorted(quads, key=_length, reverse=True)[: ocr.MOST_LINES]


def _read(grey: Image, quads: Sequence[Points], *, turned: bool) -> list[Line]:
    lines = [Line(quad, turned) for quad in quads]
    for line in lines:
        line.read(ocr.straighten(grey, line.quad, turned=turned))
    return lines


def _length(quad: Points) -> float:
    return float(max(np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[1])))


def _thickness(quad: Points) -> float:
    return float(min(np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[1])))


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


def _distinct(lines: Sequence[Line]) -> list[Line]:
    """Without lines that lie across a more confident one."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda line: len(line.best.text) * line.best.confidence, reverse=True):
        centre = tuple(float(value) for value in line.quad.mean(axis=0))
        if all(cv2.pointPolygonTest(other.quad, centre, False) < 0 for other in kept):
            kept.append(line)
    return kept


def _beside(source: _Source, lines: list[Line]) -> list[Line]:
    """The lines before and after those found, at their distance: a detector misses faint ones, and the code
    is usually the last."""
    block = sorted((line for line in lines if line.best.confidence >= LINE_CONFIDENCE), key=_place)
    if len(block) < 2 or not _convincing(block):
        return []
    frames = [_upright(line.quad) for line in block]
    origins = np.array([frame.mean(axis=0) for frame in frames])
    along = np.mean([frame[1] - frame[0] for frame in frames], axis=0)
    along /= max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]]) * (-1 if block[0].turned else 1)
    depths = np.sort(origins @ down)
    pitch = float(np.median(np.diff(depths)))
    half = max(float(np.linalg.norm(frame[1] - frame[0])) for frame in frames) / 2
    thick = float(np.median([_thickness(line.quad) for line in block])) / 2
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
    found = _read(source.grey, quads, turned=block[0].turned)
    return [line for line in found if line.best.confidence >= LINE_CONFIDENCE or _may_hold_code(line)]


def _upright(quad: Points) -> Points:
    """The corners so that the first two lie along the line, as `ocr.straighten` takes them."""
    width, height = np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[1])
    return np.roll(quad, 1, axis=0) if height > 1.5 * width else quad


def _look_again(source: _Source, lines: list[Line]) -> None:
    """Reads lines with numbers in other ways until their readings agree: contrast equalised, blurred, dark
    for bright, and with more around them."""
    for index, line in enumerate(lines):
        lines[index] = _whole(source, line)
    chosen = sorted(filter(_may_hold_number, lines), key=_worth_of_number, reverse=True)[:MOST_NUMBERS]
    for line in chosen:
        for picture in _other_pictures(source, line):
            line.read(picture)
            if _settled(line):
                break


def _whole(source: _Source, line: Line) -> Line:
    """`line`, or where it begins like a code and ends too early (glare hides the rest from the detector), the
    line with the rest if that reads as more of it."""
    text = line.best.text
    if not text.startswith("FAC") or not CODE_LETTERS / 2 <= len(text) < CODE_LETTERS - 1:
        return line
    missing = (CODE_LETTERS + 0.5) / len(text) - 1
    start, end = (missing, 0.0) if line.turned else (0.0, missing)
    longer = Line(_grown(line.quad, across=0.0, start=start, end=end), line.turned)
    longer.read(ocr.straighten(source.grey, longer.quad, turned=line.turned))
    return longer if len(longer.best.text) > len(text) else line


def _other_pictures(source: _Source, line: Line) -> Iterator[Image]:
    """Ways to see a line besides as it is, those that helped most often first."""
    squat = _is_squat(line)
    # More than the letters' height is in a squat line; they are small, and are enlarged.
    plain = ocr.straighten(source.grey, _grown(line.quad, across=-0.6 if squat else 0.0), turned=line.turned)
    if squat:  # equalising would bring out the compression's blocks
        equal = _blurred(ocr.straighten(source.grey, _grown(line.quad, across=-0.5), turned=line.turned))
    else:
        equal = as_image(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(1, 8)).apply(plain))
    yield equal
    yield _blurred(plain)
    yield as_image(255 - equal)
    along = 0.25 if _may_hold_code(line) else 0.02
    wider = (
        _grown(line.quad, across=-0.35) if squat else _grown(line.quad, across=0.2, start=along, end=along)
    )
    picture = ocr.straighten(source.grey, wider, turned=line.turned)
    yield _blurred(picture) if squat else picture


def _blurred(picture: Image) -> Image:
    height, width = picture.shape
    small = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return as_image(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _is_squat(line: Line) -> bool:
    """True for a line with a code that is too short for its thickness: more than the letters' height is in
    it."""
    return _may_hold_code(line) and _length(line.quad) < SQUAT * _thickness(line.quad)


def _poor(lines: Sequence[Line]) -> bool:
    """True where known words came out misspelt."""
    return any(grammar.misspelt(line.best.text) for line in lines if line.best.confidence >= LINE_CONFIDENCE)


def _settled(line: Line) -> bool:
    """True where the readings agree, and on a code if the line looks like one."""
    found = [value for value in (line.code, line.year, line.edition) if value is not None]
    sure = bool(found) and all(value.agreement >= SETTLED for value in found)
    return sure and (not _may_hold_code(line) or line.code is not None)


def _worth_of_number(line: Line) -> tuple[bool, int]:
    return _may_hold_code(line), len(line.best.text)


def _may_hold_number(line: Line) -> bool:
    text = line.best.text
    return _may_hold_code(line) or (
        len(text) >= 3
        and line.best.confidence >= 0.3
        and (sum(sign.isdigit() for sign in text) >= 2 or text.startswith(("©", "(c)")))
        and not _pattern(text)
    )


def _may_hold_code(line: Line) -> bool:
    text = line.best.text
    return text.startswith("FAC") or grammar.like_code(text)


def _grown(quad: Points, *, across: float, start: float = 0.0, end: float = 0.0) -> Points:
    """The quadrilateral with this share of its thickness more (or less) across, and these shares of its
    length more before and behind."""
    frame = _upright(quad)
    length, thickness = frame[1] - frame[0], frame[3] - frame[0]
    v = thickness * across / 2
    before, behind = -length * start, length * end
    return np.asarray(frame + np.stack([before - v, behind - v, behind + v, before + v]), np.float32)


def _interpret(source: _Source, lines: Sequence[Line], scale: float) -> StampReading:
    ordered = sorted(lines, key=_place)
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
    year, likely_year = _told(year, voting.READ, poor=poor)
    edition, likely_edition = _told(edition, voting.READ, poor=poor)
    brand, _ = _told(brand, voting.READ, poor=poor)
    likely = {
        "factory_code": likely_code.value if likely_code else None,
        "year": likely_year.value if likely_year else None,
        "edition_size": likely_edition.value.size if likely_edition else None,
    }
    return StampReading(
        lines=tuple(
            TextLine(line.best.text, round(line.best.confidence, 3), source.to_working(line.quad))
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
        text_height=round(_letter_height(text or ordered) / source.scale / scale, 1),
    )


def _strongest(values: Iterable[Agreed[V] | None]) -> Agreed[V] | None:
    return max(
        (value for value in values if value is not None), key=lambda value: value.agreement, default=None
    )


def _told(found: Agreed[V] | None, least: float, *, poor: bool) -> tuple[Agreed[V] | None, Agreed[V] | None]:
    """`found` as what counts as read, or else as what is likely."""
    if found is None or found.agreement >= least + (voting.POORER if poor else 0.0):
        return found, None
    return None, found


def _place(line: Line) -> tuple[bool, float]:
    """Reading order: lines that run alike together, then down the page as its reader holds it."""
    corners = line.quad
    along = (
        corners[1] - corners[0]
        if np.linalg.norm(corners[1] - corners[0]) > _thickness(line.quad)
        else (corners[2] - corners[1])
    )
    upright = abs(float(along[0])) >= abs(float(along[1]))
    position = float(corners[:, 1].mean() if upright else corners[:, 0].mean())
    return not upright, -position if line.turned else position


def _letter_height(lines: Sequence[Line]) -> float:
    """Median letter height in source pixels: the detector's quads reach about a quarter beyond the
    letters."""
    return 0.75 * float(np.median([_thickness(line.quad) for line in lines])) if lines else 0.0
