"""Tests of the result files: the table, the reasons, and a page that escapes every name."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from pinactors.analysis.evidence.advice import (
    MISSING_PICTURE_ADVICE,
    NOT_COMPARED_ADVICE,
    NOT_OUTLINED_ADVICE,
    TILTED_ADVICE,
    WEIGHING_ADVICE,
)
from pinactors.cli.analyze.results import COLUMNS, PinResult, reasons, row, write
from pinactors.protocol import View

ANSWER: dict[str, Any] = {
    "success": True,
    "complete": True,
    "verdict": "counterfeit",
    "authenticityRating": 12,
    "evidence": [
        {"name": "a", "finding": "Small for it", "weight": 0.2},
        {"name": "b", "finding": "The stamp is garbled.", "weight": -1.5},
        {"name": "c", "finding": "Not seen", "weight": 0, "assessed": False},
        {"name": "d", "finding": "Colours are off", "weight": -0.7},
        {"name": "e", "finding": "Least of all", "weight": 0.1},
    ],
    "identified": True,
    "candidates": [{"pinId": "P1", "name": "<b>Fox</b>", "score": 0.9}],
    "estimate": {"currency": "EUR", "low": 8.0, "median": 10.5, "high": 12.0},
    "advice": [
        "Photograph the back without glare.",
        TILTED_ADVICE,
        NOT_OUTLINED_ADVICE.format(view="back"),
        MISSING_PICTURE_ADVICE[View.FRONT],
        f"{NOT_COMPARED_ADVICE} No pin looks like it.",
        WEIGHING_ADVICE,
    ],
    "missing": [],
}


def test_a_row_says_verdict_why_price_and_what_to_photograph_again() -> None:
    assert row(PinResult("fox", {}, ANSWER)) == {
        "name": "fox",
        "verdict": "counterfeit",
        "rating": "12",
        "why": "The stamp is garbled. Colours are off. Small for it.",
        "pin_id": "P1",
        "pin": "<b>Fox</b>",
        "low": "8.0",
        "median": "10.5",
        "high": "12.0",
        "currency": "EUR",
        "photograph_again": "Photograph the back without glare.",
        "error": "",
    }


def test_what_is_only_alike_is_not_claimed_and_nothing_is_invented() -> None:
    told = row(PinResult("x", {}, ANSWER | {"identified": False, "estimate": None, "missing": ["details"]}))
    assert (told["pin_id"], told["pin"], told["median"]) == ("", "", "")
    assert told["error"] == "missing: details"
    assert reasons({}) == []


def test_a_failure_says_why() -> None:
    failure = {"success": False, "message": "No", "error": "It is damaged", "errorCode": "invalid_format"}
    assert row(PinResult("x", {}, failure)) == dict.fromkeys(COLUMNS, "") | {
        "name": "x",
        "error": "It is damaged",
    }


def test_the_files(tmp_path: Path) -> None:
    pictures = {"front": tmp_path / "photos" / 'a "b" #1.jpg'}
    folder = tmp_path / "out"
    write(
        folder, [PinResult("=1+1", pictures, ANSWER), PinResult("<script>", {}, ANSWER)], "A shop's afternoon"
    )
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [one["name"] for one in csv.DictReader(file)] == ["'=1+1", "<script>"], "no formula runs"
    page = (folder / "results.html").read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;b&gt;Fox&lt;/b&gt;" in page
    assert "../photos/a%20%22b%22%20%231.jpg" in page
    assert "EUR 8.00 to 12.00, median 10.50 (the price of a genuine one)" in page
    assert "Photograph again: Photograph the back without glare." in page
    assert len(re.findall("<article>", page)) == 2
    assert len((folder / "results.jsonl").read_text().splitlines()) == 2
