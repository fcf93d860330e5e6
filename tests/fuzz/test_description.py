"""Runs schemathesis on the server's OpenAPI description: no answer is a 500 or missing in the description.

Skipped if schemathesis is not installed (`pip install schemathesis`).
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.servers import Server

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
]
EXAMPLES = 12
SECONDS = 120

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("described") / "data"
    with Server(data, informational_responses=False) as server:  # its client mistakes a 104 for the answer
        yield server


LINES = "/mobile-upload"
"""A path whose application/json answer may be a stream of one object a line: no schema can describe it."""


PARTS = ("--exclude-operation-id", "uploadAppend", "--exclude-operation-id", "tusAppend")
"""Operations left out because schemathesis cannot generate bodies of their media types."""


@pytest.mark.parametrize(
    ("paths", "checks"),
    [
        (("--exclude-path", LINES, *PARTS), CHECKS),
        (("--include-path", LINES), [each for each in CHECKS if each != "response_schema_conformance"]),
    ],
    ids=["others", "upload"],
)
def test_every_answer_is_described(
    server: Server, tmp_path: Path, paths: tuple[str, ...], checks: list[str]
) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"),
        *(*paths, "--checks", ",".join(checks), "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(EXAMPLES), "--generation-deterministic", "--request-timeout", "20"),
        *("--no-color", "--continue-on-failure"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "/mobile-upload" in run.stdout or " passed" in run.stdout, run.stdout[-2000:]
    assert "Traceback" not in server.log
    assert '"level": "error"' not in server.log
