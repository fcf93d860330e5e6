"""Decodes PNG and WebP with libvips, a few rows at a time or reduced while decoding.

Used for every WebP, because other WebP decoders hold several whole canvases, and for large PNGs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyvips  # type: ignore[import-untyped]

from pinactors.analysis.model import Image

Error = pyvips.Error
"""The exception that libvips raises on damaged files."""

logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # damaged files are reported by exceptions
pyvips.cache_set_max(0)  # keeps no photograph in memory
pyvips.vips_lib.vips_concurrency_set(1)  # a worker uses one core


@dataclass(frozen=True, slots=True)
class Header:
    """A file's header, read without decoding pixels; `orientation` is EXIF's, 1 to 8."""

    width: int
    height: int
    orientation: int
    profile: bytes
    picture: pyvips.Image


def open_webp(data: bytes, scale: float = 1.0) -> Header:
    """The header of the first frame; the decoder scales the frame by `scale` (1 is full size). Raises
    `Error`."""
    options = {"scale": scale} if scale < 1 else {}
    return _header(pyvips.Image.webpload_buffer(data, access="sequential", fail_on="warning", **options))


def open_png(data: bytes) -> Header:
    """The header of a PNG. Raises `Error`."""
    return _header(pyvips.Image.pngload_buffer(data, access="sequential", fail_on="warning"))


def _header(picture: pyvips.Image) -> Header:
    known = picture.get_fields()
    orientation = picture.get("orientation") if "orientation" in known else 1
    profile = picture.get("icc-profile-data") if "icc-profile-data" in known else b""
    return Header(picture.width, picture.height, orientation, bytes(profile), picture)


def rgb(picture: pyvips.Image, factor: int = 1) -> Image:
    """Pixels (height, width, 3), composited over white, each the mean of `factor` by `factor` decoded pixels.
    Raises `Error`."""
    picture = picture.colourspace("srgb")  # 8 bits, three channels
    if picture.hasalpha():
        picture = picture.flatten(background=[255, 255, 255])
    return _array(picture, factor)


def alpha(picture: pyvips.Image, factor: int = 1) -> Image:
    """The alpha channel (height, width) of a transparent picture, reduced as in `rgb`. Raises `Error`."""
    picture = picture.colourspace("srgb")
    return _array(picture.extract_band(picture.bands - 1), factor)[..., 0]


def _array(picture: pyvips.Image, factor: int) -> Image:
    if factor > 1:
        picture = picture.shrink(factor, factor)
    picture = picture.cast("uchar")
    shape = picture.height, picture.width, picture.bands
    return np.frombuffer(picture.write_to_memory(), np.uint8).reshape(shape)
