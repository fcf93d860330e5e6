"""Repeating patterns are distinguished from noise and from chance."""

from __future__ import annotations

import numpy as np

from pinactors.analysis.imaging import lattice


def test_noise_has_no_lattice() -> None:
    noise = np.random.default_rng(3).normal(50, 15, (512, 512)).astype(np.float32)
    found = lattice.lattice(lattice.autocorrelation(noise, np.ones((512, 512), bool)))
    assert found.strength < 0.2


def test_a_grid_keeps_to_a_parallelogram() -> None:
    """Faint figures on a slanted grid are distinguished from the same number at random places."""
    rng = np.random.default_rng(7)
    side, inside = 512, np.ones((512, 512), bool)
    noise = rng.normal(0, 6, (side, side))
    steps = [(x * 61 + y * 30, y * 52) for x in range(-5, 10) for y in range(10)]
    chance = rng.integers(0, side, (len(steps), 2)).tolist()
    strengths = []
    for places in (steps, chance):
        plane = noise.copy()
        for x, y in places:
            plane[max(y, 0) : y + 14, max(x, 0) : x + 14] += 10
        found = lattice.autocorrelation(plane.astype(np.float32), inside, reach=6.0)
        strengths.append(lattice.grid(found))
    assert strengths[0] > lattice.CLEAR_GRID > strengths[1]
