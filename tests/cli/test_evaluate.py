"""Tests of the commands `evaluate` and `calibrate`, on a drawn set through the real pipeline."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pinactors.analysis.evidence.likelihood import parse_calibration
from pinactors.catalog import demo
from pinactors.protocol import View

AS_OF = dt.date(2026, 1, 1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn set of three pins, of which two are in the catalogue and the second is labelled counterfeit."""
    folder = tmp_path_factory.mktemp("drawn")
    designs = demo.DESIGNS[:3]
    demo.draw_demo(folder / "catalog", AS_OF, designs=designs[:2])
    (folder / "photos").mkdir()
    (folder / "truth").mkdir()
    for number, design in enumerate(designs):
        for view in View:
            path = folder / "photos" / f"{number}_{view}.jpg"
            path.write_bytes(demo.photograph(design, view, number))
    (folder / "truth" / "photos.csv").write_text(
        "photo_id,kind,pin_id,defects\n"
        f"0,genuine,{designs[0].pin_id},\n"
        f"1,counterfeit,{designs[1].pin_id},stamp\n"
        "2,not_in_catalog,,\n"
    )
    return folder


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pinactors.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PINACTORS_WORKERS": "2"},
    )


def test_evaluate_and_calibrate(drawn: Path, tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "kept")]
    weights, page = tmp_path / "weights.json", tmp_path / "report.html"

    fitted = command("calibrate", str(drawn), "--output", str(weights), "--version", "mine", *data)
    assert fitted.returncode == 0, fitted.stderr
    assert "Out of fold" not in fitted.stdout
    too_many = command("calibrate", str(drawn), "--output", str(tmp_path / "no.json"), "--folds", "3", *data)
    assert too_many.returncode == 1
    assert "3 folds need as many pins" in " ".join(too_many.stderr.split())
    written = parse_calibration(weights.read_text())
    assert written.version == "mine"
    assert written.fitted_on == f"2 photo sets of 2 pins of {drawn.name}"

    asked = ["evaluate", str(drawn), "--json", "--as-of", AS_OF.isoformat(), "--report", str(page), *data]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINACTORS_CALIBRATION", str(weights))
        found = command(*asked)
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["calibration"] == "mine"
    assert result["sets"] == {"genuine": 1, "counterfeit": 1, "not_in_catalog": 1, "not_a_pin": 0}
    assert result["identification"]["recall@1"]["value"] == 1.0
    assert result["identification"]["unknown pins claimed"]["value"] == 0.0
    assert result["authenticity"]["ROC AUC"]["n"] == 2
    assert set(result["authenticity"]["AUC by defect"]) == {"stamp"}
    assert result["stages"]["component authenticity"]["count"] == 3
    assert "data:image/jpeg;base64," in page.read_text()


def test_a_set_that_is_none_is_refused(tmp_path: Path) -> None:
    refused = command("evaluate", str(tmp_path))
    assert refused.returncode == 1
    assert "photos.csv" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_set_without_a_catalogue_is_refused_before_any_work(drawn: Path, tmp_path: Path) -> None:
    """The figures without a catalogue would look like those of an engine that finds nothing."""
    folder = shutil.copytree(drawn, tmp_path / "set", ignore=shutil.ignore_patterns("catalog"))
    refused = command("evaluate", str(folder), "--data", str(tmp_path / "kept"))
    assert refused.returncode == 1
    assert "neither pins.csv nor an imported catalogue" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr


def test_a_set_of_another_shape_is_evaluated(drawn: Path, tmp_path: Path) -> None:
    """The set has kinds in capitals, no tilted photographs, no values, and a labelled pin that the catalogue
    lacks."""
    folder = shutil.copytree(drawn, tmp_path / "set")
    for path in (folder / "photos").glob("*_angled.jpg"):
        path.unlink()
    (folder / "photos" / "2_front.jpg").rename(folder / "photos" / "2_front.JPG")
    truth = folder / "truth" / "photos.csv"
    first = demo.DESIGNS[0].pin_id
    truth.write_text(f"photo_id,kind,pin_id\n0,Genuine,{first}\n2,GENUINE,NOWHERE\n")
    found = command("evaluate", str(folder), "--data", str(tmp_path / "kept"))
    assert found.returncode == 0, found.stderr
    assert "NOWHERE" in found.stderr
    for title in (
        "recall@1",
        "coverage at 98% precision",
        "Reliability",
        "Wrong among the surest",
        "Verdicts",
    ):
        assert title in found.stdout, title
    assert "whole analysis" in found.stdout
