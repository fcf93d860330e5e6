"""Tests of the demonstration catalogue: complete, marked, deterministic, with clearly different pins."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pinactors.catalog.demo import DESIGNS, draw_demo, photograph, render
from pinactors.catalog.importing.rows import DEMONSTRATION_FILE
from pinactors.protocol import View

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


def thumbnail(pin_side: render.PinSide) -> Any:
    return cv2.resize(
        pin_side.colour * (pin_side.mask > 0)[..., None], (24, 24), interpolation=cv2.INTER_AREA
    )


def overlap(one: render.PinSide, other: render.PinSide) -> float:
    union = np.count_nonzero((one.mask > 0) | (other.mask > 0))
    return float(np.count_nonzero((one.mask > 0) & (other.mask > 0)) / union)


def test_pins_are_clearly_different() -> None:
    faces = {design.name: render.front(design, 160) for design in DESIGNS}
    small = {name: thumbnail(pin_side) for name, pin_side in faces.items()}
    for one, other in itertools.combinations(faces, 2):
        difference = float(np.abs(small[one] - small[other]).mean())
        assert difference > 0.05, (one, other)
    pairs = itertools.combinations(faces.items(), 2)
    alike = [(one, other) for (one, first), (other, second) in pairs if overlap(first, second) > 0.97]
    assert len(alike) <= 1, f"only the two round pins share an outline: {alike}"


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.pin_id)
def test_backs_carry_a_stamp_that_fits_and_two_posts(design: Any) -> None:
    side = 320
    pin_side = render.back(design, side)
    x, y, width, height = render.stamp_box(design, side)
    assert (pin_side.mask[y : y + height, x : x + width] > 0).mean() > 0.98
    posts = render.post_places(design, side)
    assert len(set(posts)) == 2
    for post_x, post_y in posts:
        assert pin_side.mask[post_y, post_x] > 0
        assert not (x <= post_x < x + width and y <= post_y < y + height)
    mirrored = render.front(design, side).mask[:, ::-1]
    assert np.array_equal(mirrored, pin_side.mask), "front and back are one piece of metal"


def test_the_waffle_runs_off_the_edge_and_older_pins_have_none() -> None:
    def cells(design: Any) -> float:
        """The correlation of the relief with itself one lattice step away, on a ring near the pin's edge."""
        side = 680
        pin_side = render.back(design, side)
        depth = cv2.distanceTransform(pin_side.mask, cv2.DIST_L2, 5)
        ring = (depth > 16) & (depth < 46)
        step = round(side / 17)
        level = pin_side.relief - np.median(pin_side.relief[ring])
        plain = np.ones_like(pin_side.mask)
        x, y, width, height = render.stamp_box(design, side)
        cv2.rectangle(plain, (x - 4, y - 4), (x + width + 4, y + height + 4), 0, -1)
        for post in render.post_places(design, side):
            cv2.circle(plain, post, 44, 0, -1)
        ring &= plain > 0
        both = ring & np.roll(ring, step, axis=1)
        return float(np.corrcoef(level[both], np.roll(level, step, axis=1)[both])[0, 1])

    by_back: dict[str, list[float]] = {"waffle": [], "sandblast": []}
    for design in DESIGNS:
        by_back[design.back].append(cells(design))
    assert min(by_back["waffle"]) > 0.3 > max(by_back["sandblast"])


def test_photographs_are_phone_sized_varied_and_repeatable() -> None:
    design = DESIGNS[0]
    one, again = photograph(design, View.FRONT, 3), photograph(design, View.FRONT, 3)
    assert one == again
    assert photograph(design, View.FRONT, 4) != one
    assert 100_000 < len(one) < 600_000
    picture = cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (1440, 1080, 3)
    border = np.concatenate([picture[:40].reshape(-1, 3), picture[-40:].reshape(-1, 3)])
    middle = picture[520:920, 340:740].reshape(-1, 3)
    assert np.abs(border.mean(axis=0) - middle.mean(axis=0)).max() > 20, "the pin lies in the middle"
    assert border.std(axis=0).max() > 3, "the table has a texture"
