"""Tests of the vocabulary: the cells of descriptors and their signatures within a cell."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.analysis.matching import vocabulary
from tests.analysis.matching.poses import features_of


def test_the_nearest_cells_come_first() -> None:
    words, descriptors = vocabulary.shipped(), features_of(2).descriptors[:40]
    cells = words.cells(descriptors, 4)
    halves = descriptors.reshape(-1, 2, vocabulary.HALF)
    far = [np.square(halves[:, side, None] - words.centres[side]).sum(2) for side in (0, 1)]
    every = (far[0][:, :, None] + far[1][:, None, :]).reshape(len(descriptors), vocabulary.CELLS)
    found = np.take_along_axis(every, cells, 1)
    assert found == pytest.approx(np.sort(every, axis=1)[:, :4], abs=1e-5)


def test_signatures_of_near_descriptors_differ_in_few_bits() -> None:
    words, descriptors = vocabulary.shipped(), features_of(2).descriptors[:40]
    cells = words.cells(descriptors, 1)
    noise = np.random.default_rng(1).normal(0, 1, descriptors.shape)
    noise *= 0.05 / np.linalg.norm(noise, axis=1, keepdims=True)

    def differing(others: np.typing.NDArray[np.floating]) -> float:
        """The mean number of bits in which the signatures in the same cells differ."""
        one, other = (words.signatures(each, cells)[:, 0] for each in (descriptors, others))
        return float(np.bitwise_count(one ^ other).sum(1).mean())

    assert differing(descriptors) == 0
    assert differing((descriptors + noise).astype(np.float32)) < 10
    assert differing(descriptors[::-1]) > 30
