"""Folders that the program writes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.storage.folders import make_writable


def test_what_is_no_folder_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "loop", "file/data"):
        with pytest.raises(OSError, match=rf"^the data folder .*{name} cannot be written: Not a directory$"):
            make_writable(tmp_path / name, "data folder")
    make_writable(tmp_path / "new" / "data", "data folder")
    assert list((tmp_path / "new" / "data").iterdir()) == []
