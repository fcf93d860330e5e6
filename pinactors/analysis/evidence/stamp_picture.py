"""Searches the catalogue's stamp on a back, each line at its place: as evidence, and to read its code.

Reading fails on many genuine backs, so unread text is no evidence. But if the back is registered on its
catalogue picture, a stamped line correlates with its counterpart even if it cannot be read, and a missing or
different line does not.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pinactors.analysis.evidence import stamp_text
from pinactors.analysis.evidence.comparison import Comparison, Target, compare
from pinactors.analysis.evidence.likelihood import SLIGHT_SCORE, Measurement, ramp
from pinactors.analysis.imaging.geometry import as_floats, as_image
from pinactors.analysis.model import (
    CROP_SIDE,
    CatalogPin,
    Doubles,
    Floats,
    Match,
    Points,
    PreparedView,
    StampReading,
)
from pinactors.analysis.stamp import grammar, ocr, reading, voting
from pinactors.analysis.stamp.lines import length, letter_height, lies_in, sides, thickness
from pinactors.analysis.stamp.voting import Pooled
from pinactors.protocol import View

LINE_DETECTION_SIDE = 400
"""Side in pixels of the catalogue picture in which its lines are detected."""

CODE_DETECTION_SIDES = 512, 800
"""The same for its code; the larger one is used if the smaller shows no code. Of 171 drawn pictures, 161
codes are readable at 400, ten more at these sides."""

COMPARED_LINE_HEIGHT, MAX_SHIFT_PIXELS = 32, 4
"""Height in pixels at which a line is compared, and the shift that is allowed: a registration error of two
crop pixels."""

MAX_BLOCK_SHIFT_PIXELS = 16
"""Largest shift of the whole stamp, in crop pixels (a millimetre on a pin of 35 mm). The backing pattern lies
differently on each specimen, and the registration may follow it by up to half a repeat (10 to 32 pixels)
while the stamp keeps its distance from the outline: of 136 simulated backs, ten were off by 8 to 11 pixels.
Within this shift, missing and garbled stamps correlate hardly better than at their place."""

REFERENCE_BLURS = 0.7, 1.4, 2.5
"""Standard deviations, in crop pixels, of the blurs of the catalogue picture that are compared: the
photograph is less sharp by an unknown amount. The middle one is used to find the whole stamp."""

MIN_LETTER_PIXELS = 7.0
"""Letter height, in pixels of the photograph, below which a stamp cannot be judged."""


NOT_COMPARED = "the stamp could not be compared with a catalogue picture"

MIN_STAMP_LINES = 2
"""Number of text lines from which a catalogue back is assumed to have a stamp."""

UNREAD_SCORE = -0.35
"""Score if no text was found on a back that could not be compared: no text is readable on 15 of 115 genuine
simulated backs, and on 5 of 12 counterfeits whose back could not be compared."""


CATALOGUE_CODE_AGREEMENT = 0.5
"""Agreement of readings from which a code that equals the catalogue's counts as read. All eleven digits are
read from the pixels, so that they cannot equal the catalogue's by chance."""


@dataclass(frozen=True, slots=True)
class StampMatch:
    """The comparison of the stamps: `likeness` of each of the catalogue's lines, -1 to 1, with its corners
    `quads` in reference pixels and its length in `weights`; `height` is that of the letters in pixels of the
    photograph."""

    quads: tuple[Points, ...]
    likeness: Doubles
    weights: Doubles
    height: float

    @property
    def mean(self) -> float:
        return float(np.average(self.likeness, weights=self.weights))


