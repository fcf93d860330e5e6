"""Registers a photograph on its catalogue picture, so that the two can be compared pixel by pixel.

The registration of the catalogue search, or the same registration done here, is exact to a few pixels of a
small picture. If it does not fit (on backs the relief changes with the light), all rotations of the
silhouette are tried; on backs also if it fits moderately, because a repeating pattern agrees in part under
wrong rotations too, and another rotation is used if it fits clearly better. In both cases the result is
refined (`fitting`).

A region in the colour of the catalogue picture's ground may be a hole or paint of that colour. The catalogue
picture alone cannot tell, but together with a photograph on another ground it can: what shows its own ground
in either picture is a hole, and no part of the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.evidence import fitting
from pinactors.analysis.evidence.likelihood import Measurement, box_of
from pinactors.analysis.imaging.geometry import as_floats, as_image, largest_outline
from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import alignment
from pinactors.analysis.model import (
    CROP_SIDE,
    Cutout,
    Flags,
    Floats,
    Image,
    Matrix,
    Points,
    PreparedView,
    Reference,
)
from pinactors.protocol import Box, View

SILHOUETTE_OVERLAP = 0.9
"""Intersection over union of the silhouettes from which they alone support a fit, if no other rotation fits
nearly as well."""

SURE_EDGE_CORRELATION = 0.8
"""Agreement of edges from which deviations count against the pin's shape. Below it they count only if the
silhouettes overlap enough: if neither fits, the cut-out or the registration is wrong."""


TINT_LIMIT, TINT_STEP = 1.5, 0.1
"""Range and width of the cells in which tints, a and b over L + 16, are compared: a change of brightness, as
by a shadow, does not change them."""
GROUND_SIDE = 200
"""Longest side in pixels, about, at which the photograph's ground is sampled."""
MIN_CELL_SHARE = 0.01
"""Least share of the ground's pixels in a cell that counts as a tint of the ground."""
SHADE, LIGHTNESS_SLACK = 0.5, 6.0
"""Least share of the ground's L* in a hole, which the pin shades, and by how much (L*) it may be lighter."""
HOLE_MARGIN = 17
"""Size of the kernel, in crop pixels, that dilates a hole: around it are the pin's shadow on the ground and
the hole's flank."""

NOT_COMPARED = "the front could not be compared with a catalogue picture"
"""Text of a row that needs a front registered on its catalogue picture; the advice says why there is none."""


@dataclass(frozen=True)  # no slots: cached properties need a __dict__
class Target:
    """A catalogue picture on which photographs are registered; `mask` is where it shows the pin."""

    reference: Reference

    @property
    def rgb(self) -> Image:
        return self.reference.rgb

    @cached_property
    def mask(self) -> Flags:
        return np.asarray(self.reference.mask > 127)

    @cached_property
    def outline(self) -> Points:
        """The pin's outer outline (n, 2)."""
        return largest_outline(as_image(self.mask))

    @cached_property
    def box(self) -> Box | None:
        """The box around the pin in the catalogue picture, if its frame is known."""
        return self.reference.region(self.outline)

    def without(self, holes: Image) -> Target:
        """The target without `holes` (0 or 255), and what is near them, inside its outline."""
        near = cv2.dilate(holes, np.ones((HOLE_MARGIN, HOLE_MARGIN), np.uint8))
        inner = cv2.erode(self.reference.mask, np.ones((5, 5), np.uint8), borderValue=0)
        mask = as_image(cv2.bitwise_and(self.reference.mask, cv2.bitwise_not(cv2.bitwise_and(near, inner))))
        return Target(replace(self.reference, mask=mask, ground=None))

    @cached_property
    def lab(self) -> Floats:
        return lab_of(self.rgb)

    @cached_property
    def edges(self) -> fitting.Edges:
        return fitting.Edges(self.rgb, self.reference.mask, fitting.FINE_SIDE)

    @cached_property
    def portrait(self) -> Portrait:
        return Portrait.of(self.rgb, self.reference.mask)


