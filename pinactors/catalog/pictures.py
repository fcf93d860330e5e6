"""Catalogue pictures: reduced, re-encoded and cut out. Unlike a photograph, a catalogue picture certainly
shows one pin, mostly on a plain background. A mask without the pin's pale rim on white would spoil every
later comparison."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
import pillow_heif
from PIL import Image as Pillow
from PIL import ImageOps

from pinactors.analysis.imaging import vips_decoder
from pinactors.analysis.imaging.colorimetry import lab_of_srgb
from pinactors.analysis.imaging.decode import DECODER_ERRORS, decode, sniff, upright, whole_factor
from pinactors.analysis.imaging.formats import pixels_of_png
from pinactors.analysis.imaging.geometry import (
    as_floats,
    as_image,
    crop_transform,
    largest_outline,
    on_frame,
    reduced,
    resized,
    size_within,
    warp_crop,
)
from pinactors.analysis.model import Flags, Floats, Image, Matrix
from pinactors.analysis.segmentation import outline
from pinactors.catalog.models import GROUND_LEVEL
from pinactors.protocol import View

PICTURE_SIDE = 800
"""Longest side of a stored picture in pixels: the crop in which pins are compared is smaller."""
JPEG_QUALITY = 92
MAX_PIXELS = 64_000_000
"""Most pixels of a picture that is decoded."""

PLAIN_SIDE = 400
PLAIN_SPREAD = 6.0
"""Median deviation (Lab units) of the frame's colours up to which a background counts as plain."""
MIN_STEP, MAX_STEP, STEPS = 2.5, 24.0, 10
"""Least and greatest distance from the background's colour (Lab units) tried as threshold of the pin's mask,
and the number of thresholds."""
MIN_MASK_SHARE = 0.9
"""The mask by distance has at least this share of the widest mask's area: the rest is the pin's shadow."""
MIN_OPAQUE, MAX_OPAQUE = 0.02, 0.97
"""An alpha channel is used as a mask if its opaque share of the picture lies between these."""
MIN_PIECE = 0.3
"""Least share of the opaque pixels in one connected piece: a pin may have two or three pieces, noise has
thousands."""
MIN_SIDE = 16
LOST_MASK_SHARE = 0.78
"""If a mask covers less than this share of the mask by distance, it lacks a part of the pin, not only its
shadow."""


ELLIPSE_SEMI_AXES = 0.42
"""Semi-axes, as shares of the picture's width and height, of the ellipse used as mask if the pin's outline is
unknown. It leaves out the corners: they show cloth, card or other pins, as other pins' pictures do."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalogue picture cut out: `crop` and its `mask` (0, 255, or `GROUND_LEVEL` in regions that have the
    colour of the picture's ground); `whole` is the mask (0 or 255) at the picture's size,
    `to_crop` (3x3) maps the picture's pixels to the crop's. `outlined` is False if the outline is unknown and
    the mask is the middle of the picture or a given box; `cut_off` is True if the pin extends beyond the
    picture."""

    crop: Image
    mask: Image
    whole: Image
    to_crop: Matrix
    outlined: bool
    cut_off: bool


def bounded(data: bytes, view: View) -> Image:
    """Decodes the picture and reduces its longest side to at most `PICTURE_SIDE`. Raises `PinactorsError`."""
    return reduced(decode(data, view, MAX_PIXELS).rgb, PICTURE_SIDE)


def jpeg(rgb: Image) -> bytes:
    """Encodes the picture without chroma subsampling, because colours are compared pixel by pixel."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return bytes(cv2.imencode(".jpg", bgr, settings)[1].tobytes())


def opaque(data: bytes, size: tuple[int, int]) -> Image | None:
    """The mask (0 or 255, at `size`: width, height) of the opaque part of a picture that `decode` accepts;
    None if there is no alpha channel, it cannot be read, or it does not separate a pin from a background."""
    try:
        alpha = _alpha(data)
    except DECODER_ERRORS:
        return None
    if alpha is None:
        return None
    mask = as_image(np.where(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) > 127, 255, 0))
    share = float((mask > 0).mean())
    if not MIN_OPAQUE < share < MAX_OPAQUE:
        return None
    pieces = cv2.connectedComponentsWithStats(mask, connectivity=4)[2]
    largest = int(pieces[1:, cv2.CC_STAT_AREA].max())
    return mask if largest >= MIN_PIECE * np.count_nonzero(mask) else None


def _alpha(data: bytes) -> Image | None:
    """The upright alpha channel; None if there is none. It is read as `decode` reads the colours: chunks that
    no decoder needs are left out, and a large picture is reduced while it is decoded."""
    match sniff(data):
        case _, "PNG":
            header = vips_decoder.open_png(pixels_of_png(data))
        case _, "WEBP":
            header = vips_decoder.open_webp(data)
        case _, "HEIF":
            heif = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
            return as_image(np.asarray(heif)[..., -1]) if heif.has_alpha else None  # decodes only here
        case _, "AVIF":
            with Pillow.open(io.BytesIO(data), formats=("AVIF",)) as picture:
                if not picture.has_transparency_data:
                    return None
                return as_image(np.asarray(ImageOps.exif_transpose(picture).getchannel("A")))
        case _:
            return None
    if not header.picture.hasalpha():
        return None
    alpha = vips_decoder.alpha(header.picture, whole_factor(header.width, header.height))
    return upright(alpha, header.orientation)


@dataclass(frozen=True, slots=True)
class GivenMask:
    """The pin's place as given in the import folder or by the alpha channel: a `mask` (0 or 255) at the
    picture's size. `outlined` says whether the mask follows the outline; else it is a box around the pin."""

    mask: Image
    outlined: bool


