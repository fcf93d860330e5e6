"""Writes many answers to files: a CSV table, JSON lines, and a page with pictures."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from pinactors.analysis.evidence.advice import asks_to_photograph_again
from pinactors.protocol import merge

CSV_FILE, JSON_FILE, PAGE_FILE = "results.csv", "results.jsonl", "results.html"

MAX_REASONS = 3
"""Number of rows of evidence given as reasons, those that count most."""

COLUMNS = (
    "name",
    "verdict",
    "rating",
    "why",
    "pin_id",
    "pin",
    "low",
    "median",
    "high",
    "currency",
    "photograph_again",
    "error",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet would run as a formula."""


@dataclass(frozen=True, slots=True)
class PinResult:
    """The result for one pin: its name in the files, its photographs by view, and its answer in the merged
    form that a desktop gets."""

    name: str
    photographs: dict[str, Path]
    answer: dict[str, Any]

    @property
    def failed(self) -> bool:
        return bool(merge.failed(self.answer))


def row(result: PinResult) -> dict[str, str]:
    """The table's row for one pin: texts by column."""
    answer = result.answer
    if result.failed:
        again = str(answer.get("error") or answer.get("message") or "")
        return dict.fromkeys(COLUMNS, "") | {"name": result.name, "error": again}
    best = (answer.get("candidates") or [{}])[0] if answer.get("identified", True) else {}
    estimate = answer.get("estimate") or {}
    cells = {
        "name": result.name,
        "verdict": answer.get("verdict"),
        "rating": answer.get("authenticityRating"),
        "why": " ".join(reasons(answer)) or answer.get("note"),
        "pin_id": best.get("pinId"),
        "pin": best.get("name"),
        "photograph_again": " ".join(filter(asks_to_photograph_again, answer.get("advice") or ())),
        "error": f"missing: {', '.join(answer['missing'])}" if answer.get("missing") else "",
    }
    cells |= {name: estimate.get(name) for name in ("low", "median", "high", "currency")}
    return {name: "" if cells.get(name) is None else str(cells[name]) for name in COLUMNS}


def reasons(answer: dict[str, Any]) -> list[str]:
    """The sentences of the evidence that counted most, for or against, in descending order."""
    weighed = [one for one in answer.get("evidence") or () if one.get("assessed", True) and one.get("weight")]
    weighed.sort(key=lambda one: -abs(float(one["weight"])))
    sentences = (str(one.get("finding", "")).strip() for one in weighed[:MAX_REASONS])
    return [text if text.endswith((".", "!", "?")) else f"{text}." for text in sentences if text]


def json_line(result: PinResult) -> str:
    """One line of JSON: the name, the photographs and the whole answer."""
    photographs = {view: str(path) for view, path in result.photographs.items()}
    return json.dumps({"name": result.name, "photographs": photographs, "answer": result.answer})


def write(folder: Path, results: Sequence[PinResult], title: str) -> None:
    """Writes the table and the page, and the JSON lines if that file is missing. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CSV_FILE).open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({name: _cell(text) for name, text in row(one).items()} for one in results)
    if not (folder / JSON_FILE).exists():
        (folder / JSON_FILE).write_text("".join(f"{json_line(one)}\n" for one in results), "utf-8")
    (folder / PAGE_FILE).write_text(page(results, folder, title), "utf-8")


def page(results: Iterable[PinResult], folder: Path, title: str) -> str:
    """The HTML page, with links to the pictures relative to `folder`."""
    cards = [
        {
            **row(one),
            "pictures": [
                {"view": view, "link": _link(path, folder)} for view, path in one.photographs.items()
            ],
            "demonstration": bool(one.answer.get("demonstration")),
        }
        for one in results
    ]
    template = Path(__file__).with_name("results.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True).from_string(template).render(title=title, cards=cards)


def _link(path: Path, folder: Path) -> str:
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.resolve().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
