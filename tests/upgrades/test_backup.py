"""Test of the backup in docs/operations.md: it is made from a running server and opened by a new one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.api.conftest import running
from tests.api.wire import JSON, PHONE, ask, json_body
from tests.drawing import background, jpeg

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
LIMIT = 120


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed")
async def test_a_backup_of_a_running_server_is_restored(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    blocks = re.findall(r"^  ```sh\n(.*?)^  ```$", PAGE, re.MULTILINE | re.DOTALL)
    (script,) = [textwrap.dedent(block) for block in blocks if "$BACKUP" in block]
    body = json_body(sessionId="kept", frontImageData=jpeg(background("wood", 320, 240)))
    with trio.fail_after(LIMIT):
        async with running(data) as server:
            sent = await ask(server.port, "POST", "/mobile-upload", body, JSON | PHONE)
            shown = f"/results/{sent.packets[0]['streamId']}/front"
            before = await ask(server.port, "GET", shown)
            environment = {**os.environ, "DATA": str(data), "BACKUP": str(backup)}
            command = ["bash", "-euo", "pipefail", "-c", script]
            await trio.to_thread.run_sync(partial(subprocess.run, command, env=environment, check=True))
        async with running(backup) as restored:
            ready = await ask(restored.port, "GET", "/readyz")
            record = await ask(restored.port, "GET", "/api/records/1")
            photograph = await ask(restored.port, "GET", shown)
            again = await ask(restored.port, "POST", "/mobile-upload", body, JSON | PHONE)
    assert ready.json()["status"] == "ready"
    assert record.json()["sessionId"] == "kept"
    assert photograph.headers["content-type"].startswith("image/")
    assert photograph.body == before.body
    assert again.types[-1] == "ANALYSIS_COMPLETE"
