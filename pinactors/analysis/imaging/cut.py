"""The pin of a photograph as a catalogue picture: what is around it taken away, where that is sure."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pinactors.analysis.imaging import prepare
from pinactors.protocol import View

MARGIN_SHARE = 0.04
"""Of the pin's longer side, kept around it."""


def cut(path: str, view: View, max_pixels: int, whole: bool) -> tuple[bytes, bool]:
    """A PNG of the photograph at `path`, and whether it is cut along the pin's outline: what lies outside is
    transparent then, which an import understands. It is all of the photograph where no outline could be told,
    or where `whole` is wanted. Runs in a worker: it decodes what somebody sent.

    Raises `PinactorsError` (`invalid_format`, `too_large`), `OSError` where the file is gone.
    """
    prepared = prepare.cut_out(prepare.read(Path(path).read_bytes(), view, "", max_pixels))
    bgr = cv2.cvtColor(prepared.rgb, cv2.COLOR_RGB2BGR)
    pin = None if whole else prepared.pin
    if pin is not None:
        rows, columns = np.nonzero(pin.mask)
        margin = int(MARGIN_SHARE * max(np.ptp(rows), np.ptp(columns)))
        top, left = max(0, rows.min() - margin), max(0, columns.min() - margin)
        part = np.s_[top : rows.max() + margin + 1, left : columns.max() + margin + 1]
        bgr = np.dstack([bgr[part], pin.mask[part]])
    done, encoded = cv2.imencode(".png", bgr)
    if not done:
        raise OSError("the picture could not be encoded")
    return encoded.tobytes(), pin is not None
