"""Tests of labelled sets on disk: which are read, which are refused, and feedback exported as a set."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pinactors.evaluation import dataset
from pinactors.evaluation.export import Exported, export
from pinactors.protocol import View
from pinactors.records.feedback import Opinion

HEADER = "photo_id,kind,pin_id,defects"


def made(folder: Path, *rows: str, photos: tuple[str, ...] = ("a_front.jpg",)) -> Path:
    (folder / "truth").mkdir()
    (folder / "photos").mkdir()
    (folder / "truth" / "photos.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    for name in photos:
        (folder / "photos" / name).write_bytes(b"jpeg")
    return folder


def test_a_set_is_read(tmp_path: Path) -> None:
    folder = made(tmp_path, "a,counterfeit,P1,burrs;lines", photos=("a_front.jpg", "a_back.png"))
    (folder / "truth" / "values.csv").write_text("pin_id,true_value\nP1,12.5\n")
    read = dataset.load(folder)
    photo = read.photos[0]
    assert (photo.kind, photo.pin_id, photo.defects) == ("counterfeit", "P1", ("burrs", "lines"))
    assert photo.images == {
        View.FRONT: folder / "photos" / "a_front.jpg",
        View.BACK: folder / "photos" / "a_back.png",
    }
    assert photo.tags == ()
    assert read.values == {"P1": 12.5}
    assert read.rates == {"USD": 1.0}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,fake,P1,", "line 2: kind 'fake'"),
        ("a,genuine,,", "line 2: a genuine pin needs its pin_id"),
        ("../a,genuine,P1,", "line 2: photo_id '../a'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataset.load(made(tmp_path, row))


@pytest.mark.parametrize("suffix", [".avif", ".WEBP", ".JPG", ".Heic", ".jpeg"])
def test_a_photograph_has_any_suffix_that_a_camera_writes(tmp_path: Path, suffix: str) -> None:
    folder = made(tmp_path, "a,genuine,P1,", photos=(f"a_front{suffix}", "a_front.txt"))
    assert dataset.load(folder).photos[0].images == {View.FRONT: folder / "photos" / f"a_front{suffix}"}


def test_a_front_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a_front"):
        dataset.load(made(tmp_path, "a,not_a_pin,,", photos=("a_back.jpg",)))


def test_feedback_becomes_a_set(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "one").write_bytes(b"\xff\xd8\xff jpeg")
    (images / "two").write_bytes(b"\x89PNG\r\n\x1a\n picture")
    seen = {"front": "one", "back": "two"}
    opinions = [
        Opinion(1, "authentic", "P1", "agree", "", seen),
        Opinion(2, "counterfeit", "P1", "disagree", "bought in a shop", seen),
        Opinion(3, "undetermined", "P1", "agree", "", seen),
        Opinion(4, "authentic", "P1", "agree", "", {"front": "gone"}),
        Opinion(5, "authentic", None, "agree", "not identified: no label", seen),
    ]
    assert export(opinions, images, tmp_path / "set") == Exported(1, 1, 1)
    photos = dataset.load(tmp_path / "set").photos
    assert [(photo.photo_id, photo.kind, photo.pin_id) for photo in photos] == [("000001", "genuine", "P1")]
    assert photos[0].images[View.BACK].suffix == ".png"
    with (tmp_path / "set" / "truth" / "disagreed.csv").open(newline="") as file:
        assert list(csv.reader(file))[1] == ["000002", "counterfeit", "P1", "bought in a shop", "", "", ""]


def test_tags_are_read_without_what_follows_a_colon(tmp_path: Path) -> None:
    folder = made(tmp_path, "a,genuine,P1,")
    (folder / "truth" / "notes.csv").write_text("photo_id,tags\na,crop;variant_of:P2\n")
    assert dataset.load(folder).photos[0].tags == ("crop", "variant_of")
