"""Reads what is stamped into a pin's back: in any direction, embossed, low in contrast."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from pinactors.analysis import ocr, stamptext, stampvote
from pinactors.analysis.geometry import as_image
from pinactors.analysis.model import Image, Points, PreparedView, StampReading, TextLine
from pinactors.analysis.ocr import Reading
from pinactors.analysis.stamptext import Edition
from pinactors.analysis.stampvote import Agreed

V = TypeVar("V", bound=Hashable)

DETECTION_SIDE = 576
"""Longer side, in pixels, of the pin where text lines are looked for: letters a thirtieth of it stay near 20
pixels, and a pass costs about 100 ms."""

PROBED_LINES = 4
"""Lines by which it is settled whether the text stands on its head."""

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

SETTLED = 0.85
"""Agreement of readings from which a line is not looked at again."""


@dataclass(slots=True)
class Line:
    """A text line under examination: its corners in source pixels and every reading of it so far."""

    quad: Points
    readings: list[Reading]
    turned: bool

    @property
    def best(self) -> Reading:
        return max(self.readings, key=lambda reading: reading.confidence)


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
    not."""
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
    quads = sorted(quads, key=_length, reverse=True)[: ocr.MOST_LINES]
    lines = _read(source.grey, quads, turned=False)
    if quads and not _convincing(lines):
        # What stands on its head often reads as something: the best lines are looked at both ways.
        probe = sorted(lines, key=lambda line: _worth([line]), reverse=True)[:PROBED_LINES]
        other = _read(source.grey, [line.quad for line in probe], turned=True)
        if _worth(other) > 1.2 * _worth(probe):
            taken = {id(line.quad) for line in probe}
            lines = other + _read(source.grey, [quad for quad in quads if id(quad) not in taken], turned=True)
    return lines


def _read(grey: Image, quads: Sequence[Points], *, turned: bool) -> list[Line]:
    readings = ocr.recognise([ocr.straighten(grey, quad, turned=turned) for quad in quads])
    return [Line(quad, [reading], turned) for quad, reading in zip(quads, readings, strict=True)]


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


def _look_again(source: _Source, lines: Sequence[Line]) -> None:
    """Reads lines with numbers in other ways: contrast equalised and blurred, then, where that leaves doubts,
    dark for bright and with more around them."""
    chosen = sorted(filter(_may_hold_number, lines), key=lambda line: len(line.best.text), reverse=True)
    chosen = chosen[:MOST_NUMBERS]
    equalise = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(1, 8))
    plain = []
    for line in chosen:
        squat = _is_squat(line)
        plain.append(
            ocr.straighten(source.grey, _grown(line.quad, across=-0.6 if squat else 0.0), turned=line.turned)
        )
    equal = [
        # Small letters are enlarged: equalising would bring out the compression's blocks.
        _blurred(ocr.straighten(source.grey, _grown(line.quad, across=-0.5), turned=line.turned))
        if _is_squat(line)
        else as_image(equalise.apply(picture))
        for line, picture in zip(chosen, plain, strict=True)
    ]
    _add(chosen, [*equal, *map(_blurred, plain)])
    least = stampvote.READ_POORLY if _poor(lines) else SETTLED
    doubted = [index for index, line in enumerate(chosen) if not _settled(line, least)]
    wider = []
    for index in doubted:
        line = chosen[index]
        grown = _grown(line.quad, across=0.2, along=0.25 if _may_hold_code(line) else 0.02)
        if _is_squat(line):
            grown = _grown(line.quad, across=-0.35)
        picture = ocr.straighten(source.grey, grown, turned=line.turned)
        wider.append(_blurred(picture) if _is_squat(line) else picture)
    _add([chosen[index] for index in doubted], [*(as_image(255 - equal[index]) for index in doubted), *wider])


def _add(lines: Sequence[Line], pictures: list[Image]) -> None:
    """Reads `pictures`, one of each line, then the next of each line, and so on."""
    for index, reading in enumerate(ocr.recognise(pictures)):
        lines[index % len(lines)].readings.append(reading)


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
    return any(
        stamptext.misspelt(line.best.text) for line in lines if line.best.confidence >= LINE_CONFIDENCE
    )


def _settled(line: Line, least: float) -> bool:
    """True where the readings agree so far, and on a code if it looks like one."""
    code = stampvote.code(line.readings)
    others = [stampvote.year(line.readings), stampvote.edition(line.readings)]
    found = [value for value in (code, *others) if value is not None]
    sure = bool(found) and all(value.agreement >= least for value in found)
    return sure and (not _may_hold_code(line) or code is not None)


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
    return text.startswith("FAC") or (len(text) >= 10 and sum(sign.isdigit() for sign in text) >= 5)


def _grown(quad: Points, *, across: float, along: float = 0.0) -> Points:
    """The quadrilateral with this share of its thickness more (or less) across, and this share of its length
    more at either end."""
    frame = _upright(quad)
    length, thickness = frame[1] - frame[0], frame[3] - frame[0]
    u, v = length * along, thickness * across / 2
    return np.asarray(frame + np.stack([-u - v, u - v, u + v, v - u]), np.float32)


def _interpret(source: _Source, lines: Sequence[Line], scale: float) -> StampReading:
    ordered = sorted(lines, key=_place)
    text = [
        line
        for line in ordered
        if line.best.confidence >= LINE_CONFIDENCE
        and len(line.best.text) >= 2
        and not _pattern(line.best.text)
    ]
    code, year = _strongest(ordered, stampvote.code), _strongest(ordered, stampvote.year)
    edition, brand = _strongest(ordered, stampvote.edition), _strongest(ordered, stampvote.brand)
    if not text and code is None:
        return StampReading(reason="no text could be read on the back")
    words = [line.best.text for line in text if line.best.confidence >= GOOD_LINE]
    least = stampvote.READ_POORLY if _poor(text) else stampvote.READ
    return StampReading(
        lines=tuple(
            TextLine(line.best.text, round(line.best.confidence, 3), source.to_working(line.quad))
            for line in text
        ),
        factory_code=code.value if code and code.agreement >= least else None,
        factory_code_confidence=round(code.agreement, 3) if code and code.agreement >= least else 0.0,
        year=year.value if year and year.agreement >= least else None,
        edition_number=edition.value.number if edition and edition.agreement >= least else None,
        edition_size=edition.value.size if edition and edition.agreement >= least else None,
        brand=brand.value if brand and brand.agreement >= least else None,
        origin=next(filter(None, map(stamptext.origin, words)), None),
        likely=_likely(least, code, year, edition),
        text_height=round(_letter_height(text or ordered) / source.scale / scale, 1),
    )


def _strongest(
    lines: Sequence[Line], vote: Callable[[Sequence[Reading]], Agreed[V] | None]
) -> Agreed[V] | None:
    found = [value for line in lines if (value := vote(line.readings)) is not None]
    return max(found, key=lambda value: value.agreement, default=None)


def _likely(
    least: float, code: Agreed[str] | None, year: Agreed[int] | None, edition: Agreed[Edition] | None
) -> dict[str, str | int]:
    likely: dict[str, str | int] = {}
    if code and code.agreement < least:
        likely["factory_code"] = code.value
    if year and year.agreement < least:
        likely["year"] = year.value
    if edition and edition.agreement < least:
        likely["edition_size"] = edition.value.size
    return likely


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
