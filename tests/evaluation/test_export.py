"""Tests of exporting feedback as a photo set: which opinions become labels and which are only listed."""

from __future__ import annotations

import csv
from pathlib import Path

from pinactors.evaluation.export import export
from pinactors.protocol import Verdict
from pinactors.records.feedback import Corrections, Opinion


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_agreements_are_labels_disagreements_are_listed_and_all_is_said(tmp_path: Path) -> None:
    (tmp_path / "front").write_bytes(b"\xff\xd8\xff")
    images = {"front": "front"}
    opinions = [
        Opinion(1, "authentic", "P1", "agree", "", images),
        Opinion(2, "counterfeit", "P2", "disagree", "it is P3, and genuine", images),
        Opinion(3, "undetermined", None, "agree", "", images),
        Opinion(4, "authentic", "P4", "agree", "", {}),
        Opinion(5, "authentic", "P5", "agree", "", {"front": "gone"}),
        Opinion(6, "authentic", "P6", "disagree", "", images, Corrections(Verdict.COUNTERFEIT)),
        Opinion(7, "undetermined", None, "agree", "", images, Corrections(Verdict.AUTHENTIC, "P7", 12.5)),
        Opinion(8, "counterfeit", "P8", "disagree", "", images, Corrections(None, "P9")),
    ]
    done = export(opinions, tmp_path, tmp_path / "out")
    assert (done.labelled, done.disagreed, done.without_photographs) == (3, 2, 2)
    truth = tmp_path / "out" / "truth"
    assert rows(truth / "photos.csv") == [
        ["000001", "genuine", "P1", ""],
        ["000006", "counterfeit", "P6", ""],
        ["000007", "genuine", "P7", ""],
    ]
    assert rows(truth / "disagreed.csv") == [
        ["000002", "counterfeit", "P2", "it is P3, and genuine", "", "", ""],
        ["000008", "counterfeit", "P8", "", "", "P9", ""],
    ], "which verdict is right was not said"
    assert rows(truth / "said.csv") == [
        ["000001", "agree", "authentic", "P1", "", "", "", ""],
        ["000002", "disagree", "counterfeit", "P2", "it is P3, and genuine", "", "", ""],
        ["000006", "disagree", "authentic", "P6", "", "counterfeit", "", ""],
        ["000007", "agree", "undetermined", "", "", "authentic", "P7", "12.5"],
        ["000008", "disagree", "counterfeit", "P8", "", "", "P9", ""],
    ]
    assert sorted(path.name for path in (tmp_path / "out" / "photos").iterdir()) == [
        "000001_front.jpg",
        "000002_front.jpg",
        "000006_front.jpg",
        "000007_front.jpg",
        "000008_front.jpg",
    ]


def test_a_photograph_has_the_suffix_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "avif").write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf")
    (tmp_path / "heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    opinions = [Opinion(1, "authentic", "P1", "agree", "", {"front": "avif", "back": "heic"})]
    export(opinions, tmp_path, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "photos").iterdir())
    assert names == ["000001_back.heic", "000001_front.avif"]
