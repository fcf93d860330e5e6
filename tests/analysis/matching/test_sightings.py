"""Tests of searching a photograph for catalogue pins."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pinactors.analysis.matching import sightings
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from tests import drawing
from tests.catalog import folders


def test_a_pin_known_from_another_view_is_found_by_its_outline(catalog: Path) -> None:
    """The photograph is dark, out of focus and strongly tilted, so its features do not identify the pin."""
    table = drawing.background("grey", 1600, 1200, 5)
    pin = drawing.pin_front(0)
    taken = drawing.photograph(pin, table, share=0.22, angle=25, tilt=62, at=(0.35, 0.6), light=0.4, blur=1.5)
    source = Catalog.open(catalog)
    with source.connected:
        number = source.number("T000")
        assert number is not None
        unaided = sightings.find_pins(source, taken.rgb)
        seen = sightings.find_pins(source, taken.rgb, [number])
    assert all(one.odds < sightings.CLAIM_ODDS for one in unaided)
    assert seen[0].candidate.number == number
    assert seen[0].odds >= sightings.CLAIM_ODDS


@pytest.mark.parametrize("seed", [2, 5])
def test_a_small_pin_is_found_in_the_part_around_it(
    catalog: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """At so small a size the pin has too few features in the whole photograph."""
    monkeypatch.setattr(sightings, "PHOTOGRAPH_SIDES", (120, 80))
    table = drawing.background("wood", 1600, 1200, 5)
    taken = drawing.photograph(drawing.pin_front(seed), table, share=0.3, angle=25, tilt=15, at=(0.3, 0.6))
    source = Catalog.open(catalog)
    with source.connected:
        number = source.number(f"T{seed:03d}")
        assert number is not None
        whole = sightings.compare_candidates(source, taken.rgb, sightings.features(taken.rgb), [number])
        seen = sightings.find_pins(source, taken.rgb)
    assert all(one.odds < sightings.CLAIM_ODDS for one in whole)
    assert seen[0].candidate.number == number
    assert seen[0].odds >= sightings.CLAIM_ODDS


def test_the_box_of_a_pin_without_outline_is_around_what_was_found(tmp_path: Path) -> None:
    source = folders.write_folder(tmp_path / "in", [2], back=False)
    row = folders.pin_row(2, back=False) | {"box": "0 0 1 1"}
    folders.write_csv(source / "pins.csv", [*folders.PIN_HEADER, "box"], [row])
    import_catalog(source, tmp_path / "catalog")
    table = drawing.background("wood", 900, 700, 5)
    taken = drawing.photograph(drawing.pin_front(2), table, share=0.5, angle=25, at=(0.4, 0.5))
    catalog = Catalog.open(tmp_path / "catalog")
    with catalog.connected:
        (seen, *_) = sightings.find_pins(catalog, taken.rgb)
    assert not seen.candidate.outlined
    x, y, width, height = sightings.box_of(seen, taken.rgb)
    left, top, across, down = cv2.boundingRect(taken.mask)
    found = np.array([x * 900, y * 700, (x + width) * 900, (y + height) * 700])
    assert np.abs(found - (left, top, left + across, top + down)).max() < 0.15 * max(across, down)
    assert np.ptp(seen.outline, axis=0).max() > 1.3 * max(across, down), "the whole picture's is much larger"
