"""What a pin looks like, as numbers that can be searched: a layout of its colours and local features.

Both are taken from the crop (`Cutout.rgb` with its mask), whose orientation is the photograph's: the layout is
a polar grid, in which a turn of the pin is a shift along one axis; local features carry their own direction.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.model import Image

Floats = npt.NDArray[np.float32]

VERSION = 1
"""Raised whenever features of the same crop come out different: stored ones are then computed anew."""

RINGS, SECTORS = 6, 24
REACH = 2.15
"""Radius of the layout in standard deviations of the silhouette: a disc ends at 2.0, a long bar at 1.7."""

DIMENSIONS = RINGS * SECTORS * 4

LIGHTNESS_KEYPOINTS, CHROMA_KEYPOINTS = 320, 110
CHROMA_SIDE = 256
"""a and b are searched at half the crop's size: enamel fields are large, and chroma is noisier than lightness."""


@dataclass(frozen=True, slots=True)
class LocalFeatures:
    """Keypoints of the crop: `points` x, y, `sizes` diameters (crop pixels), `angles` degrees, `channels` 0 for
    lightness, 1 and 2 for a and b, sorted by channel; `descriptors` RootSIFT as uint8 (n, 128)."""

    points: Floats
    sizes: Floats
    angles: Floats
    channels: npt.NDArray[np.uint8]
    descriptors: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)

    def encode(self) -> bytes:
        count = struct.pack("<I", len(self))
        geometry = np.column_stack([self.points, self.sizes, self.angles]).astype("<f2").tobytes()
        return count + geometry + self.channels.tobytes() + self.descriptors.tobytes()

    @classmethod
    def decode(cls, data: bytes) -> LocalFeatures:
        (count,) = struct.unpack_from("<I", data)
        geometry = np.frombuffer(data, "<f2", count * 4, 4).reshape(count, 4).astype(np.float32)
        channels = np.frombuffer(data, np.uint8, count, 4 + count * 8)
        descriptors = np.frombuffer(data, np.uint8, count * 128, 4 + count * 9).reshape(count, 128)
        return cls(
            geometry[:, :2].copy(), geometry[:, 2].copy(), geometry[:, 3].copy(), channels, descriptors
        )


@dataclass(frozen=True, slots=True)
class Appearance:
    """`layout` (RINGS, SECTORS, 4): L, a, b and silhouette on a polar grid; `colours`: a histogram."""

    layout: Floats
    colours: Floats


def turned(layout: Floats) -> Floats:
    """The layout as search vectors (SECTORS, DIMENSIONS): one for each turn of the pin, the first unturned."""
    return np.stack([np.roll(layout, shift, axis=1).ravel() for shift in range(SECTORS)])


def silhouette_frame(mask: Image) -> npt.NDArray[np.float64]:
    """The 2x3 affine that maps unit coordinates (one standard deviation each way) to crop pixels.

    It undoes, up to a turn, whatever affine view the silhouette was seen from (whitening by second moments).
    """
    moments = cv2.moments(mask, binaryImage=True)
    area = max(moments["m00"], 1.0)
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area
    values, vectors = np.linalg.eigh(covariance + np.eye(2))
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    return np.column_stack([root, [moments["m10"] / area, moments["m01"] / area]])