def segment(rgb: Image, given: GivenMask | None = None) -> Prepared:
    """Cuts out the pin of a catalogue picture: at the given place; without one, along its outline if that is
    reliable; else an ellipse in the middle of the picture."""
    mask, ground = (given.mask, None) if given is not None else _outline(rgb)
    outlined = given.outlined if given is not None else mask is not None
    if mask is None:
        height, width = rgb.shape[:2]
        mask = np.zeros((height, width), np.uint8)
        axes = max(4, round(ELLIPSE_SEMI_AXES * width)), max(4, round(ELLIPSE_SEMI_AXES * height))
        cv2.ellipse(mask, (width // 2, height // 2), axes, 0, 0, 360, 255, -1)
    edge = largest_outline(mask)
    to_crop = crop_transform(edge)
    crop, crop_mask = warp_crop(rgb, mask, to_crop)
    if outlined and ground is not None and ground.any():
        crop_mask[(warp_crop(ground, ground, to_crop)[1] & crop_mask) > 0] = GROUND_LEVEL
    cut_off = outlined and float(on_frame(edge, rgb.shape[1], rgb.shape[0]).mean()) > 0.02
    return Prepared(crop, crop_mask, mask, to_crop, outlined, cut_off)


def _outline(rgb: Image) -> tuple[Image | None, Image | None]:
    """The pin's mask, None if it is not reliable; and the mask of the enclosed regions that have the colour
    of a plain background, None if the background is not plain."""
    if min(rgb.shape[:2]) < MIN_SIDE:
        return None, None
    plain, ground = _by_distance(rgb) or (None, None)
    found = outline.segment(rgb)
    if found.mask is None:
        return (None if plain is None or not _compact(plain) else plain), ground
    if plain is not None and _covered(plain, found.mask) < LOST_MASK_SHARE:
        return plain, ground
    return found.mask, ground


def _compact(mask: Image) -> bool:
    """Whether a region does not touch the picture's frame and has a pin's size: a region that differs from a
    plain background but touches the frame is often the table or a hand."""
    frame = np.concatenate([mask[:2].ravel(), mask[-2:].ravel(), mask[:, :2].ravel(), mask[:, -2:].ravel()])
    return 0.08 < float((mask > 0).mean()) < 0.9 and not frame.any()


def _by_distance(rgb: Image) -> tuple[Image, Image] | None:
    """The region that differs from a plain background, at the threshold where its outline is sharpest (the
    edge of a shadow is soft, that of a pin is not), and what it encloses that hardly differs; None if the
    frame's colours are not those of one surface."""
    height, width = rgb.shape[:2]
    size = size_within((width, height), PLAIN_SIDE, least=8)
    smooth = cv2.GaussianBlur(resized(rgb, size), (0, 0), 0.7)
    lab = lab_of_srgb(as_image(smooth))
    frame = np.concatenate([lab[:4].reshape(-1, 3), lab[-4:].reshape(-1, 3), lab[:, :4].reshape(-1, 3)])
    frame = np.concatenate([frame, lab[:, -4:].reshape(-1, 3)])
    middle = np.median(frame, axis=0)
    away = np.linalg.norm(frame - middle, axis=1)
    if np.median(away) > PLAIN_SPREAD:
        return None
    distance = np.sqrt(_summed(np.square(lab - middle)))
    slope = _slope(lab)
    best: tuple[float, Image] | None = None
    widest = 0.0
    least = max(MIN_STEP, 3 * float(np.median(away)))
    _, enclosed = _largest_filled(distance > least)
    for step in np.geomspace(least, max(MAX_STEP, 2 * least), STEPS):
        region, _ = _largest_filled(distance > step)
        area = float((region > 0).mean())
        if not 0.02 < area < 0.98:
            continue
        widest = max(widest, area)
        if area < MIN_MASK_SHARE * widest:
            break
        edge = cv2.morphologyEx(region, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        sharpness = float(slope[edge].mean())
        if best is None or sharpness > best[0]:
            best = sharpness, region
    if best is None:
        return None
    size = width, height
    soft = (cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) for mask in (best[1], enclosed))
    region, enclosed = (as_image(np.where(mask > 127, 255, 0)) for mask in soft)
    return region, enclosed


def _slope(lab: Floats) -> Floats:
    gx = as_floats(cv2.Sobel(lab, cv2.CV_32F, 1, 0))
    gy = as_floats(cv2.Sobel(lab, cv2.CV_32F, 0, 1))
    return as_floats(np.minimum(np.sqrt(_summed(gx * gx + gy * gy)), 40.0))


def _summed(planes: Floats) -> Floats:
    """The sum of three planes (height, width, 3): numpy adds along so short an axis slowly."""
    return as_floats(planes[..., 0] + planes[..., 1] + planes[..., 2])


def _largest_filled(region: Flags) -> tuple[Image, Image]:
    """The largest connected part of a region with its holes filled, and the holes."""
    closed = cv2.morphologyEx(
        np.where(region, 255, 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)
    )
    filled = np.zeros(region.shape, np.uint8)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 255, -1)
    return filled, as_image(cv2.bitwise_and(filled, cv2.bitwise_not(closed)))


def _covered(region: Image, by: Image) -> float:
    """Share of `region` that lies in `by`."""
    return float(((region > 0) & (by > 0)).sum() / max(1, (region > 0).sum()))
