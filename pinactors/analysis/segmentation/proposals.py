"""Proposes where the pin is: regions that a single cue separates from the background.

Three cues that fail differently: closed contours (an edge all round, whatever the colours), a colour model of
the picture's border (whatever the edges), and a smooth illumination surface through the border (plain
backgrounds with a gradient). `proposal_score` scores the proposals of all cues by the same measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_floats, as_image, dot
from pinactors.analysis.model import Flags, Floats, Image

PICTURE_SIDE = 224
"""Longest side of the picture in which proposals are made: a pin's rim is still one or two pixels wide."""

HISTOGRAM_BINS = (8, 10, 10)
"""Bins of the colour histogram: L*, a*, b*."""

MIN_AREA_SHARE = 0.01
"""Share of the picture below which a region is too small to be the photographed pin."""

HALF_PLAIN_GRADIENT = 0.5
"""Gradient (Lab units per pixel, 1.6 times the upper quartile in the border) at which a background counts as
half plain."""

BORDER_COLOURS = 4
"""Number of colour clusters by which the border is modelled."""

OBJECT_DEVIATIONS = 4.0
"""Standard deviations from every background colour above which a pixel indicates an object."""

_NOISE_DEVIATION = 2.0
"""Standard deviation in Lab added to every colour model: compression and the sensor add at least that
noise."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A region that may be the pin: `mask` is 0 or 1, `area` its number of pixels, `source` the cue that
    proposed it."""

    mask: Image
    area: int
    source: str


@dataclass(frozen=True, slots=True)
class Coarse:
    """Every second pixel of a scene, on which regions are compared: `edges`, `fine`, `bins`, `strong_edges`,
    and `object_colours`, where `deviations` exceeds `OBJECT_DEVIATIONS`."""

    edges: Floats
    fine: Floats
    bins: npt.NDArray[np.intp]
    strong_edges: Flags
    object_colours: Flags


@dataclass(slots=True)
class Scene:
    """One picture at `PICTURE_SIDE` with all maps that the cues share.

    `lab` is smoothed (L* 0 to 100), `edges` its gradient per pixel, `ridge` the same dilated by a pixel,
    `fine` the gradient of the unsmoothed picture, `border` the frame that is taken as background,
    `deviations` the number of standard deviations between a colour and the background's, `bins` each pixel's
    colour bin. `strong_edges` is where edges are stronger than the border's texture, `plainness` (0 to 1) how
    untextured the border is, `models` the distances of each background model.
    """

    rgb: Image
    lab: Floats
    edges: Floats
    ridge: Floats
    fine: Floats
    border: Flags
    deviations: Floats
    bins: npt.NDArray[np.intp]
    strong_edges: Flags
    plainness: float
    coarse: Coarse
    models: dict[str, Floats] = field(default_factory=dict)


