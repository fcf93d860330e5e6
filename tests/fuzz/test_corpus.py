"""Tests on the fuzzing corpus (inputs that once caused faults, and seeds): each is parsed or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults.fuzz import TARGETS

CORPUS = Path(__file__).with_name("corpus")
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_is_parsed_or_refused(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_inputs() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert all(path.stat().st_size < 4096 for path in INPUTS)
