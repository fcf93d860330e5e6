"""Tests of the rows of a table of pins: bad ones are named by line and left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.importing.rows import ImportReport
from pinactors.catalog.reader import Catalog
from tests.catalog import folders


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, len(report.problems)


BAD = {
    "no id": ({"pin_id": ""}, "pin_id"),
    "id with a space": ({"pin_id": "T 1"}, "pin_id"),
    "id a folder": ({"pin_id": "."}, "pin_id '.' must have a name"),
    "id the folder above": ({"pin_id": ".."}, "pin_id '..' must have a name"),
    "id with the folder above": ({"pin_id": "A/../12"}, "pin_id 'A/../12' must have a name"),
    "id that begins with a slash": ({"pin_id": "/12"}, "pin_id '/12' must have a name"),
    "id with two slashes": ({"pin_id": "A//12"}, "pin_id 'A//12' must have a name"),
    "id that a spreadsheet has shortened": ({"pin_id": "7.61203E+12"}, "format the column as text"),
    "no name": ({"name": ""}, "name"),
    "year": ({"year": "MMXV"}, "year"),
    "edition": ({"edition_size": "-3"}, "edition_size"),
    "no front": ({"front_image": ""}, "front_image"),
    "absent front": ({"front_image": "images/none.png"}, "does not exist"),
    "absent back": ({"back_image": "images/none.png"}, "does not exist"),
    "outside": ({"front_image": "../pins.csv"}, "outside"),
    "not a picture": ({"front_image": "pins.csv"}, "front_image"),
    "truncated": ({"front_image": "images/broken.png"}, "front_image"),
    "twice": ({"pin_id": "T000"}, "line 2"),
}


def test_bad_rows_are_named_by_line_and_left_out(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "bad", [0, 1], back=False)
    (folder / "images/broken.png").write_bytes((folder / "images/0_front.png").read_bytes()[:900])
    rows = [folders.pin_row(0, back=False)]
    rows += [
        folders.pin_row(0, back=False, **({"pin_id": f"B{i}"} | changes))
        for i, (changes, _) in enumerate(BAD.values())
    ]
    rows += [folders.pin_row(1, back=False)]
    folders.write_csv(folder / "pins.csv", folders.PIN_HEADER, rows)
    report = import_catalog(folder, target)
    assert report.added == 2
    assert [problem.line for problem in report.problems] == list(range(3, 3 + len(BAD)))
    for problem, (name, (_, part)) in zip(report.problems, BAD.items(), strict=True):
        assert part in problem.message, name
        assert str(problem).startswith(f"pins.csv:{problem.line}: ")
        assert str(tmp_path) not in problem.message
    assert [pin.pin_id for pin in Catalog.open(target).pins()] == ["T000", "T001"]


def test_picture_names_that_no_system_can_open_cost_only_their_row(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "in", [0], back=False)
    (folder / "images" / "loop.png").symlink_to("loop.png")
    names = [
        "x" * 270,
        "a\0b.png",
        "images/loop.png",
        "images",
        "https://example.com/1.png",
        "C:\\pins\\1.png",
    ]
    rows = [folders.pin_row(0, back=False, pin_id=f"B{i}", front_image=name) for i, name in enumerate(names)]
    folders.write_csv(folder / "pins.csv", folders.PIN_HEADER, [*rows, folders.pin_row(0, back=False)])
    report = import_catalog(folder, target)
    assert report.added == 1
    assert [problem.line for problem in report.problems] == list(range(2, 2 + len(names)))
    said = [
        "does not exist",
        "control character",
        "cannot be opened",
        "is not a file",
        "is a web address",
        "computer",
    ]
    for problem, part in zip(report.problems, said, strict=True):
        assert "front_image" in problem.message
        assert part in problem.message


def test_picture_names_as_other_systems_write_them(target: Path, tmp_path: Path) -> None:
    names = [
        "0_front.png",
        "images\\0_front.png",
        "./images/0_front.png",
        "images/0_Front.PNG",
        "IMAGES\\SUB\\0_FRONT.PNG",
        "sub\\0_front.png",
        "Ana\u0308.png",
        "at 10.00 AM.png",  # macOS puts U+202F before AM, and spreadsheets a normal space
    ]
    folder = folders.write_folder(tmp_path / "in", [0], back=False)
    rows = [folders.pin_row(0, back=False, pin_id=f"N{i}", front_image=name) for i, name in enumerate(names)]
    folders.write_csv(folder / "pins.csv", folders.PIN_HEADER, rows)
    (folder / "images" / "sub").mkdir()
    shutil.copy(folder / "images" / "0_front.png", folder / "images" / "sub")
    for other in ("An\u00e4.png", "at 10.00\u202fAM.png"):
        shutil.copy(folder / "images" / "0_front.png", folder / "images" / other)
    report = import_catalog(folder, target)
    assert [problem.message for problem in report.problems] == []
    assert report.added == len(names)


def test_a_link_that_leads_out_of_the_folder_is_refused(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(
        tmp_path / "in", [0], back=False, changes={0: {"front_image": "images/out.png"}}
    )
    shutil.copy(folder / "images" / "0_front.png", tmp_path / "elsewhere.png")
    (folder / "images" / "out.png").symlink_to(tmp_path / "elsewhere.png")
    (problem,) = import_catalog(folder, target).problems
    assert "is outside the import folder" in problem.message


def test_missing_columns_and_file(target: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(FileNotFoundError):
        import_catalog(tmp_path / "in", target)
    (tmp_path / "in" / "pins.csv").write_text("pin_id,name\n1,x\n")
    with pytest.raises(ValueError, match=r"no column front_image; .* it has these: pin_id, name$"):
        import_catalog(tmp_path / "in", target)


def test_three_columns_are_enough_and_one_that_is_not_read_is_named(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "in", [0], back=False)
    (folder / "pins.csv").write_text("pin_id,name,front_image,serie\nT000,Fox,0_front.png,Drawn\n")
    report = import_catalog(folder, target)
    assert counts(report) == (1, 0, 0, 0)
    assert [str(one) for one in report.warnings] == [
        "pins.csv:1: there is no column named serie: it is not read"
    ]
    pin = Catalog.open(target).pin("T000")
    assert pin is not None
    assert (pin.name, pin.characters, pin.series, pin.year, pin.brand) == ("Fox", (), None, None, None)
