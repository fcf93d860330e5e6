"""Reading and exporting, the index file, and the stamp as a key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import Floats
from pinactors.analysis.matching import stamp_key
from pinactors.analysis.matching.features import CHANNELS, RINGS, SECTORS
from pinactors.analysis.model import CatalogPin, StampReading
from pinactors.catalog import index
from pinactors.catalog.importer import import_catalog
from pinactors.catalog.reader import Catalog
from tests.catalog import folders


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("pins")
    rows = [folders.sale(0), folders.sale(0, sold_at="2025-07-01", currency="EUR"), folders.sale(2)]
    changes = {1: {"brand": "", "year": "", "name": 'Quote " and, comma', "factory_code": ""}}
    source = folders.write_folder(folder / "in", range(3), back=False, sales=rows, changes=changes)
    (source / "DEMONSTRATION").touch()
    import_catalog(source, folder / "catalog")
    return Catalog.open(folder / "catalog")


def test_list_and_search(catalog: Catalog) -> None:
    assert [pin.pin_id for pin in catalog.pins()] == ["T000", "T001", "T002"]
    assert [pin.pin_id for pin in catalog.pins(limit=1, offset=1)] == ["T001"]
    assert [pin.pin_id for pin in catalog.pins("otter 2")] == ["T002"]
    assert [pin.pin_id for pin in catalog.pins("comma")] == ["T001"]
    assert catalog.pins("%") == []
    assert catalog.pins("nothing like it") == []


def test_stats(catalog: Catalog) -> None:
    stats = catalog.stats()
    assert (stats.pins, stats.backs, stats.sales, stats.demonstration) == (3, 0, 3, True)
    assert stats.currencies == {"EUR": 1, "USD": 2}
    assert stats.brands == {"ACME": 2}
    assert stats.years == {2015: 2}
    assert (str(stats.sales_from), str(stats.sales_to)) == ("2025-06-01", "2025-07-01")
    assert stats.bytes > 10_000


def test_export_can_be_imported_again(catalog: Catalog, tmp_path: Path) -> None:
    assert catalog.export(tmp_path / "out") == 3
    report = import_catalog(tmp_path / "out", tmp_path / "again")
    assert (report.added, report.problems, report.sales, report.demonstration) == (3, [], 3, True)
    again = Catalog.open(tmp_path / "again")
    assert again.pins() == catalog.pins()
    assert again.sales("T000") == catalog.sales("T000")


def test_an_absent_catalogue_is_empty(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "absent")
    assert (catalog.size, catalog.version, catalog.demonstration) == (0, "", False)
    assert catalog.pins() == []
    assert catalog.pin("T000") is None
    assert catalog.sales("T000") == ()
    assert catalog.stats().pins == 0
    assert not (tmp_path / "absent").exists(), "looking does not make it"


def test_a_damaged_state_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("{")
    with pytest.raises(ValueError, match="import the catalogue again"):
        Catalog.open(tmp_path)


def layouts(count: int, seed: int = 0) -> Floats:
    shape = (count, RINGS, SECTORS, CHANNELS)
    found = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return np.asarray(found / np.sqrt((found**2).sum((1, 2, 3), keepdims=True)), np.float32)


def test_index_finds_adds_and_replaces(tmp_path: Path) -> None:
    known = layouts(300)
    name = index.build(tmp_path, 1, None, enumerate(known))
    (found,) = index.SearchIndex(tmp_path / name).search([np.roll(known[7], 3, axis=1)], 3)
    assert found[0][0] == 7, "turned, it is still the same"
    assert found[0][1] == pytest.approx(1, abs=0.01)
    assert found[1][1] < 0.5

    other = layouts(2, seed=1)
    state = index.State("v", 1, name, 300, False, 1)
    later = index.build(tmp_path, 2, state, [(7, other[0]), (900, other[1])])
    searcher = index.SearchIndex(tmp_path / later)
    (replaced, added, gone, kept) = searcher.search([other[0], other[1], known[7], known[250]], 1)
    assert (replaced[0][0], added[0][0], kept[0][0]) == (7, 900, 250)
    assert gone[0][1] < 0.6, "the old layout is no longer found"

    index.write_state(tmp_path, dataclasses.replace(state, index=later))
    left = {path.name for path in (tmp_path / "index").iterdir()}
    assert left == {"00000002.usearch", "00000002.layouts"}


PIN = CatalogPin("T", "T", (), None, 2015, 300, None, "FAC-060122-15240")


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (StampReading(), 0.0),
        (StampReading(factory_code="fac 060122 15240"), stamp_key.EXACT_CODE),
        (StampReading(factory_code="FAC-060123-15240"), stamp_key.NEAR_CODE),
        (StampReading(factory_code="FAC-999888-01001"), stamp_key.OTHER_CODE),
        (StampReading(likely={"factory_code": "FAC-999888-01001"}), stamp_key.OTHER_CODE / 2),
        (StampReading(likely={"factory_code": "FAC-060122-15240"}), stamp_key.EXACT_CODE),
        (StampReading(factory_code="FAC-060122-00240"), stamp_key.NEAR_CODE),
        (StampReading(factory_code="FAC-060777-15240", factory_code_confidence=0.9), 0.0),
        (StampReading(year=2015, edition_size=300), stamp_key.SAME_YEAR + stamp_key.SAME_EDITION),
        (StampReading(year=2014), stamp_key.OTHER_YEAR),
    ],
)
def test_what_a_stamp_says_for_a_pin(reading: StampReading, expected: float) -> None:
    assert stamp_key.log_odds(reading, PIN) == pytest.approx(expected)
