"""Tests of `pinactors demo --once`, run as by a new user, from drawn photographs to a desktop's answer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pinactors.catalog.demo import DESIGNS
from pinactors.cli.demo import _data_folder

LIMIT = 240
PACKET = re.compile(r"^ +([\d.]+) s  ([A-Z]+_[A-Z_]+) +(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("demo")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PINACTORS_")}
    done = subprocess.run(
        [sys.executable, "-m", "pinactors", "demo", "--once", "--data", str(folder / "data")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "data" / "catalog").is_dir()
    assert len(list((folder / "data" / "samples").glob("*.jpg"))) == 3
    return done.stdout


def test_every_packet_arrives_once_in_order_and_after_the_upload(said: str) -> None:
    packets = PACKET.findall(said)
    kinds = [kind for _, kind, _ in packets]
    assert kinds[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert kinds[-1] == "ANALYSIS_COMPLETE"
    assert sorted(kinds[2:-1]) == [
        "AUTHENTICATION_RESULT",
        "CHARACTER_IDENTIFICATION",
        "DETAILED_ANALYSIS",
        "HTML_DISPLAY_DATA",
        "PRICING_ANALYSIS",
    ]
    times = [float(time) for time, _, _ in packets]
    assert times == sorted(times)
    assert times[0] > 0.15, "nothing comes back faster than one photograph goes out on LTE"
    assert times[-1] < 90


def test_the_pin_is_recognised_and_priced(said: str) -> None:
    told = {kind: text for _, kind, text in PACKET.findall(said)}
    assert DESIGNS[0].name in told["CHARACTER_IDENTIFICATION"]
    assert DESIGNS[0].pin_id in told["CHARACTER_IDENTIFICATION"]
    low, high = map(float, re.findall(r"[\d.]+", told["PRICING_ANALYSIS"])[:2])
    assert low < DESIGNS[0].value * 1.25
    assert high > DESIGNS[0].value * 0.75
    assert "missing" not in told["ANALYSIS_COMPLETE"]


def test_a_desktop_gets_one_object_with_the_same_answer(said: str) -> None:
    after = said.partition("A desktop")[2]
    assert "HTTP 200" in after
    verdicts = re.findall(r'^ +verdict: "(\w+)"$', after, re.MULTILINE)
    told = {kind: text for _, kind, text in PACKET.findall(said)}
    assert len(verdicts) == 1
    assert told["AUTHENTICATION_RESULT"].startswith(verdicts[0])


def test_it_says_that_all_of_it_is_made_up(said: str) -> None:
    assert f"{len(DESIGNS)} pins added" in said
    assert "demonstration" in said
    assert "made up" in said


def test_a_kept_folder_may_be_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with _data_folder(Path("~/pins")) as folder:
        assert folder == tmp_path / "pins"
        assert folder.is_dir()
    assert not (tmp_path / "~").exists()
