"""Tests of what loading the text recognition does to its surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_runtime_collects_no_usage_data(tmp_path: Path) -> None:
    """It would write a device's id below the home folder, and send it."""
    command = [sys.executable, "-c", "from pinactors.analysis.stamp import ocr; ocr.load_models()"]
    surroundings = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))
    }
    subprocess.run(command, env={**surroundings, "HOME": str(tmp_path)}, check=True, timeout=120)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
