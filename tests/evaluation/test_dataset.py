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


@pytest.mark.parametrize("suffix", [".avif", ".WEBP", ".JPG", ".Heic", ".jpeg", ".jfif", ".HIF"])
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


GERMAN = {
    "photos.csv": 'photo_id;kind;pin_id;defects\r\nBär;counterfeit;P1;"burrs;lines"\r\n;;;\r\n',
    "notes.csv": 'photo_id;tags\r\nBär;"crop;variant_of:P2"\r\n;\r\n',
    "values.csv": "pin_id;true_value\r\nP1;1.234,50\r\n;\r\n",
    "fx.csv": "currency;usd_per_unit\r\nEUR;1,085\r\n",
}
"""The labels as a German spreadsheet writes them, with a blank row at the end."""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252", "utf-16"])
@pytest.mark.parametrize("start", ["", "sep=;\r\n"])
def test_labels_are_read_as_spreadsheets_write_them(tmp_path: Path, encoding: str, start: str) -> None:
    folder = made(tmp_path, photos=("Bär_front.jpg",))
    for name, text in GERMAN.items():
        (folder / "truth" / name).write_bytes((start + text).encode(encoding))
    read = dataset.load(folder)
    (photo,) = read.photos
    assert (photo.photo_id, photo.kind, photo.pin_id) == ("Bär", "counterfeit", "P1")
    assert photo.defects == ("burrs", "lines")
    assert photo.tags == ("crop", "variant_of")
    assert read.values == {"P1": 1234.5}
    assert read.rates == {"USD": 1.0, "EUR": 1.085}


def test_a_blank_row_is_skipped_and_the_line_stays_right(tmp_path: Path) -> None:
    folder = made(tmp_path, "a,genuine,P1,", ",,,")
    assert len(dataset.load(folder).photos) == 1
    (folder / "truth" / "photos.csv").write_text(f"{HEADER}\na,genuine,P1,\n,,,\nb,fake,P1,\n")
    with pytest.raises(ValueError, match=r"photos\.csv line 4: kind 'fake'"):
        dataset.load(folder)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("photos.csv", "photo_id,pin_id\na,P1\n", "photos.csv has no column kind"),
        ("photos.csv", f"{HEADER}\na,genuine,P1,,burrs\n", "photos.csv line 2: more values than columns"),
        ("notes.csv", "photo,tags\na,crop\n", "notes.csv has no column photo_id"),
        ("values.csv", "pin_id,value\nP1,3\n", "values.csv has no column true_value"),
        ("values.csv", "pin_id,true_value\n,3\n", "values.csv line 2: pin_id is empty"),
        (
            "values.csv",
            "pin_id,true_value\nP1,dear\n",
            "values.csv line 2: true_value 'dear' is not an amount",
        ),
        ("fx.csv", "currency,usd_per_unit\n\nEUR,\n", "fx.csv line 3: usd_per_unit '' is not an amount"),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    folder = made(tmp_path, "a,genuine,P1,")
    (folder / "truth" / name).write_text(text)
    with pytest.raises(ValueError, match="csv") as raised:
        dataset.load(folder)
    assert said in str(raised.value)