def appearance(rgb: Image, mask: Image) -> Appearance:
    """Layout and colours of the pin inside `mask`."""
    small = cv2.resize(rgb, (128, 128), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    weight = inside / max(float(inside.sum()), 1.0)
    lightness = lab[..., 0]
    mean = float((lightness * weight).sum())
    spread = max(float(np.sqrt((np.square(lightness - mean) * weight).sum())), 8.0)
    planes = np.dstack(
        [
            (lightness - mean) / spread * inside,
            lab[..., 1] / 25 * inside,
            lab[..., 2] / 25 * inside,
            inside * 2,
        ]
    ).astype(np.float32)
    frame = silhouette_frame(mask)
    fine = 4
    radii = (np.arange(RINGS * 2) + 0.5) / (RINGS * 2) * REACH
    turns = np.arange(SECTORS * fine) / (SECTORS * fine) * 2 * np.pi
    grid = np.stack(np.broadcast_arrays(radii[:, None] * np.cos(turns), radii[:, None] * np.sin(turns)), -1)
    places = (grid @ frame[:, :2].T + frame[:, 2]) / mask.shape[0] * 128 - 0.5
    polar = cv2.remap(planes, places.astype(np.float32), None, cv2.INTER_LINEAR)
    layout = polar.reshape(RINGS, 2, SECTORS, fine, 4).mean((1, 3))
    layout *= np.sqrt((np.arange(RINGS) + 0.5) / RINGS)[:, None, None]
    layout /= max(float(np.linalg.norm(layout)), 1e-6)
    return Appearance(layout.astype(np.float32), _colours(lab, inside))


def _colours(lab: Floats, inside: Floats) -> Floats:
    """Square-root histogram (Hellinger) of hue weighted by chroma, three chroma levels and lightness of greys."""
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = (np.arctan2(lab[..., 2], lab[..., 1]) / (2 * np.pi)) % 1
    vivid = inside * np.clip((chroma - 8) / 12, 0, 1)
    grey = inside - vivid
    histogram = np.zeros((24 + 6,), np.float32)
    position = hue * 24
    low = np.floor(position).astype(int)
    share = position - low
    np.add.at(histogram, low % 24, vivid * (1 - share))
    np.add.at(histogram, (low + 1) % 24, vivid * share)
    np.add.at(histogram, 24 + np.clip(lab[..., 0] / 100 * 6, 0, 5).astype(int), grey)
    return np.sqrt(histogram / max(float(histogram.sum()), 1e-6)).astype(np.float32)


def local_features(rgb: Image, mask: Image) -> LocalFeatures:
    """RootSIFT (Arandjelović and Zisserman 2012) on lightness, and on a and b stretched and at half size."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    half = cv2.resize(lab, (CHROMA_SIDE, CHROMA_SIDE), interpolation=cv2.INTER_AREA)
    wide = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    narrow = cv2.resize(wide, (CHROMA_SIDE, CHROMA_SIDE), interpolation=cv2.INTER_NEAREST)
    found = [_sift(lab[..., 0], wide, LIGHTNESS_KEYPOINTS, 0, 1.0)]
    scale = mask.shape[0] / CHROMA_SIDE
    found += [_sift(_stretch(half[..., i], narrow), narrow, CHROMA_KEYPOINTS, i, scale) for i in (1, 2)]
    parts = [part for part in found if part is not None]
    if not parts:
        empty = np.zeros(0, np.float32)
        return LocalFeatures(
            np.zeros((0, 2), np.float32), empty, empty, np.zeros(0, np.uint8), np.zeros((0, 128), np.uint8)
        )
    geometry = np.concatenate([part[0] for part in parts])
    channels = np.concatenate([part[1] for part in parts])
    descriptors = np.concatenate([part[2] for part in parts])
    return LocalFeatures(geometry[:, :2], geometry[:, 2], geometry[:, 3], channels, descriptors)


def _stretch(plane: Image, mask: Image) -> Image:
    """The plane with 128 kept in place and its 2nd and 98th percentile inside `mask` brought to full range."""
    values = plane[mask > 0]
    if not values.size:
        return plane
    reach = max(12.0, float(np.abs(np.percentile(values, [2, 98]) - 128).max()))
    return np.clip((plane.astype(np.float32) - 128) * (120 / reach) + 128, 0, 255).astype(np.uint8)


def _sift(
    plane: Image, mask: Image, count: int, channel: int, scale: float
) -> tuple[Floats, npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None:
    detector = cv2.SIFT_create(nfeatures=count, contrastThreshold=0.02, edgeThreshold=15)
    keypoints, descriptors = detector.detectAndCompute(plane, mask)
    if descriptors is None or not len(keypoints):
        return None
    keypoints, descriptors = keypoints[:count], descriptors[:count]
    geometry = np.array([(*k.pt, k.size, k.angle) for k in keypoints], np.float32)
    geometry[:, :3] *= scale
    total = np.maximum(descriptors.sum(1, keepdims=True), 1e-6)
    rooted = np.minimum(np.sqrt(descriptors / total) * 512, 255).astype(np.uint8)
    return geometry, np.full(len(keypoints), channel, np.uint8), rooted
