"""The fixed quantiser of descriptors: assigns a descriptor to a cell and gives its signature within the cell.

An inverted multi-index (Babenko and Lempitsky 2012): each half of a descriptor has 256 centres, and a pair of
centres is a cell, so that 65,536 cells can be trained without a large catalogue. Within its cell a descriptor
is represented by a binary signature: the signs of its residual under a random rotation (Hamming embedding,
Jégou, Douze and Schmid 2008, with fixed thresholds). `vocabulary.npy` has the centres: those of a k-means
(OpenCV's, k-means++, 25 iterations) of each half of 60,000 descriptors of drawn pins; a vocabulary trained on
photographs of real pins did not improve searches.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pinactors.analysis.imaging.geometry import as_floats
from pinactors.analysis.model import Floats

Cells = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

CENTRES = 256
CELLS = CENTRES * CENTRES
HALF = 64
BITS = 128
NEAR_CENTRES = 6
"""Number of nearest centres of each half that are paired to find a descriptor's nearest cells."""


@dataclass(frozen=True)  # no slots: cached properties need a __dict__
class Vocabulary:
    """The centres of the cells: `centres` (2, 256, 64) holds those of each half of a descriptor."""

    centres: Floats

    @functools.cached_property
    def _rotation(self) -> Floats:
        chance = np.random.default_rng(20)
        return as_floats(np.linalg.qr(chance.standard_normal((2 * HALF, BITS)))[0])

    @functools.cached_property
    def _rotated(self) -> tuple[Floats, Floats]:
        return self.centres[0] @ self._rotation[:HALF], self.centres[1] @ self._rotation[HALF:]

    def cells(self, descriptors: Floats, count: int) -> Cells:
        """(n, count): the cells whose centres are nearest to each descriptor, nearest first."""
        near, away = [], []
        for half, centres in zip((descriptors[:, :HALF], descriptors[:, HALF:]), self.centres, strict=True):
            distance = np.einsum("cd,cd->c", centres, centres) - 2 * half @ centres.T
            best = np.argpartition(distance, NEAR_CENTRES, axis=1)[:, :NEAR_CENTRES]
            near.append(best)
            away.append(np.take_along_axis(distance, best, 1))
        total = (away[0][:, :, None] + away[1][:, None, :]).reshape(
            len(descriptors), NEAR_CENTRES * NEAR_CENTRES
        )
        cells = (near[0][:, :, None] * CENTRES + near[1][:, None, :]).reshape(
            len(descriptors), NEAR_CENTRES * NEAR_CENTRES
        )
        best = np.argpartition(total, count, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(total, best, 1), axis=1, kind="stable")
        return np.take_along_axis(cells, np.take_along_axis(best, order, 1), 1).astype(np.int64)

    def signatures(self, descriptors: Floats, cells: Cells) -> Words:
        """(n, count, BITS // 64): the signature of each descriptor in each of its `cells` (n, count)."""
        one, two = self._rotated
        centre = one[cells // CENTRES] + two[cells % CENTRES]
        return np.packbits((descriptors @ self._rotation)[:, None, :] > centre, axis=2).view(np.uint64)


@functools.cache
def shipped() -> Vocabulary:
    """The vocabulary with which every catalogue is indexed."""
    return Vocabulary(np.load(Path(__file__).with_name("vocabulary.npy")).astype(np.float32))
