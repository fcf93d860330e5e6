"""Colorimetry: conversion from sRGB to linear light and to CIE Lab, and perceptual colour differences."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.model import Floats, Image

_PRIMARIES = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
LUMINANCE = _PRIMARIES[:, 1].astype(np.float32)
_TO_XYZ = _PRIMARIES / _PRIMARIES.sum(axis=0)
"""Matrix from linear sRGB (rows) to XYZ divided by the XYZ of white (IEC 61966-2-1)."""


def linear(rgb: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """sRGB, 0 to 1, to linear light (IEC 61966-2-1), in the same precision."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def encoded(light: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Linear light, 0 to 1, to sRGB: the inverse of `linear`."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)


def lab_of_srgb(rgb: Image) -> Floats:
    """uint8 sRGB (…, 3) to CIE Lab under D65, in floating point."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    return as_floats(lab)


def srgb_of_lab(lab: Floats) -> Floats:
    """CIE Lab under D65 (rows, columns, 3) to sRGB, 0 to 1; colours outside sRGB are clipped."""
    return as_floats(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1))


def lab_of_linear(rgb: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Linear sRGB (…, 3), non-negative, to CIE Lab under D65, in the same precision. Values above white are
    allowed and not clipped: a paint corrected for dim light can exceed white and must keep its tint."""
    ratio = rgb @ _TO_XYZ.astype(rgb.dtype)
    cube = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = np.moveaxis(cube, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def difference(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """CIEDE2000 (Sharma, Wu and Dalal 2005) of Lab colours (…, 3), in their precision."""
    l1, a1, b1 = np.moveaxis(np.asarray(first), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second), -1, 0)
    chroma_scale = 1.5 - 0.5 * _chromatic((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2)
    a1, a2 = a1 * chroma_scale, a2 * chroma_scale
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    hue_difference = (h2 - h1 + 180) % 360 - 180
    hue_difference = np.where(c1 * c2 == 0, 0.0, hue_difference)
    hue = (h1 + hue_difference / 2) % 360
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(hue_difference / 2))
    lightness, chroma = (l1 + l2) / 2 - 50, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    sl = 1 + 0.015 * lightness**2 / np.sqrt(20 + lightness**2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rotation = -2 * _chromatic(chroma) * np.sin(np.radians(60 * np.exp(-np.square((hue - 275) / 25))))
    dl, dc, dh = dl / sl, dc / sc, dh / sh
    return np.asarray(np.sqrt(dl * dl + dc * dc + dh * dh + rotation * dc * dh))


def _chromatic(chroma: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    cube = np.power(chroma / 25, 3)
    seventh = cube * cube * chroma / 25
    return np.asarray(np.sqrt(seventh / (seventh + 1)))
