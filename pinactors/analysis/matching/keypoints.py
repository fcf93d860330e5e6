"""Local features of a picture: SIFT keypoints (Lowe 2004) on lightness and on both colour axes.

Enamel is flat colour between metal lines, and the edge between two fields of the same lightness is visible
only on the colour axes. Each axis of L*a*b* is therefore described separately, and a feature is compared only
with features of its own axis. Descriptors are RootSIFT (Arandjelović and Zisserman 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.colorimetry import lab_of_srgb
from pinactors.analysis.imaging.geometry import as_floats, resized, size_within
from pinactors.analysis.model import Floats, Image, Matrix

VERSION = 3
"""Version of the features that a catalogue stores; a catalogue with another version must be rebuilt."""

AXES = 3
DIMENSIONS = 128

MIN_KEYPOINT_CONTRAST = 0.02
"""Least contrast of a keypoint (OpenCV's unit): half of Lowe's value, because enamel fields differ little."""

CHROMA_GAIN = 1.5
"""Grey levels per unit of a* or b*: enamel's colours span about 160 units."""

GRID_SIDE = 8
"""Number of parts in each direction over which the selected keypoints are distributed, so that a patterned
cloth in one corner does not displace the keypoints of a plain pin."""

TEXTURE_LEVELS, TEXTURED_SHARE = 10, 0.33
"""A picture is textured if a larger share of its pixels has a Laplacian of more than this many grey levels.
Of 36 drawn and real photographs those above the share had 1,100 to 7,900 keypoints of lightness, the others
at most 1,250; one call costs less up to about 2,000 keypoints. Only the cost depends on it."""

FULL_SCALE = 0.4
"""Value of a RootSIFT component that is stored as 15; fewer than about one in a thousand are larger."""

_STORED = np.dtype(
    [
        ("point", "<u2", 2),
        ("size", "<f2"),
        ("angle", "u1"),
        ("axis", "u1"),
        ("descriptor", "u1", DIMENSIONS // 2),
    ]
)
"""One stored feature, 72 bytes: position in 1/64 pixel, diameter, direction in 1/256 of a full circle, axis,
four bits per component."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one picture: `points` (n, 2) in its pixels, `sizes` (n) diameters in its pixels,
    `angles` (n) in radians, `axes` (n): 0 lightness, 1 a*, 2 b*; `descriptors` (n, 128), each of length 1."""

    points: Floats
    sizes: Floats
    angles: Floats
    axes: npt.NDArray[np.uint8]
    descriptors: Floats

    def __len__(self) -> int:
        return len(self.points)

    def take(self, which: npt.NDArray[Any]) -> Features:
        """The features at the indices `which`, or those selected by the mask `which`."""
        return Features(
            self.points[which],
            self.sizes[which],
            self.angles[which],
            self.axes[which],
            self.descriptors[which],
        )

    def moved(self, similarity: Matrix) -> Features:
        """The same features transformed by a similarity (3x3, without mirroring)."""
        matrix = similarity.astype(np.float32)
        scale = np.hypot(matrix[0, 0], matrix[1, 0])
        rotation = np.arctan2(matrix[1, 0], matrix[0, 0])
        points = self.points @ matrix[:2, :2].T + matrix[:2, 2]
        return Features(points, self.sizes * scale, self.angles + rotation, self.axes, self.descriptors)

    def encode(self) -> bytes:
        """The features as bytes for storage. Positions must be 0 to 1,023 pixels; components are reduced to
        four bits."""
        rows = np.zeros(len(self), _STORED)
        rows["point"] = np.clip(np.round(self.points * 64), 0, 65535)
        rows["size"] = self.sizes
        rows["angle"] = np.round(self.angles * (128 / np.pi)).astype(np.int64) % 256
        rows["axis"] = self.axes
        levels = np.clip(np.round(self.descriptors * (15 / FULL_SCALE)), 0, 15).astype(np.uint8)
        rows["descriptor"] = levels[:, 0::2] << 4 | levels[:, 1::2]
        return rows.tobytes()

    @classmethod
    def decode(cls, data: bytes) -> Features:
        """The features that `encode` stored. Raises `ValueError` if the data is damaged."""
        rows = np.frombuffer(data, _STORED)
        packed = rows["descriptor"]
        levels = np.empty((len(rows), DIMENSIONS), np.float32)
        levels[:, 0::2] = packed >> 4
        levels[:, 1::2] = packed & 15
        lengths = np.sqrt(np.einsum("nd,nd->n", levels, levels))[:, None]
        return cls(
            rows["point"].astype(np.float32) / np.float32(64),
            rows["size"].astype(np.float32),
            rows["angle"].astype(np.float32) * np.float32(np.pi / 128),
            rows["axis"].copy(),
            levels / np.maximum(lengths, np.float32(1e-6)),
        )


def concatenated(*parts: Features) -> Features:
    """The features of all `parts`, which must be in the pixels of one picture."""
    return Features(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Features))
    )


