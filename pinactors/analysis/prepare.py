"""One photograph made ready for everything else: decoded, judged, the pin cut out. Done once."""

from __future__ import annotations

from pinactors.analysis import quality, segmentation
from pinactors.analysis.decode import decode
from pinactors.analysis.geometry import crop_transform, warp_crop
from pinactors.analysis.model import Cutout, PreparedView
from pinactors.protocol import View


def prepare_view(data: bytes, view: View, sha256: str, max_pixels: int) -> PreparedView:
    """The photograph `data` (as sent) as a `PreparedView`.

    Raises `PinactorsError`: `too_large` or `invalid_format`, naming the upload's field. A picture without a
    recognisable pin is no error: `pin` is None and `pin_problem` says why.
    """
    photograph = decode(data, view, max_pixels)
    found = segmentation.segment(photograph.rgb)
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
        quality=quality.measure(photograph.rgb, found.mask, photograph.scale),
        pin=pin,
        pin_problem=found.problem,
    )
