"""Tests of the documentation's example plug-in with the documented commands and real workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinactors.catalog.demo import DESIGNS
from pinactors.catalog.demo.photo import photograph
from pinactors.protocol import View

ROOT = Path(__file__).parents[2]


def pinactors(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pinactors", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'docs'}", "COLUMNS": "200", **variables},
        timeout=120,
        check=False,
    )


def test_it_is_listed_with_whoever_declared_it(tmp_path: Path) -> None:
    done = pinactors("components", "list", PINACTORS_COMPONENTS="example_plugin:declare")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["brightness", "BRIGHTNESS", "worker", "front", "example_plugin:declare"] in lines
    assert any(
        line[:2] == ["authenticity", "AUTHENTICATION_RESULT"] and line[-1] == "pinactors" for line in lines
    )


@pytest.mark.parametrize("source", ["nonsense", "no_such_module:declare"])
def test_what_cannot_be_loaded_is_one_line(source: str, tmp_path: Path) -> None:
    done = pinactors("components", "check", source, str(tmp_path / "none.jpg"))
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_it_runs_on_a_photograph(tmp_path: Path) -> None:
    photo = tmp_path / "front.jpg"
    photo.write_bytes(photograph(DESIGNS[0], View.FRONT, seed=2))
    done = pinactors(
        "components", "check", "example_plugin:declare", str(photo), "--data", str(tmp_path / "data")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "brightness: full analysis" in done.stdout
    assert '"packetType": "BRIGHTNESS"' in done.stdout
