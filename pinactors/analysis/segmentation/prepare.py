"""Prepares one photograph for all other steps: cuts out its pin and measures its quality."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from pinactors.analysis.imaging import quality
from pinactors.analysis.imaging.geometry import as_image, crop_transform, warp_crop
from pinactors.analysis.model import (
    Cutout,
    DecodedPhotograph,
    Image,
    Match,
    Matrix,
    PreparedView,
    Reference,
    Registered,
)
from pinactors.analysis.segmentation import outline
from pinactors.protocol import View


def cut_out(picture: DecodedPhotograph, match: Match | None = None) -> PreparedView:
    """The photograph with its pin cut out and its quality measured. The cut follows the catalogue outline of
    the identified pin if `match` registered its front on this view, else it uses the pixels alone. A picture
    without a recognisable pin is no error: `pin` is None and `pin_problem` says why."""
    registered = _registered(picture, match)
    found = white = None
    reference = match.references.get(View.FRONT) if match is not None else None
    if match is not None and registered is not None and reference is not None and reference.outlined:
        to_picture = np.asarray(np.linalg.inv(registered.to_reference), np.float64)
        found = _segment_by_reference(picture, reference, to_picture, match.candidates[0].score)
        white = _white_by_reference(picture, reference, to_picture)
    if found is None or found.mask is None:
        found = outline.segment(picture.rgb)
    return PreparedView(
        view=picture.view,
        width=picture.width,
        height=picture.height,
        scale=picture.scale,
        media_type=picture.media_type,
        sha256=picture.sha256,
        rgb=picture.rgb,
        quality=quality.measure(
            picture.rgb, found.mask, found.outline, picture.scale, _problems(found), white
        ),
        pin=_cutout(picture.rgb, found, registered),
        pin_problem=found.problem,
        empty=found.problem == outline.NO_PIN,
    )


def cut_out_again(view: PreparedView) -> PreparedView:
    """The view with its pin cut out by the pixels alone; without a pin if they show none."""
    return dataclasses.replace(view, pin=_cutout(view.rgb, outline.segment(view.rgb), None))


def _cutout(rgb: Image, found: outline.Segmentation, registered: Registered | None) -> Cutout | None:
    if found.mask is None:
        return None
    to_crop = crop_transform(found.outline)
    crop, crop_mask = warp_crop(rgb, found.mask, to_crop)
    return Cutout(
        found.mask, found.outline, crop, crop_mask, to_crop, found.confidence, found.cut_off, registered
    )


def _registered(picture: DecodedPhotograph, match: Match | None) -> Registered | None:
    if match is None or match.pin is None or picture.view not in match.candidates[0].to_reference:
        return None
    return Registered(match.pin.pin_id, match.candidates[0].to_reference[picture.view])


def _segment_by_reference(
    picture: DecodedPhotograph, reference: Reference, to_picture: Matrix, score: float
) -> outline.Segmentation:
    """Cuts along the catalogue picture's outline, which `to_picture` maps to the photograph; `score` is that
    of the match."""
    height, width = picture.rgb.shape[:2]
    mask = cv2.warpPerspective(reference.mask, to_picture, (width, height), flags=cv2.INTER_LINEAR)
    return outline.segment_known(picture.rgb, as_image(np.where(mask > 127, 255, 0)), score)


def _white_by_reference(picture: DecodedPhotograph, reference: Reference, to_picture: Matrix) -> Image:
    """The mask of what is white in the catalogue picture, or outside its mask, mapped to the photograph:
    enamel, or the ground seen through a hole."""
    half = np.ascontiguousarray(reference.rgb[::2, ::2])
    lab = cv2.cvtColor(half, cv2.COLOR_RGB2LAB).astype(np.float32)
    white = as_image(np.where(quality.is_white(lab) | (reference.mask[::2, ::2] == 0), 255, 0))
    from_half = to_picture @ np.diag([2.0, 2.0, 1.0])
    size = picture.rgb.shape[1::-1]
    return as_image(cv2.warpPerspective(white, from_half, size, flags=cv2.INTER_NEAREST, borderValue=255))


def _problems(found: outline.Segmentation) -> tuple[str, ...]:
    notes = []
    if found.mask is not None and found.cut_off:
        notes.append(
            "Part of the pin is outside the picture. Take the photograph again with the whole pin in it."
        )
    if found.others:
        notes.append(
            "There is more than one object in the picture; the main one was used. Photograph each pin alone."
        )
    return tuple(notes)
