"""Tests of the files of the index."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pinactors.analysis.matching.keypoints import AXES, DIMENSIONS, Features
from pinactors.catalog import index
from pinactors.catalog.reader import Catalog


def test_a_damaged_state_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("{")
    with pytest.raises(ValueError, match="import the catalogue again"):
        Catalog.open(tmp_path)


def features(seed: int, count: int = 60) -> Features:
    """Made-up features with random descriptors."""
    chance = np.random.default_rng(seed)
    descriptors = np.abs(chance.standard_normal((count, DIMENSIONS))).astype(np.float32)
    return Features(
        chance.uniform(0, 512, (count, 2)).astype(np.float32),
        chance.uniform(4, 40, count).astype(np.float32),
        chance.uniform(-np.pi, np.pi, count).astype(np.float32),
        chance.integers(0, AXES, count).astype(np.uint8),
        descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
    )


def found(folder: Path, name: str, query: Features) -> list[int]:
    return [int(number) for number in index.open_index(folder / name).votes(query).numbers[:1]]


def test_index_finds_adds_and_replaces(tmp_path: Path) -> None:
    name = index.build(tmp_path, 1, None, ((seed, features(seed).encode()) for seed in range(50)))
    assert found(tmp_path, name, features(7)) == [7]

    state = index.IndexState("v", 1, name, 50, False, 1)
    changes = [(7, features(100).encode()), (900, features(101).encode())]
    later = index.build(tmp_path, 2, state, changes)
    assert [found(tmp_path, later, features(seed)) for seed in (100, 101, 30)] == [[7], [900], [30]]
    assert found(tmp_path, later, features(7)) != [7], "the old features are no longer found"

    index.write_state(tmp_path, dataclasses.replace(state, index=later))
    left = {path.name.partition(".")[0] for path in (tmp_path / "index").iterdir()}
    assert left == {"00000002"}
