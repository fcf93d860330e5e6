"""A drawn front, and photographs of it registered on its catalogue picture."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from pinactors.analysis.evidence import comparison, linework
from pinactors.analysis.evidence.comparison import Comparison, Target
from pinactors.analysis.evidence.likelihood import Measurement
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.drawing import PIN_SIDE, Pin

SEED = 4
FRONT = drawing.pin_front(SEED)
TARGET = Target(prepared.reference(FRONT, View.FRONT))


@lru_cache(8)
def compared(pin: Pin, **how: float) -> Comparison:
    found = comparison.compare(prepared.photo(pin, View.FRONT, **how), TARGET, None)
    assert found is not None
    return found


def geometry(found: Comparison) -> dict[str, Measurement]:
    return {row.name: row for row in linework.rows(found, linework.trace(found))}


def score(row: Measurement) -> float:
    assert row.score is not None, row.text
    return row.score


@lru_cache(8)
def warped(pin: Pin, reach: float, wave: float) -> Pin:
    """The pin bent by sine waves of amplitude `reach` and length `wave`, in drawing pixels."""
    ys, xs = np.mgrid[:PIN_SIDE, :PIN_SIDE].astype(np.float32)
    mapped_x = (xs + reach * np.sin(2 * np.pi * ys / wave)).astype(np.float32)
    mapped_y = (ys + reach * np.sin(2 * np.pi * xs / wave)).astype(np.float32)
    rgb = cv2.remap(pin.rgb, mapped_x, mapped_y, cv2.INTER_LINEAR)
    return Pin(
        np.asarray(rgb, np.uint8),
        np.asarray(cv2.remap(pin.mask, mapped_x, mapped_y, cv2.INTER_NEAREST), np.uint8),
    )
