"""Tests of tus-js-client in Node with a real server. Skipped if the npm package cannot be installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.api.conftest import launch

PACKAGE = "tus-js-client@4"


def test_its_uploads_are_analysed(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    script = shutil.copy(Path(__file__).with_name("tus_client.mjs"), tmp_path)
    (tmp_path / "package.json").write_text("{}")
    installed = subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", PACKAGE], cwd=tmp_path, check=False
    )
    if installed.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed")
    process, port = launch(tmp_path / "data")
    try:
        found = subprocess.run(
            ["node", script],
            cwd=tmp_path,
            env=os.environ | {"PINACTORS_TEST_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert found.returncode == 0, found.stderr
    names = ["tus-v1", "ietf-draft-03", "ietf-draft-05"]
    assert found.stdout.splitlines() == [f"{name} ANALYSIS_COMPLETE" for name in names]