@cache
def disk(radius: int) -> Image:
    return as_image(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def make_scene(rgb: Image) -> Scene:
    """The scene of a picture: all maps that proposals and their scores share, computed once."""
    raw = to_lab(rgb)
    lab = as_floats(cv2.GaussianBlur(raw, (0, 0), 1.0))
    edges = _gradient(lab)
    border = np.zeros(rgb.shape[:2], bool)
    ring = max(2, round(0.035 * min(rgb.shape[:2])))
    border[:ring] = border[-ring:] = True
    border[:, :ring] = border[:, -ring:] = True
    models = _border_colours(lab, border)
    models["surface"] = _illumination_surface(lab, border)
    deviations = np.minimum(models["colours"], models["surface"])
    ridge = as_floats(cv2.dilate(edges, disk(1)))
    texture = 1.6 * float(np.quantile(edges[border], 0.75))
    plainness = 1 / (1 + (texture / HALF_PLAIN_GRADIENT) ** 2)
    strong_edges = edges > 2 * texture + 0.6
    fine, bins = _gradient(raw), _bins(lab)
    coarse = Coarse(
        edges=np.ascontiguousarray(edges[::2, ::2]),
        fine=np.ascontiguousarray(fine[::2, ::2]),
        bins=np.ascontiguousarray(bins[::2, ::2]),
        strong_edges=np.ascontiguousarray(strong_edges[::2, ::2]),
        object_colours=deviations[::2, ::2] > OBJECT_DEVIATIONS,
    )
    return Scene(
        rgb, lab, edges, ridge, fine, border, deviations, bins, strong_edges, plainness, coarse, models
    )


def propose(scene: Scene) -> list[Proposal]:
    """Proposed regions of at least `MIN_AREA_SHARE`, without near-duplicates, in no particular order."""
    found: list[Proposal] = []
    _closed_contours(scene, found)
    for name, distance in scene.models.items():
        for level in (2.5, 3.5, 5.0, 7.0, 10.0, 14.0):
            above = (distance > level).astype(np.uint8)
            joined = cv2.morphologyEx(above, cv2.MORPH_CLOSE, disk(3))
            add_regions(as_image(cv2.morphologyEx(joined, cv2.MORPH_OPEN, disk(2))), name, found)
    return found


def to_lab(rgb: Image) -> Floats:
    """CIE Lab as float32 (L* 0 to 100) by OpenCV's 8-bit conversion, which is fast and exact to half a
    unit."""
    lab = as_floats(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB))
    lab[..., 0] *= np.float32(100 / 255)
    lab[..., 1:] -= np.float32(128)
    return lab


def _bins(lab: Floats) -> npt.NDArray[np.intp]:
    """Each pixel's colour bin; a* and b* beyond -60 to 60 fall into the outermost bins."""
    index = np.zeros(lab.shape[:2], np.float32)
    for channel, low, high, bins in zip(
        cv2.split(lab), (0, -60, -60), (100, 60, 60), HISTOGRAM_BINS, strict=True
    ):
        part = np.clip((channel - np.float32(low)) * np.float32(bins / (high - low)), 0, bins - 1)
        index = index * bins + np.floor(part)
    return index.astype(np.intp)


