"""Tests of docs/python.md: its two programs run, and the functions it names have the listed parameters."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import trio

from pinactors import client
from tests.api.conftest import running

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")
LIMIT = 120


async def test_the_programs_run_as_they_stand_there(tmp_path: Path) -> None:
    for view in ("front", "back"):
        (tmp_path / f"{view}.jpg").write_bytes(b"PHOTO " + view.encode())
    program = "".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    with trio.fail_after(LIMIT):
        async with running(tmp_path / "data") as server:
            program = program.replace(":8080", f":{server.port}").replace(', key="pin_…"', "")
            command = [sys.executable, "-c", program]
            run = partial(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False)
            done = await trio.to_thread.run_sync(run)
    assert done.returncode == 0, done.stderr
    last = [line for line in done.stdout.splitlines() if line.startswith("ANALYSIS_COMPLETE")]
    assert len(last) == 2, "each program sees the last packet"
    assert "PRICING_ANALYSIS {" in done.stdout


def test_the_functions_take_what_is_told() -> None:
    rows = re.findall(r"^\| `(\w+)\((.*?)\)` \|", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == ["analyze", "follow", "cancel", "confirm"]
    for name, told in rows:
        known = inspect.signature(getattr(client, name)).parameters
        named = {argument.partition("=")[0].strip() for argument in told.split(",")} - {"…"}
        assert named <= set(known), name
    for option in ("resumable_bytes", "webhook", "unreachable_seconds", "key"):
        assert option in inspect.signature(client.analyze).parameters
