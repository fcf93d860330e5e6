from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from pinactors.compute import Handle, scratch
from tests.compute.jobs import Picture


def base_of(array: np.ndarray) -> object:
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base


def test_arrays_come_back_mapped_and_read_only(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    points = np.linspace(0, 1, 33, dtype=np.float32).reshape(-1, 3)
    handle = scratch.save(str(tmp_path / "new"), (Picture(rgb, "pin"), points, "text"))
    picture, again, text = scratch.load(handle)
    np.testing.assert_array_equal(picture.rgb, rgb)
    np.testing.assert_array_equal(again, points)
    assert (picture.name, text) == ("pin", "text")
    assert isinstance(base_of(picture.rgb), mmap.mmap)
    assert picture.rgb.ctypes.data % scratch.ALIGNMENT == 0
    assert again.ctypes.data % scratch.ALIGNMENT == 0
    with pytest.raises(ValueError, match="read-only"):
        picture.rgb[0, 0, 0] = 1


def test_a_slice_that_is_not_contiguous_survives(tmp_path: Path) -> None:
    whole = np.arange(100, dtype=np.uint8).reshape(10, 10)
    np.testing.assert_array_equal(scratch.load(scratch.save(str(tmp_path), whole[::2, ::2])), whole[::2, ::2])


def test_the_value_outlives_its_file(tmp_path: Path) -> None:
    array = np.full((1000, 1000), 7, dtype=np.uint8)
    handle = scratch.save(str(tmp_path), array)
    value = scratch.load(handle)
    Path(handle.path).unlink()
    assert int(value.sum()) == 7_000_000


@pytest.mark.parametrize(
    ("value", "decided"), [(Picture(np.zeros((1, 1, 3), np.uint8), ""), True), ("x", False)]
)
def test_decided_is_copied(tmp_path: Path, value: object, decided: bool) -> None:
    assert scratch.save(str(tmp_path), value).decided is decided


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(b"something else altogether, long enough for a header")
    with pytest.raises(ValueError, match="not a scratch file"):
        scratch.load(Handle(str(path)))