@dataclass(frozen=True)  # no slots, as above
class Comparison:
    """A photograph warped to the target's pixels, those of the catalogue's crop. `photo` is RGB; `inside` is
    where both show the pin and the photograph has pixels.

    `to_target` maps working pixels to the target's (3x3); `agreement` is the correlation of the edge maps
    inside the outlines, `overlap` the intersection over union of the silhouettes; `resolution` is working
    pixels per pixel of the target.
    """

    view: PreparedView
    target: Target
    photo: Image
    inside: Flags
    to_target: Matrix
    agreement: float
    overlap: float
    resolution: float

    @cached_property
    def photo_lab(self) -> Floats:
        return lab_of(self.photo)

    @property
    def diameter(self) -> float:
        """The diameter in pixels of a disc with the target's area: the unit of tolerances."""
        return 2 * float(np.sqrt(self.target.mask.sum() / np.pi))

    @property
    def registered(self) -> bool:
        """Whether the photograph is registered well enough for displacements to count against the pin."""
        return self.agreement >= SURE_EDGE_CORRELATION or self.overlap >= SILHOUETTE_OVERLAP

    @cached_property
    def boxes_of_pin(self) -> dict[str, Box]:
        """`boxes_around` of the whole pin."""
        return self.boxes_around(self.target.outline)

    def boxes_around(self, points: Points) -> dict[str, Box]:
        """The region around points (n, 2) of the target as arguments of `Measurement`: `region` in the
        photograph, and `reference` in the catalogue picture if its frame is known. Empty if the region is
        outside the photograph."""
        region = box_of(self.view, self.to_working(points))
        reference = self.target.reference.region(points)
        found = {"region": region, "reference": reference if region is not None else None}
        return {name: box for name, box in found.items() if box is not None}

    def reference_of(self, region: Box) -> Box | None:
        """The place in the catalogue picture of a `region` in the photograph, if the frame is known."""
        height, width = self.view.rgb.shape[:2]
        across, down = (region.x, region.x + region.width), (region.y, region.y + region.height)
        corners = np.array([[(x * width, y * height) for x in across for y in down]])
        return self.target.reference.region(as_floats(cv2.perspectiveTransform(corners, self.to_target)[0]))

    def to_working(self, points: Points) -> Points:
        """Points (n, 2) of the target in working pixels."""
        inverse = np.linalg.inv(self.to_target)
        return as_floats(cv2.perspectiveTransform(points[None].astype(np.float64), inverse)[0])


def placed(
    row: Measurement,
    view: PreparedView | None,
    comparison: Comparison | None,
    picture: Target | None = None,
) -> Measurement:
    """A row that was measured in `view`, with its place in the photograph and, if the two were compared, in
    the catalogue picture. A row that names no place is about the whole pin, also in the catalogue's `picture`
    on which the view could not be registered."""
    if row.score is None or view is None or view.pin is None:
        return row
    if comparison is None:
        if row.region is not None:
            return row
        whole = picture.box if picture is not None else None
        return replace(row, region=box_of(view, view.pin.outline), reference=whole)
    if row.region is None:
        boxes = comparison.boxes_of_pin
        return replace(row, region=boxes.get("region"), reference=boxes.get("reference"))
    if row.reference is None:
        return replace(row, reference=comparison.reference_of(row.region))
    return row


def compare(view: PreparedView, target: Target, start: Matrix | None) -> Comparison | None:
    """`view` registered on `target`; None if the two do not fit. `start` maps the view's working pixels to
    the target's; if it is None, the start is found here."""
    if view.pin is None:
        return None
    crop = fitting.Edges(view.pin.rgb, view.pin.crop_mask, fitting.FINE_SIDE)
    if start is None:
        from_crop = _register(view.pin, target)
    else:
        from_crop = start @ np.linalg.inv(view.pin.to_crop)
    known = crop.refine(target.edges, from_crop, fitting.NEAR_ROUNDS)
    best = known if known.agreement >= fitting.SUFFICIENT_EDGE_CORRELATION else None
    if best is not None and (view.view is not View.BACK or best.agreement >= fitting.SURE_AGREEMENT):
        return _registered(view, target, best)
    rotation = (
        fitting.rotation_of(view.pin.rgb, view.pin.crop_mask, target.reference)
        if not view.pin.cut_off
        else None
    )
    if rotation is not None:
        found = crop.refine(target.edges, rotation, fitting.FAR_ROUNDS)
        if best is None:
            supported = found.overlap >= SILHOUETTE_OVERLAP
            best = found if supported or found.agreement >= fitting.SUFFICIENT_EDGE_CORRELATION else None
        elif found.score >= best.score + fitting.ROTATION_MARGIN:
            best = found
    return _registered(view, target, best) if best is not None else None


def edge_agreement(pin: Cutout, target: Target) -> float:
    """The correlation of edges (-1 to 1) of a pin registered on `target` by colours and lines: near 0 if it
    shows another side. Unlike `compare` this tries no rotation of the silhouette, which costs the most."""
    crop = fitting.Edges(pin.rgb, pin.crop_mask, fitting.FINE_SIDE)
    return crop.refine(target.edges, _register(pin, target), fitting.NEAR_ROUNDS).agreement


def _register(pin: Cutout, target: Target) -> Matrix:
    """The map (3x3) from the pin's crop to the target's, by colours and lines."""
    to_pin = alignment.register(Portrait.of(pin.rgb, pin.crop_mask), target.portrait).to_query
    return np.asarray(np.linalg.inv(to_pin), np.float64)


