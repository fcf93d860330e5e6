"""Reads what is stamped into a pin's back: in any direction, embossed, low in contrast."""

from __future__ import annotations

import re
from collections import defaultdict
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

SOURCE_SIDE = 1200
"""Longer side of the pin in the picture lines are read from."""

LINE_CONFIDENCE = 0.55
"""Mean letter probability below which a line counts as not read."""

GOOD_LINE = 0.9
"""Mean letter probability from which a line is not looked at again."""

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
        lines = max(lines, _read(source.grey, quads, turned=True), key=_worth)
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
    return sum(len(line.best.text) * max(line.best.confidence - 0.4, 0.0) for line in lines)


def _convincing(lines: Sequence[Line]) -> bool:
    letters = sum(len(line.best.text) for line in lines)
    return letters >= 12 and _worth(lines) >= 0.35 * letters


def _distinct(lines: Sequence[Line]) -> list[Line]:
    """Without lines that lie across a more confident one."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda line: len(line.best.text) * line.best.confidence, reverse=True):
        centre = tuple(float(value) for value in line.quad.mean(axis=0))
        if all(cv2.pointPolygonTest(other.quad, centre, False) < 0 for other in kept):
            kept.append(line)
    return kept


def _second_look(source: _Source, lines: list[Line]) -> None:
    """Reads weak lines again: contrast equalised, and dark for bright."""
    weak = [
        line
        for line in lines
        if line.best.confidence < GOOD_LINE and len(line.best.text) >= 4 and line.best.confidence >= 0.3
    ]
    weak = sorted(weak, key=lambda line: len(line.best.text), reverse=True)[: ocr.MOST_LINES // 2]
    equalise = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(1, 8))
    pictures = []
    for line in weak:
        straight = ocr.straighten(source.grey, line.quad, turned=line.turned)
        equal = np.asarray(equalise.apply(straight), np.uint8)
        pictures += [equal, 255 - equal]
    readings = ocr.recognise(pictures)
    for index, line in enumerate(weak):
        line.readings += readings[2 * index : 2 * index + 2]


def factory_code(readings: Sequence[Reading]) -> tuple[str, float] | None:
    """The code that the readings of one line support most, with its confidence; None where none is there.

    A code read sign by sign counts with its reading's confidence; one that only the grammar makes out of
    similar letters with the mean probability of its signs.
    """
    votes: defaultdict[str, float] = defaultdict(float)
    confidences: defaultdict[str, float] = defaultdict(float)
    for reading in readings:
        if len(reading.text) < 10 or sum(sign.isdigit() for sign in reading.text) < 5:
            continue
        code, confidence = stamptext.fit_code(reading.probabilities)
        plain = stamptext.factory_code(reading.text)
        if plain is not None and plain == code:
            confidence = max(reading.confidence, confidence)
        if code and confidence >= CODE_CONFIDENCE:
            votes[code] += confidence
            confidences[code] = max(confidences[code], confidence)
    if not votes:
        return None
    best = max(votes, key=lambda code: votes[code])
    return best, confidences[best]


def _interpret(source: _Source, lines: Sequence[Line], scale: float) -> StampReading:
    ordered = sorted(lines, key=_place)
    text = [line for line in ordered if line.best.confidence >= LINE_CONFIDENCE and len(line.best.text) >= 2]
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


def letters(text: str) -> str:
    """The text without anything but letters and digits, in capitals."""
    return re.sub(r"[^0-9A-Z]", "", text.upper())
