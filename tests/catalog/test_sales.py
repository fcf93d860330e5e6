"""Tests of importing sales and exchange rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.catalog.exporting import export
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from tests.catalog import folders


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


def test_bad_sales_are_named_by_line(target: Path, tmp_path: Path) -> None:
    bad = [{"pin_id": "nobody"}, {"price": "0"}, {"price": "nan"}, {"price": "x"}]
    bad += [{"sold_at": "01/02/2025"}, {"currency": "$"}]
    rows = [folders.sale(0), *(folders.sale(0, **changes) for changes in bad)]
    report = import_catalog(folders.write_folder(tmp_path / "in", [0], back=False, sales=rows), target)
    assert [(problem.file, problem.line) for problem in report.problems] == [
        ("sales.csv", line) for line in range(3, 3 + len(bad))
    ]
    assert report.sales == 1
    assert len(Catalog.open(target).sales("T000")) == 1


def test_sales_that_count_for_less_are_named_by_line(target: Path, tmp_path: Path) -> None:
    rows = [folders.sale(0), folders.sale(0, condition="Near  Mint"), folders.sale(0, condition="")]
    rows += [folders.sale(0, **{"condition": "NM", "currency": unit}) for unit in ("USD", "EUR", "SEK")]
    rows += [folders.sale(0, sold_at="2999-01-01"), folders.sale(0, currency="SEK")]
    folder = folders.write_folder(tmp_path / "in", [0], back=False, sales=rows)
    (folder / "fx.csv").write_text("currency,usd_per_unit\nEUR,1.09\n")
    report = import_catalog(folder, target)
    assert (report.sales, report.problems) == (8, [])
    first, second, third = map(str, report.warnings)
    assert first.startswith("sales.csv:5: condition 'nm' is none of sealed, new, mint,")
    assert first.endswith("(3 rows)")
    assert second.startswith("sales.csv:7: currency SEK has no rate in fx.csv")
    assert second.endswith("(2 rows)")
    assert third.startswith("sales.csv:8: sold_at 2999-01-01 is in the future")
    assert "rows)" not in third


def test_a_condition_and_a_source_are_not_needed(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "in", [0], back=False)
    (folder / "sales.csv").write_text("price;sold_at;pin_id;currency\n12,50;31.12.2025;T000;EUR\n")
    report = import_catalog(folder, target)
    assert (report.sales, report.problems, report.warnings) == (1, [], [])
    (sold,) = Catalog.open(target).sales("T000")
    assert (sold.price, sold.currency, sold.condition, sold.source) == (12.5, "EUR", "", "")
    (folder / "sales.csv").write_text("price;sold_at;pin_id\n12,50;31.12.2025;T000\n")
    with pytest.raises(ValueError, match=r"sales\.csv has no column currency; read with semicolons"):
        import_catalog(folder, target)


def test_one_currency_needs_no_rate(target: Path, tmp_path: Path) -> None:
    rows = [folders.sale(0, currency="EUR")]
    assert not import_catalog(folders.write_folder(tmp_path / "in", [0], sales=rows), target).warnings


def test_earlier_sales_that_are_replaced_are_counted(target: Path, tmp_path: Path) -> None:
    first = [folders.sale(0), folders.sale(0), folders.sale(1)]
    folder = folders.write_folder(tmp_path / "in", [0, 1, 2], back=False, sales=first)
    replaced = []
    for rows in (first, first, [folders.sale(0), folders.sale(2)]):
        folders.write_csv(folder / "sales.csv", folders.SALE_HEADER, rows)
        report = import_catalog(folder, target)
        replaced.append((report.sales_replaced, report.pins_resold))
    assert replaced == [(0, 0), (0, 0), (2, 1)], "the same file again replaces nothing"
    assert len(Catalog.open(target).sales("T001")) == 1


def test_exchange_rates_come_along_and_bad_ones_are_named_by_line(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "in", [0], back=False)
    before = import_catalog(folder, target).version
    assert Catalog.open(target).rates() == {}
    (folder / "fx.csv").write_text("currency,usd_per_unit\nEUR,1.09\nGBP,none\n£,1.2\neur,1.1\nJPY,0.0067\n")
    report = import_catalog(folder, target)
    assert [(problem.file, problem.line) for problem in report.problems] == [("fx.csv", n) for n in (3, 4, 5)]
    assert report.version != before, "an open reader has to notice"
    assert Catalog.open(target).rates() == {"EUR": 1.09, "JPY": 0.0067}
    export(Catalog.open(target), tmp_path / "out")
    import_catalog(tmp_path / "out", tmp_path / "again")
    assert Catalog.open(tmp_path / "again").rates() == Catalog.open(target).rates()
    (folder / "fx.csv").write_text("currency,dollars\nEUR,1.09\n")
    with pytest.raises(ValueError, match="usd_per_unit"):
        import_catalog(folder, target)
