"""PNG and WebP decoded by libvips: a few rows at a time, or reduced while they are decoded.

Used for every WebP, whose other decoders hold several whole canvases, and for large PNGs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyvips  # type: ignore[import-untyped]

from pinactors.analysis.model import Image

Error = pyvips.Error
"""What libvips raises on damaged files."""

logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # what is damaged is told by exceptions
pyvips.cache_set_max(0)  # no photograph stays in memory
pyvips.vips_lib.vips_concurrency_set(1)  # a worker is one core


@dataclass(frozen=True, slots=True)
class Header:
    """What a file's start says, nothing being decoded; `orientation` is EXIF's, 1 to 8."""

    width: int
    height: int
    transparent: bool
    orientation: int
    profile: bytes
    picture: pyvips.Image


def open_webp(data: bytes, scale: float = 1.0) -> Header:
    """The first frame; the decoder reduces it by `scale`, of which 1 is the whole. Raises `Error`."""
    options = {"scale": scale} if scale < 1 else {}
    return _header(pyvips.Image.webpload_buffer(data, access="sequential", fail_on="warning", **options))


def open_png(data: bytes) -> Header:
    """Raises `Error`."""
    return _header(pyvips.Image.pngload_buffer(data, access="sequential", fail_on="warning"))


def _header(picture: pyvips.Image) -> Header:
    known = picture.get_fields()
    orientation = picture.get("orientation") if "orientation" in known else 1
    profile = picture.get("icc-profile-data") if "icc-profile-data" in known else b""
    return Header(picture.width, picture.height, picture.hasalpha(), orientation, bytes(profile), picture)


def rgb(picture: pyvips.Image, factor: int = 1) -> Image:
    """(height, width, 3), transparency on white, a pixel the mean of `factor` by `factor`. Raises `Error`."""
    picture = picture.colourspace("srgb")  # 8 bits, three channels
    if picture.hasalpha():
        picture = picture.flatten(background=[255, 255, 255])
    if factor > 1:
        picture = picture.shrink(factor, factor)
    picture = picture.cast("uchar")
    shape = picture.height, picture.width, picture.bands
    return np.frombuffer(picture.write_to_memory(), np.uint8).reshape(shape)
