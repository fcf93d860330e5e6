"""Text lines on a back: their position and all readings of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_floats, as_image
from pinactors.analysis.model import Image, Points, PreparedView
from pinactors.analysis.stamp import grammar, ocr, voting
from pinactors.analysis.stamp.grammar import Edition
from pinactors.analysis.stamp.ocr import Reading
from pinactors.analysis.stamp.voting import NumberReading, Pooled

BACK_CROP_SIDE = 1200
"""Longer side of the pin, in pixels, in the picture from which lines are read."""

CODE_LETTERS = len(grammar.CODE)

CODE_COLUMNS = round(2.5 * ocr.STEP_PIXELS * CODE_LETTERS)
"""Least width in pixels of a line's picture that may hold a code: with fewer than 2.5 steps of the recogniser
per sign, one of two equal adjacent digits is dropped."""


@dataclass(slots=True)
class Line:
    """A text line: its corners in source pixels, all its readings so far, and the code in each of them.
    `expected` is True if a code is known to be here, whatever the readings show."""

    quad: Points
    upside_down: bool
    readings: list[Reading] = field(default_factory=list)
    codes: list[NumberReading] = field(default_factory=list)
    expected: bool = False

    @property
    def best(self) -> Reading:
        return max(self.readings, key=lambda reading: reading.confidence)

    @property
    def code(self) -> Pooled[str] | None:
        return voting.pool(self.codes)

    @property
    def year(self) -> Pooled[int] | None:
        return voting.year(self.readings)

    @property
    def edition(self) -> Pooled[Edition] | None:
        return voting.edition(self.readings)

    @property
    def brand(self) -> Pooled[str] | None:
        return voting.brand(self.readings)

    @property
    def may_hold_code(self) -> bool:
        if self.expected:
            return True
        text = self.best.text
        return grammar.begins_code(text) or grammar.resembles_code(text)

    def read(self, picture: Image) -> None:
        """Adds the reading of one more picture of the line."""
        reading = ocr.recognise(picture)
        self.readings.append(reading)
        number_reading = voting.code_reading(reading)
        if number_reading is not None:
            self.codes.append(number_reading)


@dataclass(frozen=True, slots=True)
class BackCrop:
    """The part of the working picture around the pin, in colour and in grey; `scale`, `left` and `top` map
    its pixels back to working pixels."""

    rgb: Image
    grey: Image
    mask: Image
    scale: float
    left: int
    top: int

    @classmethod
    def of(cls, back: PreparedView) -> BackCrop:
        """The source of a view with a pin; the pin's longer side is at most `BACK_CROP_SIDE`."""
        assert back.pin is not None
        height, width = back.pin.mask.shape
        x, y, w, h = cv2.boundingRect(back.pin.mask)
        margin = round(0.03 * max(w, h))
        left, top = max(x - margin, 0), max(y - margin, 0)
        right, bottom = min(x + w + margin, width), min(y + h + margin, height)
        rgb, inside = back.rgb[top:bottom, left:right], back.pin.mask[top:bottom, left:right]
        scale = min(1.0, BACK_CROP_SIDE / max(w, h))
        if scale < 1:
            rgb = as_image(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
            inside = as_image(cv2.resize(inside, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST))
        grey = as_image(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        return cls(as_image(rgb), grey, as_image(inside), scale, left, top)

    def to_working(self, quad: Points) -> Points:
        return as_floats(quad / self.scale + np.array([self.left, self.top]))

    def from_working(self, quad: Points) -> Points:
        return as_floats((quad - np.array([self.left, self.top])) * self.scale)

    def find_lines(self, side: int, *, rotated: bool) -> list[Points]:
        """Quadrilaterals of text lines on the pin, in source pixels, the longest first. The detector runs on
        the picture scaled to a longer side of `side` pixels, rotated by 90 degrees if `rotated`."""
        scale = side / max(self.grey.shape)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = as_image(cv2.resize(self.grey, None, fx=scale, fy=scale, interpolation=interpolation))
        found = ocr.detect(np.ascontiguousarray(np.rot90(picture)) if rotated else picture)
        quads = []
        for quad in found:
            if rotated:  # np.rot90 took (x, y) to (y, width - 1 - x)
                quad = np.stack([picture.shape[1] - 1 - quad[:, 1], quad[:, 0]], axis=1)
            quad = as_floats(quad / scale)
            x, y = quad.mean(axis=0).round().astype(int)
            inside = 0 <= y < self.mask.shape[0] and 0 <= x < self.mask.shape[1] and self.mask[y, x]
            if inside and length(quad) >= 1.2 * thickness(quad):
                quads.append(quad)
        return sorted(quads, key=length, reverse=True)

    def read(self, quads: Sequence[Points], *, upside_down: bool) -> list[Line]:
        """The lines in these quadrilaterals with one reading each."""
        lines = [Line(quad, upside_down) for quad in quads]
        for line in lines:
            line.read(ocr.straighten(self.rgb, line.quad, upside_down=upside_down))
        return lines

    def line_picture(self, line: Line, *, across: float, along: float = 0.0) -> Image:
        """A picture of the line grown by the share `across` of its thickness (negative: shrunk) and by the
        share `along` of its length at both ends. A line that may hold a code is made wide enough for all
        signs of a code."""
        columns = CODE_COLUMNS if line.may_hold_code else 0
        quad = grown(line.quad, across=across, start=along, end=along)
        return ocr.straighten(self.rgb, quad, upside_down=line.upside_down, columns=columns)


def join_pieces(source: BackCrop, lines: Sequence[Line]) -> list[Line]:
    """The lines, with two separately detected pieces of one code replaced by one line.

    The detector splits a line where the spacing of the letters changes, and a code at its hyphens.
    """
    for first in lines:
        for second in lines:
            if not _continues_code(first, second):
                continue
            whole = Line(_enclosing_quad(first.quad, second.quad), first.upside_down)
            picture = ocr.straighten(
                source.rgb, whole.quad, upside_down=whole.upside_down, columns=CODE_COLUMNS
            )
            whole.read(picture)
            if len(whole.best.text) > max(len(first.best.text), len(second.best.text)) + 2:
                return [line for line in lines if line is not first and line is not second] + [whole]
    return list(lines)


def _continues_code(first: Line, second: Line) -> bool:
    """Whether `second`, which is mostly digits, continues `first`, which begins like a code: in its
    direction, with a similar size, and at a distance of at most two letters."""
    if first is second or first.upside_down is not second.upside_down:
        return False
    if not grammar.begins_code(first.best.text) or not grammar.resembles_code_piece(second.best.text):
        return False
    one, other = aligned(first.quad), aligned(second.quad)
    along = one[1] - one[0]
    size = thickness(first.quad)
    along = along / max(float(np.linalg.norm(along)), 1e-6) * (-1 if first.upside_down else 1)
    across = np.array([-along[1], along[0]])
    apart = other.mean(axis=0) - one.mean(axis=0)
    gap = float(apart @ along) - (length(first.quad) + length(second.quad)) / 2
    alike = 0.6 < thickness(second.quad) / max(size, 1e-6) < 1.7
    return alike and abs(float(apart @ across)) < 0.6 * size and -size < gap < 2 * size


def _enclosing_quad(first: Points, second: Points) -> Points:
    """The quadrilateral around two others, aligned with the line between their middles, because the sides of
    short pieces give the direction only roughly."""
    along = second.mean(axis=0) - first.mean(axis=0)
    along /= max(float(np.linalg.norm(along)), 1e-6)
    axes = np.stack([along, np.array([-along[1], along[0]])])
    (left, top), (right, bottom) = (
        edge(np.concatenate([first, second]) @ axes.T, axis=0) for edge in (np.min, np.max)
    )
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return as_floats(corners @ axes)


def sides(quad: Points) -> tuple[float, float]:
    """Lengths of the first and the second side in pixels."""
    return float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[2] - quad[1]))


