"""Tests of grouping photographs by pin, from folders and CSV files as users make them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinactors.cli.analyze import results
from pinactors.cli.analyze.photo_sets import of_folder, of_manifest
from pinactors.cli.analyze.results import PinResult
from pinactors.protocol import View


def made(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def named(folder: Path) -> dict[str, dict[str, str]]:
    sets, problems, _ = of_folder(folder)
    assert problems == []
    return {
        one.name: {str(view): str(path.relative_to(folder)) for view, path in one.images.items()}
        for one in sets
    }


def test_views_by_the_end_of_a_name(tmp_path: Path) -> None:
    made(tmp_path, "fox_front.jpg", "fox-BACK.HEIC", "fox angled.png", "owl.front.webp", "notes.txt")
    assert named(tmp_path) == {
        "fox": {"angled": "fox angled.png", "back": "fox-BACK.HEIC", "front": "fox_front.jpg"},
        "owl": {"front": "owl.front.webp"},
    }


def test_a_folder_a_pin_and_files_without_a_view(tmp_path: Path) -> None:
    made(tmp_path, "fox/front.jpg", "fox/rear.jpg", "box/IMG_1.jpg", "IMG_2.avif", ".hidden.jpg")
    assert named(tmp_path) == {
        "IMG_2": {"front": "IMG_2.avif"},
        "box/IMG_1": {"front": "box/IMG_1.jpg"},
        "fox": {"front": "fox/front.jpg", "back": "fox/rear.jpg"},
    }


def test_suffixes_that_browsers_and_cameras_write(tmp_path: Path) -> None:
    made(tmp_path, "photo.jfif", "DSC1.HIF", "a.mpo", "b.jpe", "c.JIF", "d.gif", "e.csv")
    assert set(named(tmp_path)) == {"DSC1", "a", "b", "c", "photo"}


@pytest.mark.parametrize(
    "name", [".git/fox.jpg", "pins/@eaDir/fox.jpg/front.jpg", "__MACOSX/pins/fox.jpg", "@Recycle/x/fox.jpg"]
)
def test_folders_that_systems_make_for_themselves_are_passed_over(tmp_path: Path, name: str) -> None:
    """The same names in the path of the given folder count for nothing."""
    folder = tmp_path / ".cache" / "@me" / "__MACOSX"
    made(folder, name, "pins/fox.jpg", "@owl.jpg")
    assert set(named(folder)) == {"pins/fox", "@owl"}


def test_names_that_are_no_text_are_spelt_out(tmp_path: Path) -> None:
    """File names in another encoding, as on a disk from another system, are shown escaped; files are opened
    and linked by their real names."""
    raw = os.fsdecode(b"f\xfcchs_front.jpg")
    made_at = tmp_path / raw
    made_at.write_bytes(b"1")
    (one,), problems, _ = of_folder(tmp_path)
    assert problems == []
    assert (one.name, dict(one.images)) == ("f\\xfcchs", {View.FRONT: made_at})
    assert one.fingerprint
    page = results.page([PinResult(one.name, {"front": made_at}, {"success": True})], tmp_path, "pins")
    assert "f%FCchs_front.jpg" in page


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    made(tmp_path, "a_back.jpg", "b_front.jpg", "b_front.png")
    sets, problems, _ = of_folder(tmp_path)
    assert [one.name for one in sets] == ["b"]
    assert problems == [
        "b_front.png: b already has a front photograph",
        "a: no front photograph among back",
    ]


def test_a_manifest_finds_files_as_the_catalogue_does(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "images/b.jpg")
    (tmp_path / "list.csv").write_text(
        "sep=;\nName;Front;back\nfox;a.jpg;images\\b.jpg\n;b.jpg;\n;;b.jpg\nfox;a.jpg;\n"
    )
    sets, problems, notes = of_manifest(tmp_path / "list.csv")
    assert [(one.name, {view: path.name for view, path in one.images.items()}) for one in sets] == [
        ("fox", {View.FRONT: "a.jpg", View.BACK: "b.jpg"}),
        ("b", {View.FRONT: "b.jpg"}),
    ]
    assert problems == ["list.csv:5: front is empty", "list.csv:6: the name 'fox' is already used"]
    assert notes == ()


def test_an_assumption_about_a_manifest_leaves_nothing_out(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg")
    (tmp_path / "list.csv").write_bytes("front,name\na.jpg,Café\n".encode("windows-1252"))
    (one,), problems, notes = of_manifest(tmp_path / "list.csv")
    assert (one.name, problems) == ("Café", [])
    (note,) = notes
    assert note.startswith("list.csv:2: not UTF-8: the file was read as Windows-1252, for example 'Café'")
    assert "--encoding" not in note, "`analyze` has no such option"


def test_a_manifest_without_photographs(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("picture\na.jpg\n")
    with pytest.raises(ValueError, match="needs a column front"):
        of_manifest(tmp_path / "list.csv")


@pytest.mark.parametrize("column", ["front", "front_image"])
def test_a_manifest_whose_column_is_empty(column: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"back,{column}\nb.jpg,\n")
    with pytest.raises(ValueError, match=f"its column {column} is empty"):
        of_manifest(tmp_path / "list.csv")


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    folder = made(tmp_path, "fox_front.jpg")
    (before,), _, _ = of_folder(folder)
    first = before.fingerprint
    assert of_folder(folder)[0][0].fingerprint == first
    (folder / "fox_front.jpg").write_bytes(b"another photograph")
    assert of_folder(folder)[0][0].fingerprint != first
