"""Decodes a photograph: detects its format (by content, never by name), checks limits, turns it upright.

The header is read first. A picture that declares more pixels than allowed, or whose format needs more memory
for them than `DECODING_BYTES`, is refused before any pixel is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image as Pillow
from PIL import ImageCms, ImageFile

from pinactors.analysis.imaging import formats, iso_boxes, vips_decoder
from pinactors.analysis.imaging.formats import ACCEPTED_FORMATS, sniff
from pinactors.analysis.imaging.geometry import as_image, size_within
from pinactors.analysis.imaging.jpeg_segments import JPEG_LS, jpeg_frame, jpeg_restarts_missing, jpeg_scans
from pinactors.analysis.imaging.reduce import WHOLE_PIXELS, ArrayPixels, PillowPixels, Pixels, reduced
from pinactors.analysis.model import WORKING_SIDE, DecodedPhotograph, Image
from pinactors.protocol import ErrorCode, PinactorsError, View

__all__ = ["DECODER_ERRORS", "decode", "sniff", "upright", "whole_factor"]

DECODING_BYTES = 300_000_000
"""Memory in bytes that decoding one photograph may take in addition to the worker's own 60 to 80 MB, so that
a worker stays below 400 MB."""

LONGEST_SIDE = 65_535
"""Pixels of a side that are allowed, the limit of JPEG: decoders hold several rows, whatever their length."""

PNG_INTERLACED_COST = 4.0
WEBP_LOSSLESS_COST = 4.6
HEIF_COST, HEIF_DEEP_COST = 4.6, 7.5
HEIF_CHROMA_FACTOR, HEIF_ALPHA_COST = 2.0, 2.5
AVIF_COST, AVIF_ALPHA_COST = 7.3, 1.4
"""Peak memory of the decoders in bytes per pixel, measured at 64 megapixels with Pillow 13, libvips 8.18 and
libheif 1.23: planes, the picture made from them and copies. "Deep" means more than 8 bits per sample;
the factor is for chroma that is not halved both ways, and AVIF's decoded samples are to be added. Other
PNG and WebP files, and JPEG, are reduced while they are decoded and need no such limit; of a progressive JPEG
only the coefficients are held, 2 bytes per sample."""

MAX_JPEG_SCANS = 64
"""Scans allowed in a progressive JPEG; about ten are usual. Each scan is a pass over all coefficients, 0.05 s
at 64 megapixels, however few bytes it has."""

_EXIF_ORIENTATION = 0x0112

_JPEG_END = b"\xff\xd9"

_FILLER_BYTES = bytes(range(1, 255)) * 4
"""Bytes without a JPEG marker. If pixels are missing, these bytes decode to other pixels than no bytes do."""

_LOSSLESS_SEARCH_BYTES = 1 << 17
"""Bytes from a WebP's start within which the chunk of its picture begins, after flags and profile."""

_LARGEST_PROFILE_BYTES = 1 << 16
"""Bytes of the largest colour profile that is used; those of cameras take 500 to 3,000."""

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    ArithmeticError,  # an overflow, or a division by a width or height of 0
    RuntimeError,
    TypeError,
    struct.error,
    zlib.error,
    vips_decoder.Error,
)
"""Exceptions that Pillow, libvips and libheif raise on damaged files: their parsers do not check each
step."""

