"""Reads what is stamped into a pin's back: in any direction, embossed, low in contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pinactors.analysis import ocr, stamptext
from pinactors.analysis.geometry import as_image
from pinactors.analysis.model import Image, Points, PreparedView, StampReading, TextLine
from pinactors.analysis.ocr import Reading

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
"""Mean letter probability from which a line is not looked at again."""

SURE_LINE = 0.985
"""Mean letter probability from which even a line with a code is not looked at again."""

SQUAT = 4.5
"""Length over thickness under which a line is wider than a code's letters need."""

MOST_WEAK = 3
"""Lines read again at most, three times each."""

CODE_CONFIDENCE = 0.4
"""Mean sign probability below which a code that only the grammar found counts as not read."""


@dataclass(slots=True)
class Line:
    """A text line under examination: its corners in source pixels and every reading of it so far."""

    quad: Points
    readings: list[Reading]
    turned: bool

    @property
    def best(self) -> Reading:
        return max(self.readings, key=lambda reading: reading.confidence)

    @property
    def code(self) -> tuple[str, float] | None:
        return factory_code(self.readings)


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
    time it is settled whether the text stands on its head. Weak lines are read again with equalised contrast
    and in the other polarity. The work is bounded by counts, not by a clock: the same picture always reads
    the same.
    """
    if back.pin is None:
        return StampReading(reason=back.pin_problem or "no pin was found in the photograph of the back")
    source = _source(back.rgb, back.pin.mask)
    lines = _look(source, quarter=False)
    if not _convincing(lines):
        lines = _distinct([*lines, *_look(source, quarter=True)])
    if all(line.code is None for line in lines):
        lines += _beside(source, lines)
    _second_look(source, lines)
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
    return [line for line in found if line.best.confidence >= LINE_CONFIDENCE or line.code is not None]


def _upright(quad: Points) -> Points:
    """The corners so that the first two lie along the line, as `ocr.straighten` takes them."""
    width, height = np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[1])
    return np.roll(quad, 1, axis=0) if height > 1.5 * width else quad


def _second_look(source: _Source, lines: list[Line]) -> None:
    """Reads weak lines again, and those that may hold the code: contrast equalised, dark for bright, with
    more around them."""
    weak = [
        line
        for line in lines
        if len(line.best.text) >= 4
        and (
            0.3 <= line.best.confidence < GOOD_LINE
            or (_may_hold_code(line) and line.best.confidence < SURE_LINE)
        )
    ]
    weak = sorted(weak, key=lambda line: (_may_hold_code(line), len(line.best.text)), reverse=True)[
        :MOST_WEAK
    ]
    equalise = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(1, 8))
    pictures = []
    for line in weak:
        shares = (0.0, 0.2)
        if _length(line.quad) < SQUAT * _thickness(line.quad):  # more than the letters' height is in it
            shares = (-0.35, -0.6)
        first, second = (
            ocr.straighten(source.grey, _thickened(line.quad, share), turned=line.turned) for share in shares
        )
        equal = as_image(equalise.apply(first))
        pictures += [equal, as_image(255 - equal), second]
    readings = ocr.recognise(pictures)
    for index, line in enumerate(weak):
        line.readings += readings[3 * index : 3 * index + 3]


def _may_hold_code(line: Line) -> bool:
    text = line.best.text
    return text.startswith("FAC") or (len(text) >= 10 and sum(sign.isdigit() for sign in text) >= 5)


def _thickened(quad: Points, share: float) -> Points:
    """The quadrilateral with this share of its thickness more (or less) across, and half as much along."""
    frame = _upright(quad)
    along, down = frame[1] - frame[0], frame[3] - frame[0]
    reach = share * _thickness(quad) / 2
    down = down / max(float(np.linalg.norm(down)), 1e-6) * reach
    along = along / max(float(np.linalg.norm(along)), 1e-6) * max(reach, 0.0)
    return np.asarray(frame + np.stack([-along - down, along - down, along + down, down - along]), np.float32)


def factory_code(readings: Sequence[Reading]) -> tuple[str, float] | None:
    """The code that the readings of one line support together, with its confidence; None where none is there.

    The readings' probabilities are averaged place by place, so two that are unsure about different signs help
    each other.
    """
    fits = [
        fit
        for reading in readings
        if len(reading.text) >= 10 and sum(sign.isdigit() for sign in reading.text) >= 5
        if (fit := stamptext.fit_code(reading.probabilities)) is not None
        and fit.confidence >= CODE_CONFIDENCE / 2
    ]
    if not fits:
        return None
    weights = np.array([fit.confidence for fit in fits]) ** 4
    chances = np.average([np.exp(fit.digits) for fit in fits], axis=0, weights=weights)
    together = stamptext.code_of(np.log(np.maximum(chances, 1e-9)))
    confidence = max([together.confidence, *(fit.confidence for fit in fits if fit.code == together.code)])
    return (together.code, confidence) if confidence >= CODE_CONFIDENCE else None


def _interpret(source: _Source, lines: Sequence[Line], scale: float) -> StampReading:
    ordered = sorted(lines, key=_place)
    text = [
        line
        for line in ordered
        if line.best.confidence >= LINE_CONFIDENCE
        and len(line.best.text) >= 2
        and not _pattern(line.best.text)
    ]
    codes = [code for code in (line.code for line in ordered) if code is not None]
    code, confidence = max(codes, key=lambda found: found[1]) if codes else (None, 0.0)
    if not text and code is None:
        return StampReading(reason="no text could be read on the back")
    words = [line.best.text for line in text]
    edition = next(filter(None, map(stamptext.edition, words)), None)
    return StampReading(
        lines=tuple(
            TextLine(line.best.text, round(line.best.confidence, 3), source.to_working(line.quad))
            for line in text
        ),
        factory_code=code,
        factory_code_confidence=round(confidence, 3),
        year=next(filter(None, map(stamptext.year, words)), None),
        edition_number=edition.number if edition else None,
        edition_size=edition.size if edition else None,
        brand=next(filter(None, map(stamptext.brand, words)), None),
        origin=next(filter(None, map(stamptext.origin, words)), None),
        text_height=round(_letter_height(text or ordered) / source.scale / scale, 1),
    )


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
