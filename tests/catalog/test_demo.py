"""Tests of the demonstration catalogue: complete, marked and deterministic."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import cv2
import numpy as np
import pytest

from pinactors.catalog.demo import DESIGNS, draw_demo
from pinactors.catalog.importing.rows import DEMONSTRATION_FILE

AS_OF = dt.date(2025, 6, 30)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("demo")
    seen: list[tuple[int, int]] = []
    draw_demo(target, AS_OF, lambda done, total: seen.append((done, total)))
    assert seen == [(n, len(DESIGNS)) for n in range(1, len(DESIGNS) + 1)]
    return target


def test_the_folder_is_an_import_folder_with_the_mark(folder: Path) -> None:
    pins = read(folder / "pins.csv")
    assert len(pins) == len(DESIGNS) >= 24
    assert (folder / DEMONSTRATION_FILE).is_file()
    for pin in pins:
        for side in ("front_image", "back_image"):
            picture = cv2.imread(str(folder / pin[side]))
            assert picture is not None
            assert picture.shape == (640, 640, 3)


def test_names_and_codes_are_unique_and_consistent(folder: Path) -> None:
    pins = read(folder / "pins.csv")
    assert len({pin["pin_id"] for pin in pins}) == len({pin["name"] for pin in pins}) == len(pins)
    for pin in pins:
        code = pin["factory_code"]
        assert code.startswith("FAC-")
        assert len(code) == 16
        assert int(code[11:13]) == int(pin["year"]) % 100, "the code's year is the stamp's"
        assert 1 <= int(code[13:]) <= 366


def test_sales_lie_in_the_year_before(folder: Path) -> None:
    sales = read(folder / "sales.csv")
    dates = [dt.date.fromisoformat(sale["sold_at"]) for sale in sales]
    assert min(dates) > AS_OF - dt.timedelta(days=365)
    assert max(dates) < AS_OF
    counts = {design.pin_id: sum(sale["pin_id"] == design.pin_id for sale in sales) for design in DESIGNS}
    assert counts == {design.pin_id: design.sales for design in DESIGNS}
    assert {0, 2} <= set(counts.values()), "pins nobody sold and thin ones must be in it"
    for design in DESIGNS:
        mint = [float(s["price"]) for s in sales if s["pin_id"] == design.pin_id and s["condition"] == "mint"]
        if len(mint) >= 10:
            assert np.median(mint) == pytest.approx(design.value, rel=0.2)


def test_the_same_day_draws_the_same_catalogue(folder: Path, tmp_path: Path) -> None:
    draw_demo(tmp_path, AS_OF, designs=DESIGNS[:2])
    drawn = [path for path in tmp_path.rglob("*") if path.suffix == ".jpg"]
    assert len(drawn) == 4
    for path in drawn:
        assert (folder / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()
    for table in ("pins.csv", "sales.csv"):
        assert (folder / table).read_text().startswith((tmp_path / table).read_text())