_JPEG_PROCESSES = {3: "lossless", 5: "hierarchical", 6: "hierarchical", 7: "lossless", 11: "lossless"}
_JPEG_PROCESSES |= {13: "hierarchical", 14: "hierarchical", 15: "lossless", JPEG_LS: "near-lossless"}


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A picture in the orientation of its file, with the orientation and colour profile from its metadata."""

    pixels: Pixels
    orientation: int = 1
    profile: bytes = b""


def decode(data: bytes, view: View, max_pixels: int, sha256: str = "") -> DecodedPhotograph:
    """The photograph `data` (as sent; `sha256` is its hash), upright by EXIF, RGB, at most `WORKING_SIDE`.

    Transparency is composited over white; of an animation the first frame is used. Raises `PinactorsError`:
    `too_large` above `max_pixels` or `DECODING_BYTES` (checked by the header, before decoding),
    `invalid_format` if the data is not a complete picture in an accepted format.
    """
    if not data:
        raise _invalid(view, "the photograph is empty: nothing arrived. Please send it again")
    kind = sniff(data)
    if kind is None:
        what = formats.name_of(data) or "not a photograph we can read"
        raise _invalid(view, f"this is {what}. Please send a {ACCEPTED_FORMATS} picture")
    media_type, format_name = kind
    limits = _Limits(view, max_pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata and large pictures warn; the limits decide
            decoded = _DECODERS[format_name](data, limits)
            return _picture(decoded, view, media_type, sha256)
    except Pillow.DecompressionBombError as error:
        raise _too_large(view, f"it has more than the {max_pixels / 1e6:.0f} megapixels allowed") from error
    except MemoryError as error:
        raise _too_large(view, "decoding it needs more memory than is allowed") from error
    except DECODER_ERRORS as error:
        raise _invalid(
            view, "the photograph is damaged or did not arrive completely. Please send it again"
        ) from error


@dataclass(frozen=True, slots=True)
class _Limits:
    view: View
    max_pixels: int

    def check(self, width: int, height: int, cost: float, what: str) -> None:
        """Raises `PinactorsError` if the picture has too many pixels, a side is too long, or decoding needs
        too much memory at `cost` bytes per pixel; `what` names the kind of picture in the message."""
        pixels = width * height
        if pixels > self.max_pixels:
            allowed = f"at most {self.max_pixels / 1e6:g} megapixels are accepted"
        elif max(width, height) > LONGEST_SIDE:
            allowed = f"a side may have at most {LONGEST_SIDE} pixels"
        elif pixels * cost > DECODING_BYTES:
            allowed = f"for {what}, at most {DECODING_BYTES / cost / 1e6:.0f} megapixels are accepted"
        else:
            return
        raise _too_large(self.view, f"it is {width} × {height} pixels; {allowed}")

    def refuse(self, why: str) -> PinactorsError:
        return _invalid(self.view, f"{why}. Please send an ordinary {ACCEPTED_FORMATS} picture")


def _picture(decoded: _Decoded, view: View, media_type: str, sha256: str) -> DecodedPhotograph:
    width, height = decoded.pixels.sent_size
    scale = min(1.0, WORKING_SIDE / max(width, height))
    rgb = reduced(decoded.pixels, size_within((width, height), WORKING_SIDE))
    if decoded.pixels.is_rgb:
        rgb = _standard_colours(rgb, decoded.profile)
    if decoded.orientation >= 5:
        width, height = height, width
    rgb = upright(rgb, decoded.orientation)
    return DecodedPhotograph(view, width, height, scale, media_type, sha256, rgb)


def _jpeg(data: bytes, limits: _Limits) -> _Decoded:
    frame, scans = jpeg_frame(data), None
    if frame is not None:
        if frame.process in _JPEG_PROCESSES:
            raise limits.refuse(f"this is a {_JPEG_PROCESSES[frame.process]} JPEG, which we cannot read")
        if frame.bits != 8:
            raise limits.refuse(f"this is a JPEG with {frame.bits} bits per sample, which we cannot read")
        if frame.components not in (1, 3, 4):
            raise limits.refuse(
                f"this is a JPEG with {frame.components} colour components, which we cannot read"
            )
        if not frame.height:
            raise limits.refuse("this is a JPEG whose height is not in its header, which we cannot read")
        scans = jpeg_scans(data, MAX_JPEG_SCANS) if frame.buffered else None
        if scans is not None and len(scans.headers) > MAX_JPEG_SCANS:
            raise limits.refuse(f"this is a JPEG with more than {MAX_JPEG_SCANS} scans, which we do not read")
        cost = 2 * frame.samples if frame.buffered else 0.0
        limits.check(frame.width, frame.height, cost, "a progressive JPEG like this")
    image = Pillow.open(io.BytesIO(data), formats=("JPEG",))
    width, height = image.size
    limits.check(width, height, 0.0, "")
    if jpeg_restarts_missing(data):
        raise OSError("pixels between restart markers are missing")  # the decoder would guess them
    target = size_within((width, height), WORKING_SIDE)
    try:
        _load(image, target)
        if scans is None:
            may_lack = _ends_flat(image, width)
        else:
            may_lack = frame is not None and not scans.are_all_of(frame)
    except OSError:  # there is no end marker
        may_lack = True
    if may_lack:
        image = _load_whole(data, target)
    return _Decoded(PillowPixels(image, (width, height)), _orientation(image), _profile(image.info))


def _load(image: ImageFile.ImageFile, target: tuple[int, int]) -> None:
    image.draft(None, target)  # decodes at a reduced size where JPEG allows it
    image.decodermaxblock = -1  # reads the file as a whole: arithmetic decoding cannot wait for more bytes
    image.load()


def _ends_flat(image: ImageFile.ImageFile, width: int) -> bool:
    """Whether the last block of a decoded picture is of one colour, as it is where its data is missing: a
    decoder repeats the last colour then. `width` is the picture's own, before it was reduced."""
    side = max(1, 8 * image.width // width)
    block = image.crop((image.width - side, image.height - side, image.width, image.height))
    return all(least == most for least, most in np.reshape(block.getextrema(), (-1, 2)))


def _load_whole(data: bytes, target: tuple[int, int]) -> ImageFile.ImageFile:
    """Decodes a JPEG that has all its pixels, with or without an end marker. It is decoded twice, with
    different bytes in place of those that may be missing before its end; raises `OSError` if that changes a
    pixel, because pixels are missing then. A program may have put an end marker behind half a picture."""
    images = []
    whole = data[: jpeg_scans(data, MAX_JPEG_SCANS).end]
    for missing in (b"", _FILLER_BYTES):
        image = Pillow.open(io.BytesIO(whole + missing + _JPEG_END), formats=("JPEG",))
        _load(image, target)
        images.append(image)
    if images[0].tobytes() != images[1].tobytes():
        raise OSError("the picture ends before its last pixel")
    return images[0]


def _png(data: bytes, limits: _Limits) -> _Decoded:
    if data[12:16] == b"CgBI":  # its pixels are packed differently
        raise limits.refuse("this is a PNG in Apple's own format for apps (CgBI), which we cannot read")
    data = formats.pixels_of_png(data)
    image = Pillow.open(io.BytesIO(data), formats=("PNG",))
    interlaced = image.info.get("interlace")
    limits.check(*image.size, _interlaced_cost(data) if interlaced else 0.0, "an interlaced PNG like this")
    if image.width * image.height > WHOLE_PIXELS:
        header = vips_decoder.open_png(data)
        pixels = vips_decoder.rgb(header.picture, whole_factor(*image.size))
        return _Decoded(ArrayPixels(pixels, image.size), _orientation(image), header.profile)
    image.load()
    return _Decoded(PillowPixels(image, image.size), _orientation(image), _profile(image.info))


def _interlaced_cost(png: bytes) -> float:
    """Bytes per pixel: the decoder holds the whole picture at the file's bit depth, with palettes and alpha
    expanded."""
    bits, channels = png[24], {0: 1, 2: 3, 4: 2, 6: 4}.get(png[25], 4)
    return max(PNG_INTERLACED_COST, channels * bits / 8)


def _webp(data: bytes, limits: _Limits) -> _Decoded:
    data = formats.sized_webp(data)
    lossless = data.find(b"VP8L", 12, _LOSSLESS_SEARCH_BYTES) > 0
    limits.check(*formats.webp_size(data), WEBP_LOSSLESS_COST if lossless else 0.0, "a lossless WebP")
    header = vips_decoder.open_webp(data)
    size = header.width, header.height
    factor = whole_factor(*size)
    if factor > 1:
        header = vips_decoder.open_webp(data, 1 / factor)
    pixels = vips_decoder.rgb(header.picture)
    return _Decoded(ArrayPixels(pixels, size), header.orientation, header.profile)


def whole_factor(width: int, height: int) -> int:
    """The whole factor by which a large picture is reduced while it is decoded; 1 for other pictures."""
    return max(1, max(width, height) // WORKING_SIDE) if width * height > WHOLE_PIXELS else 1


def _heif(data: bytes, limits: _Limits) -> _Decoded:
    """Decodes without Pillow, which would hold one more copy. libheif turns the picture upright."""
    if iso_boxes.lacks_bytes(data):
        raise EOFError("the file ends before its last item")  # libheif would leave such tiles blank
    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    deep = int(file.info.get("bit_depth", 8)) > 8
    full = file.info.get("chroma") in (422, 444)
    if full or file.has_alpha:
        what = "a HEIC picture like this"
    else:
        what = "a HEIC picture with more than 8 bits per sample" if deep else "a HEIC picture"
    cost = (HEIF_DEEP_COST if deep else HEIF_COST) * (HEIF_CHROMA_FACTOR if full else 1.0)
    cost += HEIF_ALPHA_COST if file.has_alpha else 0.0
    width, height = file.size
    limits.check(width, height, cost, what)
    array = np.asarray(file)
    if array.dtype == np.uint16:  # the library converts only colours to 8 bits
        array = array >> 8
    profile = file.info.get("icc_profile")
    return _Decoded(
        ArrayPixels(as_image(array), (width, height)), profile=profile if isinstance(profile, bytes) else b""
    )


def _avif(data: bytes, limits: _Limits) -> _Decoded:
    if data[8:12] not in formats.AV1_BRANDS:  # Pillow and libavif read such files by the first brand only
        data = data[:8] + b"avif" + data[12:]
    image = Pillow.open(io.BytesIO(data), formats=("AVIF",))
    cost = AVIF_COST + iso_boxes.av1_sample_bytes(data) + (AVIF_ALPHA_COST if "A" in image.mode else 0.0)
    limits.check(*image.size, cost, "an AVIF picture like this")
    image.load()
    # Pillow reports AVIF's own orientation property as EXIF; an orientation in XMP must not be used instead.
    image.info.pop("xmp", None)
    return _Decoded(PillowPixels(image, image.size), _orientation(image), _profile(image.info))


_DECODERS = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "HEIF": _heif, "AVIF": _avif}


def _profile(info: Mapping[Any, Any]) -> bytes:
    profile = info.get("icc_profile")
    return profile if isinstance(profile, bytes) else b""


def _standard_colours(pixels: Image, profile: bytes) -> Image:
    """Converts pixels from the embedded colour profile to sRGB: phones use Display P3, in which the same red
    has a smaller number. Pixels are returned unchanged if the profile is sRGB, unreadable, larger than
    `_LARGEST_PROFILE_BYTES` or not for RGB."""
    if not 0 < len(profile) <= _LARGEST_PROFILE_BYTES:
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
    except (ImageCms.PyCMSError, *DECODER_ERRORS):
        return pixels


def _orientation(image: Pillow.Image) -> int:
    """EXIF orientation 1 to 8; unreadable EXIF counts as upright."""
    try:
        value = Pillow.Image.getexif(image).get(_EXIF_ORIENTATION, 1)  # PNG's own method decodes the pixels
    except DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: Image, orientation: int) -> Image:
    """Undoes an EXIF orientation (EXIF 2.32, table 6): 2 to 4 mirror and rotate, 5 to 8 also swap the
    axes."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _too_large(view: View, why: str) -> PinactorsError:
    detail = f"{why}. Please send a smaller version"
    return PinactorsError(ErrorCode.TOO_LARGE, f"The {view} photograph is too large", detail, view=view)


def _invalid(view: View, why: str) -> PinactorsError:
    message = f"The {view} photograph cannot be read"
    return PinactorsError(ErrorCode.INVALID_FORMAT, message, f"{why}.", view=view)
