"""How good a photograph is for what follows, measured on the pin where one was found."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.geometry import as_image
from pinactors.analysis.model import Image, Quality

SHORT_SIDE = 600
"""Pixels across the pin that stamp work needs (EVIDENCE: the model's gate)."""
CLIPPED = 0.05
"""Share of blown highlights above which surfaces cannot be judged (the same gate)."""
BLURRED = 4.0
"""Edge width in working pixels from which fine lines are lost."""


def measure(rgb: Image, mask: Image | None, scale: float) -> Quality:
    """`scale` is working over sent pixels."""
    lightness = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[:, :, 0]
    inside = mask > 0 if mask is not None else np.ones(rgb.shape[:2], bool)
    if mask is not None:
        points = cv2.findNonZero(mask)
        short = min(cv2.minAreaRect(points)[1]) if points is not None else 0.0
    else:
        short = float(min(rgb.shape[:2]))
    exposure = float(lightness[inside].mean()) / 255
    clipped = float((rgb[inside].min(axis=1) >= 250).mean())
    sharpness = edge_width(as_image(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)), inside)
    glare = clipped
    short_side = short / scale
    problems = []
    if sharpness > BLURRED:
        problems.append("The photograph is blurred. Hold the phone still and tap the pin to focus.")
    if short_side < SHORT_SIDE:
        problems.append("The pin is small in the photograph. Move closer so that it fills the picture.")
    if exposure < 0.2:
        problems.append("The photograph is dark. Use more light, from a window rather than the flash.")
    elif exposure > 0.92:
        problems.append("The photograph is overexposed. Use less light or move away from the lamp.")
    if clipped > CLIPPED:
        problems.append(
            "A reflection covers part of the pin. Turn it a little or move the light to the side."
        )
    score = (
        min(1.0, 3.0 / max(sharpness, 1.0))
        * min(1.0, 0.4 + 0.6 * short_side / SHORT_SIDE)
        * (1 - min(0.6, 4 * clipped))
    )
    return Quality(
        sharpness, exposure, clipped, glare, short_side, float(np.clip(score, 0, 1)), tuple(problems)
    )


def edge_width(grey: Image, inside: npt.NDArray[np.bool_]) -> float:
    """Typical width (pixels, 10 to 90 %) of the sharpest edges: contrast over slope at strong edges."""
    smooth = cv2.GaussianBlur(grey, (3, 3), 0.8)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8
    slope = cv2.magnitude(gx, gy)
    kernel = np.ones((9, 9), np.uint8)
    contrast = cv2.dilate(smooth, kernel).astype(np.float32) - cv2.erode(smooth, kernel)
    values = slope[inside]
    if values.size == 0:
        return 10.0
    strong = inside & (slope >= max(float(np.quantile(values, 0.98)), 2.0))
    if not strong.any():
        return 10.0
    return float(np.clip(np.median(contrast[strong] / slope[strong]) * 0.8, 1.0, 10.0))
