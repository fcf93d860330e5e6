"""Makes a copy of a stored photograph that may be shown to others: upright, small, without metadata."""

from __future__ import annotations

from pathlib import Path

import cv2

from pinactors.analysis.imaging.decode import decode
from pinactors.protocol import View

LONGEST_SIDE = 1200
JPEG_QUALITY = 85


def public_copy(path: str, view: View, max_pixels: int) -> bytes:
    """A JPEG of at most `LONGEST_SIDE` pixels a side. Runs in a worker, because it decodes files that users
    sent.

    Raises `PinactorsError` (`invalid_format`, `too_large`), and `OSError` if the file is gone.
    """
    rgb = decode(Path(path).read_bytes(), view, max_pixels).rgb
    scale = min(1.0, LONGEST_SIDE / max(rgb.shape[:2]))
    if scale < 1:
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise OSError("the picture could not be encoded")
    return encoded.tobytes()
