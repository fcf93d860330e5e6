"""A reduced copy of a pin's crop and mask, with the features for alignment and for comparing lines and
colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from pinactors.analysis.imaging.colorimetry import lab_of_srgb, linear
from pinactors.analysis.imaging.geometry import as_floats, dot, resized, scaling
from pinactors.analysis.model import CROP_SIDE, Floats, Image, Matrix

PORTRAIT_SIDE = 128
"""Side of a portrait in pixels: the lines of an enamel pin are still one pixel wide."""
COARSE_SIDE = 64
"""Side in pixels of the pictures in which colours are aligned and compared."""

LINE_BLUR = 1.0
LINE_SCALE = 10.0
LINE_FLOOR = 1.2
CHROMA_GAIN = 1.6
"""Weight of a and b relative to L: enamel fields differ more in hue than in lightness, and reflections
disturb chroma less."""

MIN_SPREAD = 8.0


_LINEAR = as_floats(linear(np.arange(256) / 255))


@dataclass(frozen=True)
class Portrait:
    """A reduced crop: `rgb` (PORTRAIT_SIDE, PORTRAIT_SIDE, 3) and soft `mask` (PORTRAIT_SIDE, PORTRAIT_SIDE;
    0 to 255)."""

    rgb: Image
    mask: Image

    @classmethod
    def of(cls, crop: Image, mask: Image) -> Portrait:
        """The portrait of a square crop and its mask."""
        size = (PORTRAIT_SIDE, PORTRAIT_SIDE)
        return cls(resized(crop, size), resized(mask, size))

    @cached_property
    def frame(self) -> Matrix:
        """3x3 from unit coordinates (one unit is one standard deviation of the silhouette) to crop pixels.

        Whitening by the silhouette's second moments removes any affine distortion of the view, up to a
        rotation.
        """
        moments = cv2.moments(as_floats(self.mask) / 255)
        area = max(moments["m00"], 1.0)
        mixed = moments["mu11"] / area
        covariance = np.array([[moments["mu20"] / area, mixed], [mixed, moments["mu02"] / area]])
        values, vectors = np.linalg.eigh(covariance + np.eye(2) * 0.1)
        frame = np.eye(3)
        frame[:2, :2] = vectors @ np.diag(np.sqrt(values)) @ vectors.T
        frame[:2, 2] = moments["m10"] / area, moments["m01"] / area
        return np.asarray(scaling(PORTRAIT_SIDE, CROP_SIDE) @ frame, np.float64)

    @cached_property
    def coarse(self) -> tuple[Image, Floats]:
        """(rgb, mask 0 to 1) at COARSE_SIDE."""
        size = (COARSE_SIDE, COARSE_SIDE)
        return resized(self.rgb, size), as_floats(resized(self.mask, size) / np.float32(255))

    @cached_property
    def linear(self) -> Floats:
        """Light (COARSE_SIDE, COARSE_SIDE, 3), 0 to 1, proportional to intensity."""
        return _LINEAR[self.coarse[0]]

    @cached_property
    def planes(self) -> Floats:
        """(COARSE_SIDE, COARSE_SIDE, 4): lightness standardised inside the mask, a, b and the mask, scaled so
        that one unit of each is about equally informative; zero outside the mask."""
        small, mask = self.coarse
        lab = lab_of_srgb(small)
        weight = mask / max(float(mask.sum()), 1.0)
        mean = float((lab[..., 0] * weight).sum())
        spread = max(float(np.sqrt((np.square(lab[..., 0] - mean) * weight).sum())), MIN_SPREAD)
        lightness = (lab[..., 0] - mean) / spread
        return as_floats(np.dstack([lightness * mask, lab[..., 1:] / 25 * mask[..., None], 2 * mask]))

    @cached_property
    def lines(self) -> Floats:
        """Line field (PORTRAIT_SIDE, PORTRAIT_SIDE, 2): see `line_field`."""
        return line_field(self.rgb, as_floats(self.mask / 255))


def line_field(rgb: Image, mask: Floats) -> Floats:
    """Strength and direction of edges as vectors of the doubled angle, so that dark-to-light and
    light-to-dark edges are the same: polished metal is darker or brighter than its enamel depending on what
    it reflects.

    The field comes from the structure tensor over L, a and b, divided by the mean strength of the
    neighbourhood, so that a line on a pale field counts as much as one on a vivid field.
    """
    lab = cv2.multiply(lab_of_srgb(rgb), np.array([1.0, CHROMA_GAIN, CHROMA_GAIN, 0.0]))
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.8)
    gx = as_floats(cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32))
    gy = as_floats(cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32))
    cosine = dot(gx, gx) - dot(gy, gy)
    sine = 2 * dot(gx, gy)
    root = np.sqrt(np.sqrt(cosine * cosine + sine * sine) + 1e-6)
    field = as_floats(cv2.GaussianBlur(cv2.merge([cosine / root, sine / root]), (0, 0), LINE_BLUR))
    power = dot(field, field) * mask
    small = (PORTRAIT_SIDE // 4, PORTRAIT_SIDE // 4)
    stacked = cv2.resize(cv2.merge([power, mask]), small, interpolation=cv2.INTER_AREA)
    around = as_floats(
        cv2.resize(cv2.GaussianBlur(stacked, (0, 0), LINE_SCALE / 4), (PORTRAIT_SIDE, PORTRAIT_SIDE))
    )
    strength, share = cv2.split(around)
    level = np.sqrt(strength / np.maximum(share, 1e-3)) + LINE_FLOOR
    return as_floats(cv2.divide(field, cv2.merge([level, level])))