def _registered(view: PreparedView, target: Target, fit: fitting.Fit) -> Comparison:
    """The comparison with the photograph warped by `fit`."""
    assert view.pin is not None
    to_target = fit.matrix @ view.pin.to_crop
    size = (CROP_SIDE, CROP_SIDE)
    resolution = 1 / max(float(np.sqrt(abs(np.linalg.det(to_target[:2, :2])))), 1e-6)
    window, shift = _window(view)
    rgb, mask = view.rgb[window], view.pin.mask[window]
    if resolution > 1.5:  # sampling alone would alias
        rgb = as_image(cv2.GaussianBlur(rgb, (0, 0), 0.4 * resolution))
    window_to_target = to_target @ shift
    photo = as_image(
        cv2.warpPerspective(
            rgb, window_to_target, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )
    photo_mask = cv2.warpPerspective(mask, window_to_target, size) > 127
    if target.reference.ground is not None:
        target = target.without(_holes(photo, rgb, mask, target.reference.ground))
    return Comparison(
        view,
        target,
        photo,
        np.asarray(photo_mask & target.mask),
        to_target,
        fit.agreement,
        fit.overlap,
        resolution,
    )


def _holes(photo: Image, rgb: Image, mask: Image, ground: Image) -> Image:
    """The regions of `ground` (`Reference.ground`) where the photograph shows the colours of its own ground
    as well: more than half of a region's pixels have a tint of the ground and are not much lighter or darker.

    `photo` is the photograph in the target's pixels, `rgb` with the pin's `mask` its window around the pin.
    """
    step = 1 + max(mask.shape) // GROUND_SIDE
    coarse_rgb, coarse_mask = np.ascontiguousarray(rgb[::step, ::step]), mask[::step, ::step]
    width = 1 + max(coarse_mask.shape) // 20
    around = lab_of(coarse_rgb)[cv2.dilate(coarse_mask, np.ones((width, width), np.uint8)) == 0]
    if not len(around):
        return np.zeros_like(ground)
    darkest, brightest = np.percentile(around[:, 0], [1, 99])
    cells = round(2 * TINT_LIMIT / TINT_STEP)
    counts = np.zeros((cells, cells), np.float32)
    np.add.at(counts, _tint_cells(around), 1 / len(around))
    known = cv2.dilate((counts > MIN_CELL_SHARE).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    lab = lab_of(np.ascontiguousarray(photo[::2, ::2]))
    alike = known[_tint_cells(lab)]
    alike &= (lab[..., 0] > SHADE * darkest) & (lab[..., 0] < brightest + LIGHTNESS_SLACK)
    count, labels = cv2.connectedComponents(ground)
    sampled = labels[::2, ::2].ravel()
    seen = np.bincount(sampled, alike.ravel(), count) > 0.5 * np.bincount(sampled, minlength=count)
    seen[0] = False  # not in `ground`
    return as_image(np.where(seen[labels], 255, 0))


def _tint_cells(lab: Floats) -> tuple[npt.NDArray[np.intp], ...]:
    """The cell (row, column) of each colour's tint."""
    tint = lab[..., 1:] / (lab[..., :1] + 16)
    cells = ((np.clip(tint, -TINT_LIMIT, TINT_LIMIT - 1e-3) + TINT_LIMIT) / TINT_STEP).astype(np.intp)
    return cells[..., 0], cells[..., 1]


def _window(view: PreparedView) -> tuple[tuple[slice, slice], Matrix]:
    """The part of the working picture around the pin, and the translation (3x3) from its pixels to working
    pixels."""
    assert view.pin is not None
    x, y, width, height = cv2.boundingRect(view.pin.mask)
    margin = 8 + max(width, height) // 20
    left, top = max(x - margin, 0), max(y - margin, 0)
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    return (slice(top, y + height + margin), slice(left, x + width + margin)), shift


def register_again(comparison: Comparison, correction: Matrix) -> Comparison:
    """The comparison registered again with `correction` (3x3, from the target's pixels to where the
    photograph shows them); `comparison` itself if the correction moves points by less than a pixel on
    average."""
    assert comparison.view.pin is not None
    if fitting.mean_displacement(correction, np.eye(3)) < 1.0:
        return comparison
    matrix = np.linalg.inv(correction) @ comparison.to_target @ np.linalg.inv(comparison.view.pin.to_crop)
    return _registered(
        comparison.view, comparison.target, fitting.Fit(matrix, comparison.agreement, comparison.overlap)
    )


def lab_of(rgb: Image) -> Floats:
    """CIE Lab as float32, converted in eight bits: a tenth of the time, and still finer than a camera's
    noise."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)  # L times 2.55, a and b plus 128
    scale, offset = np.array([100 / 255, 1.0, 1.0, 0.0]), np.array([0.0, 128.0, 128.0, 0.0])
    return as_floats(cv2.subtract(cv2.multiply(lab, scale, dtype=cv2.CV_32F), offset))
