"""The store of partial uploads: what it keeps on disk, and what the next process finds."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pinactors.storage.partial_uploads import OffsetMismatch, PartialUploadStore

ID = "upload-1"


@pytest.fixture
def store(tmp_path: Path) -> PartialUploadStore:
    store = PartialUploadStore(tmp_path / "uploads")
    store.prepare()
    return store


def test_bytes_are_appended_at_the_offset_and_nowhere_else(store: PartialUploadStore) -> None:
    store.create(ID, b"{}")
    assert store.append(ID, 0, b"abc") == 3
    assert store.append(ID, 3, b"") == 3
    assert store.append(ID, 3, b"def") == 6
    for wrong in (0, 5, 7):
        with pytest.raises(OffsetMismatch) as caught:
            store.append(ID, wrong, b"x")
        assert caught.value.offset == 6
    assert store.offset(ID) == 6
    assert store.read(ID, 0, 100) == b"abcdef"
    assert store.read(ID, 2, 2) == b"cd"


def test_a_removed_folder_is_made_again_for_new_uploads(store: PartialUploadStore) -> None:
    store.create(ID, b"{}")
    shutil.rmtree(store.folder)
    with pytest.raises(FileNotFoundError):
        store.append(ID, 0, b"abc")
    store.create("upload-2", b"{}")
    assert store.append("upload-2", 0, b"abc") == 3


def test_what_was_appended_can_be_taken_back(store: PartialUploadStore) -> None:
    store.create(ID, b"{}")
    store.append(ID, 0, b"abcdef")
    store.truncate(ID, 2)
    assert store.append(ID, 2, b"X") == 3
    assert store.read(ID, 0, 9) == b"abX"


def test_the_next_process_finds_description_and_offset(store: PartialUploadStore) -> None:
    store.create(ID, b"first")
    store.append(ID, 0, b"abc")
    store.describe(ID, b"second")
    (kept,) = store.stored_uploads()
    assert (kept.upload_id, kept.description, kept.offset) == (ID, b"second", 3)


def test_one_whose_bytes_are_not_needed_any_more_keeps_its_description(store: PartialUploadStore) -> None:
    store.create(ID, b"told")
    store.append(ID, 0, b"abc")
    store.forget_bytes(ID)
    (kept,) = store.stored_uploads()
    assert (kept.description, kept.offset) == (b"told", 0)
    assert not store.path_of(ID).exists()


def test_files_of_a_process_killed_while_creating_are_removed(store: PartialUploadStore) -> None:
    store.path_of("half-made").write_bytes(b"")
    (store.folder / "half-made.new").write_bytes(b"{")
    assert list(store.stored_uploads()) == []
    assert list(store.folder.iterdir()) == []


def test_what_could_not_be_stored_leaves_no_file(
    store: PartialUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store.create("described", b"first")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store.create("not-created", b"description")
    with pytest.raises(OSError, match="No space"):
        store.describe("described", b"second")
    assert {path.name for path in store.folder.iterdir()} == {"described.bytes", "described.json"}


def test_a_removed_one_is_gone(store: PartialUploadStore) -> None:
    store.create(ID, b"{}")
    store.remove(ID)
    store.remove(ID)
    assert list(store.folder.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        store.append(ID, 0, b"x")
    with pytest.raises(FileNotFoundError):
        store.offset(ID)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/b", "short", "x" * 65, "upload-1\0"])
def test_no_name_leads_out_of_the_folder(store: PartialUploadStore, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        store.create(name, b"{}")