def add_regions(mask: Image, source: str, found: list[Proposal], keep: int = 2) -> None:
    """Appends the `keep` largest regions of `mask` to `found`, holes filled, unless a nearly identical one is
    in it."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    sizes = [(cv2.contourArea(contour), contour) for contour in contours if len(contour) > 20]
    large = [pair for pair in sizes if pair[0] >= MIN_AREA_SHARE * mask.size]
    for _, contour in sorted(large, key=lambda pair: -pair[0])[:keep]:
        region = as_image(cv2.drawContours(np.zeros_like(mask), [contour], -1, 1, cv2.FILLED))
        proposal = Proposal(region, cv2.countNonZero(region), source)
        if not any(nearly_identical(proposal, other) for other in found):
            found.append(proposal)


def nearly_identical(first: Proposal, second: Proposal) -> bool:
    """True when two regions differ by at most 2 % of the larger."""
    most = 0.02 * max(first.area, second.area)
    return abs(first.area - second.area) <= most and cv2.norm(first.mask, second.mask, cv2.NORM_L1) <= most


def _closed_contours(scene: Scene, found: list[Proposal]) -> None:
    """Proposes regions that a flood fill from the picture's frame cannot reach if edges above a level are
    walls.

    Walls are dilated by 1 to 3 pixels, which closes gaps of twice that, and the region is eroded by as much.
    """
    low = max(0.4, 1.2 * float(np.quantile(scene.edges[scene.border], 0.6)))
    high = max(1.3 * low, float(np.quantile(scene.edges, 0.985)))
    height, width = scene.edges.shape
    free = np.empty((height + 2, width + 2), np.uint8)
    for radius in (1, 2, 3):
        walls = cv2.dilate(scene.edges, disk(radius))
        for level in np.geomspace(low, high, 8)[:-1]:
            free[:] = 1
            np.less_equal(walls, level, out=free[1:-1, 1:-1].view(bool))
            cv2.floodFill(free, np.empty(0, np.uint8), (0, 0), 2, flags=4)
            enclosed = (free[1:-1, 1:-1] != 2).astype(np.uint8)
            shrunk = cv2.erode(enclosed, disk(radius), borderValue=1)
            add_regions(as_image(cv2.morphologyEx(shrunk, cv2.MORPH_OPEN, disk(2))), "contour", found)


def _gradient(lab: Floats) -> Floats:
    """Length of the colour gradient in Lab units per pixel."""
    across = cv2.Scharr(lab, cv2.CV_32F, 1, 0) / 32
    down = cv2.Scharr(lab, cv2.CV_32F, 0, 1) / 32
    return np.asarray(np.sqrt(dot(across, across) + dot(down, down)))


def _border_colours(lab: Floats, border: Flags) -> dict[str, Floats]:
    """Mahalanobis distance to the nearest colour cluster of the border ("colours").

    A cluster that lies in one stretch of the border may be a pin that extends beyond the picture, or a thumb.
    If there is one, a second map ("colours_without") is made without it.
    """
    height, width = border.shape
    ys, xs = np.nonzero(border)
    step = len(ys) // 1200 + 1
    ys, xs = ys[::step], xs[::step]
    samples = lab[ys, xs]
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.5)
    _, labels, _ = cv2.kmeans(
        samples, BORDER_COLOURS, np.empty(0, np.int32), criteria, 1, cv2.KMEANS_PP_CENTERS
    )
    angle = np.arctan2((ys - height / 2) / height, (xs - width / 2) / width)
    nearest = np.full(border.shape, np.inf, np.float32)
    spread = nearest.copy()
    suspects = 0.0
    for cluster in range(BORDER_COLOURS):
        members = labels.ravel() == cluster
        share = float(members.mean())
        if share < 0.04:
            continue
        distance = _mahalanobis(lab, samples[members])
        nearest = np.minimum(nearest, distance)
        directions = np.exp(1j * angle[members])
        if abs(directions.mean()) > 0.8 and share < 0.35 and suspects + share < 0.5:
            suspects += share
        else:
            spread = np.minimum(spread, distance)
    maps = {"colours": nearest}
    if suspects > 0 and np.isfinite(spread).all():
        maps["colours_without"] = spread
    return maps


def _illumination_surface(lab: Floats, border: Flags) -> Floats:
    """Distance from a quadratic surface fitted to the border's colours, in standard deviations: one material
    under one lamp has smooth shading. The fit is robust (Cauchy weights), so that a minority of the border
    may show something else."""
    height, width = border.shape
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(xs), xs, ys, xs * ys, xs * xs, ys * ys], axis=2)
    step = int(border.sum()) // 1200 + 1
    inputs, outputs = terms[border][::step], lab[border][::step]
    weights = np.ones(len(inputs), np.float32)
    coefficients = np.zeros((6, 3), np.float32)
    size = 1.0
    for _ in range(4):
        coefficients = np.linalg.lstsq(inputs * weights[:, None], outputs * weights[:, None], rcond=None)[0]
        residual = np.linalg.norm(outputs - inputs @ coefficients, axis=1)
        size = float(np.median(residual)) + 0.5
        weights = (1 / (1 + (residual / (2 * size)) ** 2)).astype(np.float32)
    rest = outputs - inputs @ coefficients
    usual = np.linalg.norm(rest, axis=1) < 3 * size
    surface = (terms.reshape(-1, 6) @ coefficients).reshape(lab.shape)
    return _mahalanobis(as_floats(lab - surface), rest[usual], centred=True)


def _mahalanobis(lab: Floats, samples: Floats, *, centred: bool = False) -> Floats:
    centre = np.zeros(3, np.float32) if centred else samples.mean(axis=0)
    spread = np.cov(samples.T) if len(samples) > 3 else np.zeros((3, 3))
    root = np.linalg.cholesky(np.linalg.inv(spread + np.eye(3) * _NOISE_DEVIATION**2)).astype(np.float32)
    offset = cv2.transform(lab, np.column_stack([root.T, -root.T @ centre]))
    return as_floats(np.sqrt(dot(offset, offset)))
