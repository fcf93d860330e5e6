"""A photograph's bytes to pixels: what it is (by content, never by name), whether it may be decoded, upright.

The header is read first; a picture that declares more pixels than allowed is refused before any is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms
from PIL.ImageFile import ImageFile
from pillow_heif import register_heif_opener

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.model import WORKING_SIDE, Image
from pinactors.protocol import ErrorCode, PinactorsError, View

register_heif_opener()

ACCEPTED = "JPEG, PNG, WebP or HEIC"

_EXIF_ORIENTATION = 0x0112

_LARGEST_PROFILE = 1 << 16
"""Bytes of a colour profile that is read: cameras' take 500 to 3,000."""

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    TypeError,
    struct.error,
    zlib.error,
    MemoryError,
)
"""What Pillow and libheif raise on damaged files: their parsers unpack without checking each step."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """`rgb` is uint8 (height, width, 3), upright, at most `WORKING_SIDE` long; `width`, `height` are those of
    the photograph as sent (upright), `scale` is working over sent pixels."""

    rgb: Image
    width: int
    height: int
    scale: float
    media_type: str


def sniff(data: bytes) -> tuple[str, str] | None:
    """(media type, Pillow's format name) by the first bytes; None when it is none of the accepted formats."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png", "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "WEBP"
    if data[4:8] == b"ftyp":
        length = min(max(int.from_bytes(data[:4], "big"), 16), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, length, 4))}
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}:
            return "image/heic", "HEIF"
        if brands & {b"mif1", b"msf1"}:
            return "image/heif", "HEIF"
    return None


def decode(data: bytes, view: View, max_pixels: int) -> Photograph:
    """The photograph, upright by EXIF, RGB, scaled to at most `WORKING_SIDE`.

    Transparency is laid on white; of an animation the first frame is taken. Raises `PinactorsError`:
    `too_large` above `max_pixels` (by the header, nothing is decoded), `invalid_format` for anything that is
    not a whole picture in an accepted format.
    """
    if not data:
        raise _invalid(view, "the photograph is empty: nothing arrived. Please send it again")
    kind = sniff(data)
    if kind is None:
        raise _invalid(view, f"this is not a photograph we can read. Please send a {ACCEPTED} picture")
    media_type, format_name = kind
    if format_name == "WEBP":  # Pillow's opener allocates the canvas, so this header is read here
        _check_pixels(*_webp_size(data), max_pixels, view)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # damaged metadata and large pictures warn; the limit below decides
            with Pillow.open(io.BytesIO(data), formats=(format_name,)) as image:
                _check_pixels(*image.size, max_pixels, view)
                return _load(image, media_type)
    except Pillow.DecompressionBombError as error:
        raise _too_large(
            view, f"it declares more pixels than the {max_pixels / 1e6:.0f} megapixels allowed"
        ) from error
    except _DECODER_ERRORS as error:
        raise _invalid(
            view, "the photograph is damaged or did not arrive completely. Please send it again"
        ) from error


def _load(image: ImageFile, media_type: str) -> Photograph:
    width, height = image.size
    scale = min(1.0, WORKING_SIDE / max(width, height))
    target = max(1, round(width * scale)), max(1, round(height * scale))
    if media_type == "image/jpeg":
        image.draft(None, target)  # libjpeg then skips what is scaled away
    image.load()
    turn = _orientation(image)
    pixels = _rgb(image)
    if (pixels.shape[1], pixels.shape[0]) != target:
        pixels = as_image(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA))
    pixels = _standard_colours(pixels, image)
    if turn >= 5:
        width, height = height, width
    return Photograph(_upright(pixels, turn), width, height, scale, media_type)


def _rgb(image: Pillow.Image) -> Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
        grey = np.asarray(image).astype(np.uint32)
        eight = np.clip(grey >> 8 if int(grey.max(initial=0)) > 255 else grey, 0, 255).astype(np.uint8)
        return np.repeat(eight[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Pillow.new("RGBA", rgba.size, "white")
        return np.array(Pillow.alpha_composite(canvas, rgba).convert("RGB"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _standard_colours(pixels: Image, image: Pillow.Image) -> Image:
    """sRGB from what the embedded profile says the numbers mean: phones shoot Display P3, in which the same
    red has a smaller number. A profile that is sRGB, unreadable, huge or not for RGB leaves them as they
    are."""
    profile = image.info.get("icc_profile")
    if image.mode != "RGB" or not isinstance(profile, bytes) or not 0 < len(profile) <= _LARGEST_PROFILE:
        return pixels
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return pixels
        standard = ImageCms.createProfile("sRGB")
        picture = Pillow.fromarray(pixels)
        ImageCms.applyTransform(
            picture, ImageCms.buildTransform(source, standard, "RGB", "RGB"), inPlace=True
        )
        return np.array(picture)
    except (ImageCms.PyCMSError, *_DECODER_ERRORS):
        return pixels


def _orientation(image: Pillow.Image) -> int:
    """EXIF orientation 1 to 8; unreadable EXIF counts as upright. (HEIC comes upright: libheif turns it.)"""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: Image, orientation: int) -> Image:
    """Undoes what EXIF 2.32 table 6 says the camera did: 2 to 4 mirror and turn, 5 to 8 swap the axes too."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk (RFC 9649); (0, 0) when it is not there to read."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 0, 0
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _check_pixels(width: int, height: int, max_pixels: int, view: View) -> None:
    if width * height > max_pixels:
        raise _too_large(
            view, f"it is {width} × {height} pixels; at most {max_pixels / 1e6:g} megapixels are accepted"
        )


def _too_large(view: View, why: str) -> PinactorsError:
    detail = f"{why}. Please send a smaller version"
    return PinactorsError(ErrorCode.TOO_LARGE, f"The {view} photograph is too large", detail, view=view)


def _invalid(view: View, why: str) -> PinactorsError:
    message = f"The {view} photograph cannot be read"
    return PinactorsError(ErrorCode.INVALID_FORMAT, message, f"{why}.", view=view)
