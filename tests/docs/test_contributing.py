"""Test of the three examples in docs/contributing.md: each applies to a copy of the project and works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIFFS = re.findall(
    r"^```diff\n(.*?)^```$", (ROOT / "docs" / "contributing.md").read_text("utf-8"), re.M | re.S
)

TESTS = [
    "tests/analysis/report/test_colour.py",
    "tests/analysis/evidence/test_contrast.py",
    "tests/api/streams/test_framings.py::test_packets_come_back_byte_for_byte",
    "tests/test_docs.py::test_packets_and_limits_are_those_of_the_protocol",
    "tests/api/openapi/test_document.py::TestDocument::test_every_field_has_a_sentence",
    "tests/api/page/test_node.py::test_the_types_name_every_field_the_server_sends",
    "tests/test_components.py::test_every_component_has_a_basic_analysis_without_the_slow_steps",
]
"""The tests that the examples add, and the existing ones that such changes must pass."""


def copy_project(target: Path) -> None:
    for name in ("api", "pinactors", "tests", "docs", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules", "fixtures")
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, target)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_examples_apply_and_pass_their_tests(tmp_path: Path) -> None:
    assert len(DIFFS) == 3
    copy_project(tmp_path)
    for diff in DIFFS:
        command = ["git", "apply", "--unidiff-zero", "--whitespace=error", "-"]
        done = subprocess.run(command, cwd=tmp_path, input=diff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 3 + 4 + len(TESTS)