def extract(rgb: Image, mask: Image | None, sides: tuple[int, int], count: int) -> Features:
    """At most `count` features of `rgb` where `mask` is not 0.

    `sides` are the lengths to which the picture's longer side is reduced for lightness and for the colour
    axes; half of the features are for lightness, a quarter for each colour axis.
    """
    parts = [_of_plane(rgb, mask, (0,), sides[0], count // 2)]
    parts += [_of_plane(rgb, mask, (1, 2), sides[1], count // 4)]
    rows = [row for part in parts for row in part]
    return Features(*(np.concatenate(columns) for columns in zip(*rows, strict=True)))


def _of_plane(
    rgb: Image, mask: Image | None, axes: Sequence[int], side: int, count: int
) -> list[tuple[npt.NDArray[Any], ...]]:
    """The columns of `Features` for each of `axes`."""
    height, width = rgb.shape[:2]
    size = size_within((width, height), side, least=8)
    lab = lab_of_srgb(resized(rgb, size))
    within = None if mask is None else cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    ratio = np.array([width / size[0], height / size[1]], np.float32)
    sift: Any = cv2.SIFT_create(  # type: ignore[attr-defined]  # its annotations lack it
        contrastThreshold=MIN_KEYPOINT_CONTRAST
    )
    found: list[tuple[npt.NDArray[Any], ...]] = []
    for axis in axes:
        plane = lab[..., 0] * 2.55 if axis == 0 else lab[..., axis] * CHROMA_GAIN + 128
        grey = np.clip(plane, 0, 255).astype(np.uint8)
        if within is None and _textured(grey):
            # Up to ten times as many keypoints are found as are kept. Describing only the kept ones costs
            # less, although the blurred pictures are built a second time.
            detected = sift.detect(grey, None)
            keypoints = [detected[at] for at in _spread(detected, grey.shape, count)]
            keypoints, described = sift.compute(grey, keypoints)
        else:  # one call costs less, and gives the same
            detected, described = sift.detectAndCompute(grey, within)
            chosen = _spread(detected, grey.shape, count)
            keypoints = [detected[at] for at in chosen]
            described = None if described is None else described[chosen]
        descriptors = np.zeros((0, DIMENSIONS), np.float32) if described is None else described
        descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-6))
        points = np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2)
        found.append(
            (
                (points + np.float32(0.5)) * ratio - np.float32(0.5),
                np.array([keypoint.size for keypoint in keypoints], np.float32) * ratio.mean(),
                np.radians(np.array([keypoint.angle for keypoint in keypoints], np.float32)),
                np.full(len(keypoints), axis, np.uint8),
                as_floats(descriptors),
            )
        )
    return found


def _textured(grey: Image) -> bool:
    """Whether a picture has so much texture that many more keypoints will be found than are kept."""
    return float((np.abs(cv2.Laplacian(grey, cv2.CV_16S)) > TEXTURE_LEVELS).mean()) > TEXTURED_SHARE


def _spread(keypoints: Sequence[Any], shape: tuple[int, ...], count: int) -> npt.NDArray[np.intp]:
    """Indices of `count` keypoints: the strongest of each part of the picture, then the second strongest of
    each, and so on."""
    if len(keypoints) <= count:
        return np.arange(len(keypoints))
    points = np.array([keypoint.pt for keypoint in keypoints])
    strength = np.array([keypoint.response for keypoint in keypoints])
    parts = np.minimum((points * GRID_SIDE / (shape[1], shape[0])).astype(int), GRID_SIDE - 1)
    part = parts[:, 1] * GRID_SIDE + parts[:, 0]
    order = np.lexsort((-strength, part))
    starts = np.searchsorted(part[order], np.arange(GRID_SIDE * GRID_SIDE))
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order)) - starts[part[order]]
    return np.lexsort((-strength, rank))[:count]
