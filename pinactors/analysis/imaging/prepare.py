"""One photograph made ready for everything else: decoded, judged, the pin cut out. Done once."""

from __future__ import annotations

from pinactors.analysis.imaging import quality
from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.imaging.geometry import crop_transform, warp_crop
from pinactors.analysis.model import Cutout, PreparedView
from pinactors.analysis.segmentation import outline
from pinactors.protocol import View


def prepare_view(data: bytes, view: View, sha256: str, max_pixels: int) -> PreparedView:
    """The photograph `data` (as sent) as a `PreparedView`.

    Raises `PinactorsError`: `too_large` or `invalid_format`, naming the upload's field. A picture without a
    recognisable pin is no error: `pin` is None and `pin_problem` says why.
    """
    photograph = decode(data, view, max_pixels)
    found = outline.segment(photograph.rgb)
    pin = None
    if found.mask is not None:
        to_crop = crop_transform(found.outline)
        crop, crop_mask = warp_crop(photograph.rgb, found.mask, to_crop)
        pin = Cutout(found.mask, found.outline, crop, crop_mask, to_crop, found.confidence, found.cut_off)
    return PreparedView(
        view=view,
        width=photograph.width,
        height=photograph.height,
        scale=photograph.scale,
        media_type=photograph.media_type,
        sha256=sha256,
        rgb=photograph.rgb,
        quality=quality.measure(photograph.rgb, found.mask, found.outline, photograph.scale, _notes(found)),
        pin=pin,
        pin_problem=found.problem,
        proposals=found.proposals,
    )


def _notes(found: outline.Segmentation) -> tuple[str, ...]:
    notes = []
    if found.mask is not None and found.cut_off:
        notes.append(
            "The pin reaches out of the picture. Take the photograph again with the whole pin in it."
        )
    if found.others:
        notes.append(
            "There is more than one object in the picture; the main one was used. Photograph each pin alone."
        )
    return tuple(notes)