def aligned(quad: Points) -> Points:
    """The corners in the order of `ocr.straighten`: the first two lie along the line."""
    width, height = sides(quad)
    return np.roll(quad, 1, axis=0) if height > 1.5 * width else quad


def grown(quad: Points, *, across: float, start: float = 0.0, end: float = 0.0) -> Points:
    """The quadrilateral grown by the share `across` of its thickness (negative: shrunk), and by the shares
    `start` and `end` of its length before and after it."""
    frame = aligned(quad)
    run, rise = frame[1] - frame[0], frame[3] - frame[0]
    v = rise * across / 2
    before, behind = -run * start, run * end
    return as_floats(frame + np.stack([before - v, behind - v, behind + v, before + v]))


def length(quad: Points) -> float:
    """Length of the longer side in pixels."""
    return max(sides(quad))


def thickness(quad: Points) -> float:
    """Length of the shorter side in pixels."""
    return min(sides(quad))


def lies_in(quad: Points, outer: Points) -> bool:
    """Whether the middle of `quad` lies in the quadrilateral `outer`."""
    x, y = quad.mean(axis=0).tolist()
    return cv2.pointPolygonTest(outer, (x, y), False) >= 0


def distinct(lines: Sequence[Line]) -> list[Line]:
    """The lines without those whose middle lies in a line with more letters times confidence."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda line: len(line.best.text) * line.best.confidence, reverse=True):
        if not any(lies_in(line.quad, other.quad) for other in kept):
            kept.append(line)
    return kept


def reading_order(line: Line) -> tuple[bool, float]:
    """Sort key for the reading order: horizontal lines first, then vertical ones, each from the top of the
    text to its bottom."""
    corners = line.quad
    along = (
        corners[1] - corners[0]
        if np.linalg.norm(corners[1] - corners[0]) > thickness(line.quad)
        else (corners[2] - corners[1])
    )
    level = abs(float(along[0])) >= abs(float(along[1]))
    position = float(corners[:, 1].mean() if level else corners[:, 0].mean())
    return not level, -position if line.upside_down else position


def letter_height(quads: Sequence[Points]) -> float:
    """Median letter height in pixels, 0.75 of the lines' thickness: the detector's quads extend beyond
    the letters."""
    return 0.75 * float(np.median([thickness(quad) for quad in quads])) if quads else 0.0
