"""Makes a catalogue picture of a photograph: the pin alone, if its outline was found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.segmentation import prepare
from pinactors.protocol import View

MARGIN_SHARE = 0.04
"""Margin kept around the pin, as a share of its longer side."""


def cutout_png(path: str, view: View, max_pixels: int, whole: bool) -> tuple[bytes, bool]:
    """A PNG of the photograph at `path`, and whether it is cut along the pin's outline. If so, pixels outside
    the outline are transparent, which the catalogue import understands. The PNG shows the whole photograph if
    no outline was found or if `whole` is True. Runs in a worker, because it decodes files that users sent.

    Raises `PinactorsError` (`invalid_format`, `too_large`), and `OSError` if the file is gone.
    """
    prepared = prepare.cut_out(decode(Path(path).read_bytes(), view, max_pixels))
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
