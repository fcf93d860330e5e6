"""Photographs that two machines share through an object store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinactors.storage.images import ImageStore
from pinactors.storage.objects import FolderObjects, Listed, Objects, ObjectsUnavailable
from pinactors.storage.shared_images import SharedImages
from pinactors.storage.stored_image import StoredImage


class Failing(FolderObjects):
    """An object store that is unavailable while the file `away` is in its folder."""

    def put(self, name: str, data: bytes | Path) -> None:
        self._answer()
        super().put(name, data)

    def modified(self, name: str) -> dt.datetime | None:
        self._answer()
        return super().modified(name)

    def list(self, prefix: str) -> Iterator[Listed]:
        self._answer()
        return super().list(prefix)

    def _answer(self) -> None:
        if (self.folder / "away").exists():
            raise ObjectsUnavailable("away")


def machine(folder: Path, objects: Objects) -> ImageStore:
    store = ImageStore(folder / "images", SharedImages(objects))
    store.prepare()
    return store


def test_a_photograph_is_found_by_the_other_machine(objects: Objects, tmp_path: Path) -> None:
    one, two = machine(tmp_path / "one", objects), machine(tmp_path / "two", objects)
    taken = one.save(b"a photograph")
    brought = two.fetch(StoredImage("/elsewhere/" + taken.sha256, taken.sha256, taken.size))
    assert Path(brought.path).is_relative_to(tmp_path / "two")
    assert Path(brought.path).read_bytes() == b"a photograph"
    assert one.fetch(taken) == taken


def test_a_photograph_that_is_nowhere(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        machine(tmp_path, objects).fetch(StoredImage("/elsewhere", "ab" * 32, 1))


def test_a_photograph_is_stored_once(objects: Objects, tmp_path: Path) -> None:
    one, two = machine(tmp_path / "one", objects), machine(tmp_path / "two", objects)
    one.save(b"a photograph")
    (first,) = objects.list("images/")
    two.save(b"a photograph")
    assert list(objects.list("images/")) == [first]


def test_while_the_store_is_away_photographs_wait(tmp_path: Path) -> None:
    objects = Failing(tmp_path / "objects")
    objects.put("away", b"")
    one = machine(tmp_path / "one", objects)
    taken = one.save(b"a photograph")
    assert Path(taken.path).read_bytes() == b"a photograph"
    assert one.shared is not None
    assert one.shared.waiting == 1
    with pytest.raises(ObjectsUnavailable):
        one.shared.retry()
    (tmp_path / "objects" / "away").unlink()
    one.shared.retry()
    assert one.shared.waiting == 0
    assert machine(tmp_path / "two", objects).fetch(StoredImage("/elsewhere", taken.sha256, 12)).size == 12


def test_stale_ones_can_be_found_and_removed(objects: Objects, tmp_path: Path) -> None:
    shared = SharedImages(objects)
    taken = machine(tmp_path, objects).save(b"a photograph")
    now = dt.datetime.now(dt.UTC)
    assert list(shared.stale(now - dt.timedelta(hours=1))) == []
    assert list(shared.stale(now + dt.timedelta(hours=1))) == [taken.sha256]
    shared.remove(taken.sha256)
    assert list(objects.list("images/")) == []
