"""The JavaScript client in Node, against a real server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.api.conftest import launch

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_javascript_client_in_node(tmp_path: Path) -> None:
    process, port = launch(tmp_path / "data")
    try:
        result = subprocess.run(
            [str(NODE), "--test", str(Path(__file__).with_name("client.test.mjs"))],
            env=os.environ | {"PINACTORS_TEST_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert result.returncode == 0, result.stdout
    assert "# fail 0" in result.stdout or "fail 0" in result.stdout
