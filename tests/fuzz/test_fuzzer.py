"""The fuzzer of the parsers runs, and reports what it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import fuzz

pytest.importorskip("atheris", reason="atheris is not installed")


def test_inputs_are_tried(tmp_path: Path) -> None:
    tried, failed = fuzz.fuzz_target("offsets", 1, tmp_path)
    assert tried > 100
    assert failed == 0


def test_a_fuzzer_that_does_not_start_is_a_failure(tmp_path: Path) -> None:
    assert fuzz.fuzz_target("unknown", 1, tmp_path) == (0, 1)
    assert "KeyError: 'unknown'" in (tmp_path / "output.txt").read_text()
