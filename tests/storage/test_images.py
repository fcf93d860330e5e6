"""A store of photographs at its start: files that an ended process left behind; and folders that somebody
removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pinactors.storage.images import STALE_SECONDS, ImageStore, Sink


def test_what_a_killed_process_was_receiving_is_removed(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    store.prepare()
    kept = store.save(b"a photograph")
    long_ago, just_now = store.spool / "long ago", store.spool / "just now"
    for path in (long_ago, just_now):
        path.write_bytes(b"half of one")
    os.utime(long_ago, (0, long_ago.stat().st_mtime - STALE_SECONDS - 1))
    first_release = tmp_path / "spool"
    first_release.mkdir()
    (first_release / "left").write_bytes(b"half of another")

    store.prepare()
    assert list(store.spool.iterdir()) == [just_now], "another process may be receiving it"
    assert not first_release.exists()
    assert Path(kept.path).read_bytes() == b"a photograph"


def test_a_removed_spool_folder_is_made_again_on_the_same_volume_only(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    store.prepare()
    for folder in (store.spool, store.folder):
        shutil.rmtree(folder)
        assert Path(store.save(b"a photograph").path).read_bytes() == b"a photograph"

    with Sink.create(store) as sink:
        shutil.rmtree(store.folder)
    assert sink.kept, "a file that is gone is discarded"
    store._volumes[:] = [-1]  # as if the volume were no longer mounted
    with pytest.raises(OSError, match="not mounted"):
        store.save(b"another one")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    store = ImageStore(tmp_path / "images")
    store.prepare()
    return store


class TestStore:
    def test_the_same_content_is_kept_once(self, store: ImageStore) -> None:
        first, second = store.save(b"one"), store.save(b"one")
        assert first == second
        assert Path(first.path).read_bytes() == b"one"
        assert first.path.endswith(f"/{first.sha256[:2]}/{first.sha256}")

    def test_a_damaged_file_is_replaced(self, store: ImageStore) -> None:
        kept = store.save(b"another")
        Path(kept.path).write_bytes(b"")
        store.save(b"another")
        assert Path(kept.path).read_bytes() == b"another"

    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        store = ImageStore(tmp_path / "images")
        store.prepare()
        (store.spool / "new").touch()
        (store.spool / "old").touch()
        os.utime(store.spool / "old", (0, STALE_SECONDS))
        store.prepare()
        assert [file.name for file in store.spool.iterdir()] == ["new"]