def measure(comparison: Comparison | None) -> StampMatch | None:
    """Compares the stamp with the catalogue's. For each line of text in the catalogue's back, the value is
    Pearson's correlation of the root of the lightness gradient in both pictures, the best within
    `MAX_SHIFT_PIXELS` of where the whole stamp fits best and of three blurs of the catalogue picture (no
    unit, -1 to 1). A blurred photograph and glare lower it as well. None if the catalogue's back has no text
    or none is visible in the photograph."""
    if comparison is None:
        return None
    quads = [quad for quad in _reference_lines(comparison.target) if _visible(comparison, quad)]
    if not quads:
        return None
    references = [_strength(comparison.target.lab[..., 0], blur) for blur in REFERENCE_BLURS]
    photo = _strength(comparison.photo_lab[..., 0], REFERENCE_BLURS[0])
    photo = _with_stamp_in_place(photo, references[len(references) // 2], quads)
    best = np.max([[_likeness(photo, reference, quad) for quad in quads] for reference in references], axis=0)
    height = letter_height(quads) * comparison.resolution / comparison.view.scale
    return StampMatch(tuple(quads), best, np.array([length(quad) for quad in quads]), height)


def row(
    comparison: Comparison | None, match: StampMatch | None, stamp: StampReading, pin: CatalogPin | None
) -> Measurement:
    """`stamp_match`: whether each line of the catalogue's stamp is at its place."""
    name = "stamp_match"
    if comparison is None or match is None:
        return Measurement(name, NOT_COMPARED)
    if match.height < MIN_LETTER_PIXELS:
        return Measurement(name, "the stamp is too small in the photograph")
    score = ramp(match.mean, 0.15, 0.42, 0.75)
    stamped = comparison.boxes_around(np.concatenate(match.quads))
    if pin is not None and pin.factory_code and stamp.factory_code == pin.factory_code:
        # If the code is read correctly but the lines do not match, the comparison is wrong.
        return Measurement(name, "The stamp reads the same as the catalogue's.", max(score, 0.0), **stamped)
    if score >= SLIGHT_SCORE:
        return Measurement(name, "The stamp looks like the catalogue's, line by line.", score, **stamped)
    right, wrong = stamp_text.words(stamp, pin)
    if len(right) >= 2 and len(right) > len(wrong):
        # The words are there: their places were not found, or the catalogue shows another year's back.
        return Measurement(name, "the stamp's words are right, but not where the catalogue's lines are")
    unlike = [quad for quad, likeness in zip(match.quads, match.likeness, strict=True) if likeness < 0.42]
    where = comparison.boxes_around(np.concatenate(unlike))
    found = len(match.quads) - len(unlike)
    text = f"{len(unlike)} of the catalogue's {len(match.quads)} stamped lines could not be found."
    return Measurement(name, text, score if found < len(match.quads) / 2 else 0.7 * score, **where)


def read_at_known_place(back: PreparedView, stamp: StampReading, match: Match) -> StampReading:
    """`stamp`, with its factory code read again at its place if it was not read. The place is known if the
    identified pin has a catalogue picture of its back that shows a code.

    The catalogue's code is never reported in place of a reading: it only decides which agreement a reading
    must have.
    """
    pin = match.pin
    if pin is None:
        return stamp
    read = stamp.factory_code or stamp.likely.get("factory_code")
    if read is not None:
        stamp = _with_code(
            stamp, Pooled(str(read), stamp.factory_code_confidence or CATALOGUE_CODE_AGREEMENT), pin
        )
    reference = match.references.get(View.BACK)
    if stamp.factory_code or reference is None or not reference.outlined:
        return stamp
    target = Target(reference)
    place = _code_place(target)
    if place is None:
        return stamp
    comparison = compare(back, target, match.candidates[0].to_reference.get(View.BACK))
    if comparison is None:
        return stamp
    code, line = reading.read_code(back, comparison.to_working(place.quad), upside_down=place.upside_down)
    if code is None or line is None:
        return stamp
    again = _with_code(stamp, code, pin)
    if not again.factory_code:
        return again
    return dataclasses.replace(
        again,
        lines=(*(one for one in stamp.lines if not lies_in(line.quad, one.quad)), line),
        text_height=stamp.text_height or round(letter_height([line.quad]) / back.scale, 1),
        reason="",
    )


def _with_code(stamp: StampReading, code: Pooled[str], pin: CatalogPin) -> StampReading:
    """The stamp with `code` as read or, if its agreement is too low, as likely.

    A code that equals the catalogue's requires less agreement. A code that differs from the catalogue's only
    in digits that look alike is probably misread, however well its readings agree, so it is only likely.
    """
    known = pin.factory_code
    misread = known is not None and code.value != known and not stamp_text.contradicts(code.value, known)
    counts_as_read = not misread and code.agreement >= (
        CATALOGUE_CODE_AGREEMENT if code.value == known else voting.CODE_AGREEMENT
    )
    likely = {name: value for name, value in stamp.likely.items() if name != "factory_code"}
    return dataclasses.replace(
        stamp,
        factory_code=code.value if counts_as_read else None,
        factory_code_confidence=round(code.agreement, 3) if counts_as_read else 0.0,
        likely=likely if counts_as_read else likely | {"factory_code": code.value},
    )


@dataclass(frozen=True, slots=True)
class CodePlace:
    """Where a catalogue picture shows the factory code: the line's corners in reference pixels, and whether
    it is upside down there (`upside_down`)."""

    quad: Points
    upside_down: bool


def _code_place(target: Target) -> CodePlace | None:
    """The line of the catalogue picture that fits best as a code; None if none does."""
    for side in CODE_DETECTION_SIDES:
        quads = _reference_lines(target, side)
        for upside_down in (False, True):
            fits = [
                _fit(ocr.recognise(ocr.straighten(target.rgb, quad, upside_down=upside_down)))
                for quad in quads
            ]
            if fits and max(fits) >= voting.MIN_CODE_FIT:
                return CodePlace(quads[int(np.argmax(fits))], upside_down)
    return None


def _fit(read: ocr.Reading) -> float:
    """How well a reading fits as a code, 0 to 1: the geometric mean of its signs' probabilities."""
    fit = grammar.fit_code(read.probabilities) if grammar.resembles_code(read.text) else None
    return 0.0 if fit is None else fit.confidence


def unread(catalogued: Target, stamp: StampReading | None) -> Measurement:
    """`stamp_match` of a back that could not be registered on its catalogue picture: whether any text was
    found although the picture has lines of text. The text itself is not compared. A poor photograph, glare
    and shallow letters also prevent reading. `stamp` is None if the text was not read."""
    name = "stamp_match"
    if stamp is None or stamp.lines or len(_reference_lines(catalogued)) < MIN_STAMP_LINES:
        return Measurement(name, NOT_COMPARED)
    text = "No text could be read on the back, although the catalogue's has a stamp."
    return Measurement(name, text, UNREAD_SCORE)


def _reference_lines(target: Target, side: int = LINE_DETECTION_SIDE) -> list[Points]:
    """The corners (reference pixels) of each line of text in a catalogue picture, detected at `side`
    pixels."""
    rows, columns = np.nonzero(target.mask)
    top, left = max(int(rows.min()) - 4, 0), max(int(columns.min()) - 4, 0)
    part = target.rgb[top : int(rows.max()) + 5, left : int(columns.max()) + 5]
    scale = side / CROP_SIDE
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    inside = target.mask[top : int(rows.max()) + 5, left : int(columns.max()) + 5]
    dark, bright = np.percentile(grey[inside], [1, 99])
    stretched = (grey.astype(np.float32) - dark) * (235 / max(float(bright - dark), 16.0)) + 10
    grey = as_image(np.clip(stretched, 0, 255))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = as_image(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=interpolation))
    lines = _lines_in(small.tobytes(), small.shape[1])
    return [as_floats(quad / scale + [left, top]) for quad in lines]


@lru_cache(maxsize=64)  # 160 to 640 kB each; used for catalogue pictures only, which are used repeatedly
def _lines_in(grey: bytes, width: int) -> list[Points]:
    """The corners of each line of text in a picture."""
    return ocr.detect(np.frombuffer(grey, np.uint8).reshape(-1, width))


def _visible(comparison: Comparison, quad: Points) -> bool:
    low, high = (
        np.clip(quad.min(axis=0), 0, CROP_SIDE).astype(int),
        np.clip(quad.max(axis=0), 0, CROP_SIDE).astype(int),
    )
    inside = comparison.inside[low[1] : high[1], low[0] : high[0]]
    across = thickness(quad)
    return inside.size > 0 and float(inside.mean()) > 0.8 and across >= 6 and length(quad) >= 1.5 * across


def _strength(lightness: Floats, blur: float) -> Floats:
    """Square root of the gradient of lightness, in which letters lit from another side keep their outline."""
    smooth = cv2.GaussianBlur(lightness, (0, 0), blur)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return as_floats(cv2.sqrt(cv2.magnitude(dx, dy) / 8))


def _with_stamp_in_place(photo: Floats, reference: Floats, quads: list[Points]) -> Floats:
    """The photograph shifted so that the block of all lines correlates best with the catalogue picture's, by
    `MAX_BLOCK_SHIFT_PIXELS` at most."""
    corners, reach = np.concatenate(quads), MAX_BLOCK_SHIFT_PIXELS
    left, top = np.clip(corners.min(axis=0), 0, CROP_SIDE).astype(int)
    right, bottom = np.clip(corners.max(axis=0), 0, CROP_SIDE).astype(int)
    padded = cv2.copyMakeBorder(photo, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    around = padded[top : bottom + 2 * reach, left : right + 2 * reach]
    fits = cv2.matchTemplate(around, reference[top:bottom, left:right], cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(fits.argmax()), fits.shape)
    return as_floats(padded[y : y + CROP_SIDE, x : x + CROP_SIDE])


def _likeness(photo: Floats, reference: Floats, quad: Points) -> float:
    """Correlation of one line in the two pictures, at the best shift within `MAX_SHIFT_PIXELS`."""
    corners = as_floats(quad)
    width, height = sides(corners)
    if height > 1.5 * width:
        corners, width, height = np.roll(corners, 1, axis=0), height, width
    columns = int(np.clip(round(width * COMPARED_LINE_HEIGHT / height), 16, 16 * COMPARED_LINE_HEIGHT))
    right, bottom = columns + MAX_SHIFT_PIXELS, COMPARED_LINE_HEIGHT + MAX_SHIFT_PIXELS
    target = np.array(
        [
            [MAX_SHIFT_PIXELS, MAX_SHIFT_PIXELS],
            [right, MAX_SHIFT_PIXELS],
            [right, bottom],
            [MAX_SHIFT_PIXELS, bottom],
        ],
        np.float32,
    )
    transform = cv2.getPerspectiveTransform(np.ascontiguousarray(corners), target)
    size = (columns + 2 * MAX_SHIFT_PIXELS, COMPARED_LINE_HEIGHT + 2 * MAX_SHIFT_PIXELS)
    photo_line, reference_line = (cv2.warpPerspective(plane, transform, size) for plane in (photo, reference))
    core = reference_line[MAX_SHIFT_PIXELS:-MAX_SHIFT_PIXELS, MAX_SHIFT_PIXELS:-MAX_SHIFT_PIXELS]
    if float(core.std()) < 1e-3 or float(photo_line.std()) < 1e-3:
        return 0.0
    return float(cv2.matchTemplate(photo_line, core, cv2.TM_CCOEFF_NORMED).max())
