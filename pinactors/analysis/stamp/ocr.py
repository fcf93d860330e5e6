"""Text recognition with PP-OCR's detector and recogniser from `rapidocr`, on one thread, loaded once per
process.

The recogniser's classes are reduced to the characters that are stamped into metal (Latin letters, digits, a
few signs; see `networks`). Its probabilities at each step are returned, so that a grammar can decide between
similar letters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_floats, as_image
from pinactors.analysis.model import Floats, Image, Points

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz&'.,-/:#©®\"()"
"""Signs (characters) that occur on stamps. Index 0 of a probability row is the blank, 1 + i is `ALPHABET[i]`,
the last is a space."""

LINE_HEIGHT = 48
"""Height in pixels to which a line is scaled, as in the recogniser's training."""

MIN_LINE_WIDTH = 96
"""Width in pixels to which shorter lines are padded, because they are read worse without."""

STEP_PIXELS = 8
"""Pixels of a line's width per step of the recogniser: a sign with fewer than two or three steps is merged
with its neighbour or dropped."""

MAX_LINES = 8
"""Largest number of lines that are read of one picture, the longest first; each costs about 30 ms."""

Probabilities = Floats


@dataclass(frozen=True, slots=True)
class Reading:
    """The reading of one line: `confidence` (0 to 1) is the mean probability of its letters, `probabilities`
    is (steps, 2 + len(ALPHABET)), each row over blank, alphabet and space, and `steps` holds the row of each
    sign of `text`."""

    text: str
    confidence: float
    probabilities: Probabilities
    steps: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Engine:
    """`recogniser` takes a line's pixels (1, 3, LINE_HEIGHT, width) and gives the probabilities of `Reading`
    (1, steps, 2 + len(ALPHABET))."""

    detector: Any
    recogniser: Callable[[Floats], Any]


@functools.cache
def _engine() -> _Engine:
    # Imported here because it takes half a second, which only workers that read text should spend.
    from rapidocr import RapidOCR

    from pinactors.analysis.stamp import networks

    reader: Any = RapidOCR(
        params={
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            # Without the arena each pass allocates its memory again: a sixth of the detector's time.
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Det.limit_type": "max",
            "Det.thresh": 0.2,  # embossed letters are faint: a false line costs less than a missed one
            "Det.box_thresh": 0.3,
            "Det.limit_side_len": 4096,  # callers scale pictures to the size at which they are read
        }
    )
    recogniser = reader._load_rec_model()
    characters = list(recogniser.postprocess_op.character)  # blank first, like the network's classes
    classes = [0, *(characters.index(sign) for sign in ALPHABET), characters.index(" ")]
    detector = reader._load_det_model()
    networks.lighten(detector.session)
    networks.lighten(recogniser.session, np.array(classes))
    return _Engine(detector, recogniser.session)


def load_models() -> None:
    """Loads the models, so that the first photograph does not have to wait for that."""
    _engine()


def detect(grey: Image) -> list[Points]:
    """Quadrilaterals of text lines in a grey picture, corners clockwise from the top left of the line or of
    the picture."""
    found = _engine().detector(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    if found.boxes is None:
        return []
    return [as_floats(box) for box in found.boxes]


def straighten(picture: Image, quad: Points, *, upside_down: bool = False, columns: int = 0) -> Image:
    """The line inside `quad` warped to a picture `LINE_HEIGHT` high, its longer side horizontal, rotated by
    180 degrees if `upside_down`. The result is at least `columns` wide, whatever the line's proportions, and
    grey or in colour like `picture`."""
    corners = as_floats(quad)
    width = float(np.linalg.norm(corners[1] - corners[0]) + np.linalg.norm(corners[2] - corners[3])) / 2
    height = float(np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2
    if height > 1.5 * width:  # a vertical line is read upwards, with `upside_down` downwards
        corners, width, height = np.roll(corners, 1, axis=0), height, width
    if upside_down:
        corners = np.roll(corners, 2, axis=0)
    scale = LINE_HEIGHT / max(height, 1.0)
    columns = int(np.clip(max(round(width * scale), columns), LINE_HEIGHT // 2, 16 * LINE_HEIGHT))
    target = np.array([[0, 0], [columns, 0], [columns, LINE_HEIGHT], [0, LINE_HEIGHT]], np.float32)
    transform = cv2.getPerspectiveTransform(np.ascontiguousarray(corners), target)
    return as_image(
        cv2.warpPerspective(
            picture, transform, (columns, LINE_HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    )


def recognise(line: Image) -> Reading:
    """Reads one straightened line, grey or in colour (RGB).

    Colour improves reading: etched or painted text can differ from plated metal in tint where it does not in
    lightness. Lines are not read in batches: they would be padded to the longest, and a line in a batch of
    lines of the same length costs no less than a single line.
    """
    engine = _engine()
    width = line.shape[1]
    pixels = np.zeros(
        (1, 3, LINE_HEIGHT, max(STEP_PIXELS * math.ceil(width / STEP_PIXELS), MIN_LINE_WIDTH)), np.float32
    )
    scaled = line.astype(np.float32) / 127.5 - 1.0
    pixels[0, :, :, :width] = scaled if line.ndim == 2 else np.moveaxis(scaled[..., ::-1], 2, 0)
    rows = as_floats(engine.recogniser(pixels))[0]
    return _greedy(rows[: max(math.ceil(len(rows) * width / pixels.shape[3]), 1)])


def _greedy(probabilities: Probabilities) -> Reading:
    """Greedy CTC decoding: the best class at each step, repeats merged, blanks dropped."""
    best = probabilities.argmax(axis=1)
    fresh = np.flatnonzero((best != 0) & (best != np.concatenate([[0], best[:-1]])))
    text = "".join((ALPHABET + " ")[best[step] - 1] for step in fresh)
    stripped = text.strip()
    confidence = float(probabilities[fresh, best[fresh]].mean()) if stripped else 0.0
    start = len(text) - len(text.lstrip())
    return Reading(stripped, confidence, probabilities, fresh[start : start + len(stripped)])
