"""Tests of finding all pins on a drawn board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pinactors.analysis.matching.boards import find_all_pins
from pinactors.catalog.reader import Catalog
from tests import drawing


@pytest.mark.parametrize("seeds", [(0, 2, 4, 5)])
def test_each_pin_of_a_board_is_found_once_where_it_is(catalog: Path, seeds: tuple[int, ...]) -> None:
    """The board also has a pin that the catalogue lacks."""
    board = drawing.background("cloth", 1600, 1200, 3)
    places = [(0.2, 0.27), (0.5, 0.27), (0.8, 0.27), (0.3, 0.73), (0.7, 0.73)]
    for seed, at in zip((*seeds, 11), places, strict=True):
        pin = drawing.pin_front(seed)
        board = drawing.photograph(pin, board, share=0.38, angle=10 * seed, at=at, noise=0, blur=0).rgb
    source = Catalog.open(catalog)
    with source.connected:
        found = find_all_pins(source, board)
        names = {number: pin.pin_id for number, pin in source.numbered(range(1, 20)).items()}
    assert sorted(names[one.candidate.number] for one in found) == [f"T{seed:03d}" for seed in seeds]
    assert [one.odds for one in found] == sorted((one.odds for one in found), reverse=True)
    middles = {names[one.candidate.number]: one.outline.mean(0) / (1600, 1200) for one in found}
    for seed, at in zip(seeds, places, strict=False):
        assert np.abs(middles[f"T{seed:03d}"] - at).max() < 0.05


def test_a_board_without_pins_has_none(catalog: Path) -> None:
    source = Catalog.open(catalog)
    with source.connected:
        assert find_all_pins(source, drawing.background("wood", 1600, 1200, 5)) == []
