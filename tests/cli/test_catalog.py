"""Tests of `pinactors catalog`: imports, exports, statistics, and what is told of bad rows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pinactors.catalog.demo import DESIGNS
from pinactors.catalog.importing.importer import exclusive
from pinactors.cli import terminal
from pinactors.settings import Settings
from tests.cli.samples import call


def test_a_catalogue_goes_in_is_shown_and_comes_out(drawn: Path, tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    result = call("catalog", "import", drawn, *data)
    assert result.exit_code == 0, result.output
    assert "3 pins added" in result.stdout
    assert "importing 3/3" in result.stderr, "a log has lines where a terminal has a bar"
    assert "3 unchanged" in call("catalog", "import", drawn, *data).stdout

    listed = call("catalog", "list", *data)
    assert all(design.name in listed.stdout for design in DESIGNS[:3])
    assert "demonstration" in listed.stderr
    found = call("catalog", "list", "Gustav", *data).stdout
    assert "DEMO-02" in found
    assert "DEMO-01" not in found
    first = call("catalog", "list", "--limit", "1", *data)
    assert "DEMO-02" not in first.stdout
    assert "--offset 1" in first.stderr

    shown = call("catalog", "show", "DEMO-01", *data).stdout
    assert "Marlo the Fox" in shown
    assert "FAC-071204-19122" in shown
    assert "USD" in shown
    missing = call("catalog", "show", "DEMO-99", *data)
    assert missing.exit_code == 1
    assert "there is no pin DEMO-99" in missing.stderr
    assert f"`{terminal.command('catalog', 'list', *data)}` shows them" in missing.stderr, "of that folder"

    assert "pins" in call("catalog", "stats", *data).stdout
    assert call("catalog", "export", tmp_path / "out", *data).exit_code == 0
    assert (tmp_path / "out" / "DEMONSTRATION").exists()
    assert "3 pins added" in call("catalog", "import", tmp_path / "out", "--data", tmp_path / "second").stdout


def test_a_catalogue_is_published_but_not_during_an_import(drawn: Path, tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    assert call("catalog", "import", drawn, *data).exit_code == 0
    published = call("catalog", "publish", *data)
    assert published.exit_code == 0, published.output
    assert "which is the latest version now" in published.stdout
    with exclusive(Settings(data=tmp_path / "data").catalog_folder):
        refused = call("catalog", "publish", *data)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "is being imported or published: try again when that has ended" in refused.stderr


def test_stats_name_the_pins_whose_back_is_missing(drawn: Path, tmp_path: Path) -> None:
    source = shutil.copytree(drawn, tmp_path / "source")
    text = (source / "pins.csv").read_text("utf-8").replace("images/DEMO-02_back.jpg", "")
    assert text != (source / "pins.csv").read_text("utf-8")
    (source / "pins.csv").write_text(text, "utf-8")
    data = ("--data", tmp_path / "data")
    assert call("catalog", "import", source, *data).exit_code == 0
    said = call("catalog", "stats", *data).stdout
    assert "1 pins have no back picture" in said
    assert "to make verdicts more often possible for DEMO-02." in said


def test_bad_rows_are_told_with_their_line_and_make_the_status_1(drawn: Path, tmp_path: Path) -> None:
    text = (drawn / "pins.csv").read_text()
    source = tmp_path / "source"
    shutil.copytree(drawn / "images", source / "images")
    (source / "pins.csv").write_text(text.replace("DEMO-02_front.jpg", "gone.jpg"))
    result = call("catalog", "import", source, "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "pins.csv:3" in result.stderr
    assert "2 pins added" in result.stdout


def test_replaced_sales_and_currencies_without_a_rate_are_told(drawn: Path, tmp_path: Path) -> None:
    source = shutil.copytree(drawn, tmp_path / "source")
    data = ("--data", tmp_path / "data")
    assert "replaced" not in call("catalog", "import", source, *data).stdout
    sale = "DEMO-01,2025-06-01,5,{},mint,shop\n"
    header = "pin_id,sold_at,price,currency,condition,source\n"
    (source / "sales.csv").write_text(header + sale.format("USD") + sale.format("SEK"))
    assert re.search(r"\d+ earlier sales of 1 pins replaced", call("catalog", "import", source, *data).stdout)
    assert "SEK (no rate) 1" in call("catalog", "stats", *data).stdout


def test_an_import_of_nothing_says_so(tmp_path: Path) -> None:
    result = call("catalog", "import", tmp_path / "absent")
    assert result.exit_code == 1
    assert "pins.csv" in result.stderr


def test_an_empty_catalogue_says_how_to_fill_it(tmp_path: Path) -> None:
    result = call("catalog", "list", "--data", tmp_path / "data")
    assert result.exit_code == 0
    assert "catalog import" in result.stderr
