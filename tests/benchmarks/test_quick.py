"""The benchmarks run from end to end, as a shell sees them. Nothing here asserts how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import load, report
from benchmarks.peers.start import DESIGNS, unavailable

ROOT = Path(__file__).parent.parent.parent
HERE = [design for design in DESIGNS if design != "express" and not unavailable(design)]


def run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "benchmarks", *arguments, "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(
        [*command, "--quick", "--report", str(page)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text("utf-8")
    drawn = [part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert drawn
    for svg in drawn:
        ElementTree.fromstring("<svg" + svg)
    result: dict[str, Any] = json.loads((tmp_path / "figures.json").read_text())
    return result


def test_null(tmp_path: Path) -> None:
    result = run(tmp_path, "null", "--designs", ",".join(HERE))
    assert {name.partition(",")[0] for name in result["designs"]} == set(HERE)
    for figures in result["designs"].values():
        assert figures["sessions_per_second"] > 0
        assert figures["seconds_per_session"]["n"] > 0


def test_load(tmp_path: Path) -> None:
    designs = ["ours", "buffered"]
    result = run(tmp_path, "load", "--designs", ",".join(designs), "--profile", "5g", "--drops", "0")
    assert list(result["designs"]) == designs
    for figures in result["designs"].values():
        assert (figures["complete"], figures["lost"], figures["errors"]) == (3, 0, [])
        assert figures["analyses_beyond_one_each"] == 0
        assert figures["phones"]["completed"]["n"] == 2
        assert figures["desktop_completed"]["n"] == 1
        assert figures["cpu_seconds_per_session"] > 0
        for row in figures["visits"]:
            if row["phone"]:  # nobody can be faster than the link
                assert row["first"] > row["limit"]["upload"]
                assert row["authenticated"] > row["limit"]["upload"]
                assert row["first"] <= row["authenticated"] <= row["completed"]


def test_scale(tmp_path: Path) -> None:
    result = run(tmp_path, "scale")
    assert set(result["sessions"]) == {"10", "20"}
    assert result["catalogue"]["300"]["found"] == 1.0
    assert result["catalogue"]["300"]["file_megabytes"] > result["catalogue"]["100"]["file_megabytes"]


def test_arrivals_are_the_same_for_the_same_seed_and_spread_over_the_time() -> None:
    come = load.arrive(300, 100, 60.0, pins=3, drops=0.25, seed=7)
    assert come == load.arrive(300, 100, 60.0, pins=3, drops=0.25, seed=7)
    assert come != load.arrive(300, 100, 60.0, pins=3, drops=0.25, seed=8)
    moments = [arrival.at for arrival in come]
    assert moments == sorted(moments)
    assert 0 <= moments[0] < 3
    assert 57 < moments[-1] <= 60
    assert sum(arrival.phone for arrival in come) == 300
    assert {arrival.pin for arrival in come} == {0, 1, 2}
    cut = [arrival for arrival in come if arrival.cut is not None]
    assert all(arrival.phone for arrival in cut)
    assert 45 <= len(cut) <= 105  # 75 expected, four deviations either way


def test_a_metric_is_summed_over_its_labels() -> None:
    text = '# HELP a_total b\na_total{x="1"} 2.0\na_total{x="2"} 3.0\nb_total 7.0\na_total_more 9.0\n'
    assert load.total(text, "a_total") == 5.0
    assert load.total(text, "b_total") == 7.0


def test_who_never_came_keeps_the_curve_below_one() -> None:
    assert report._cumulative([3.0, None, 1.0, None]) == [(1.0, 0.25), (3.0, 0.5)]


@pytest.mark.parametrize("values", [[], [None]])
def test_no_figure_is_made_of_nothing(values: list[float | None]) -> None:
    assert load.percentiles(values) is None
