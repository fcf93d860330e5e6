"""Drawn catalogues and photographs, a server, and an empty folder for each test."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinactors.catalog.demo import DESIGNS, draw_demo, photograph
from pinactors.protocol import View
from tests.cli.samples import call, process


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test in an empty folder without the developer's PINACTORS_ variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PINACTORS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_demo(folder, dt.date(2025, 6, 30), designs=DESIGNS[:3])
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[View, Path]:
    folder = tmp_path_factory.mktemp("photographs")
    paths = {view: folder / f"{view}.jpg" for view in (View.FRONT, View.BACK)}
    for view, path in paths.items():
        path.write_bytes(photograph(DESIGNS[0], view, seed=2))
    return paths


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Iterator[str]:
    """The URL of a server with one worker. On Ctrl-C it must stop with status 0 and without a traceback."""
    data = tmp_path_factory.mktemp("data")
    assert call("catalog", "import", drawn, "--data", data).exit_code == 0
    server = process(
        "serve", "--data", data, PINACTORS_PORT="0", PINACTORS_WORKERS="1", PINACTORS_LOG_FORMAT="json"
    )
    assert server.stderr is not None
    try:
        while (line := json.loads(server.stderr.readline()))["event"] != "listening":
            assert line["level"] in ("info", "warning"), line
        yield f"http://127.0.0.1:{line['port']}"
        os.killpg(server.pid, signal.SIGINT)  # the whole group, as a terminal does
        _, said = server.communicate(timeout=120)
    finally:
        if server.poll() is None:
            server.kill()
            server.communicate()
    assert server.returncode == 0
    assert "Traceback" not in said
    assert json.loads(said.splitlines()[-1])["event"] == "stopped"
