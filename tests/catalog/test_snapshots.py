"""Tests of published catalogues: a version is complete and never changes; each file is fetched once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinactors.catalog import snapshots
from pinactors.storage.objects import FolderObjects, Objects, ObjectsUnavailable
from tests.storage.conftest import objects, s3, s3_endpoint  # noqa: F401 - fixtures


def folder(path: Path, **files: bytes) -> Path:
    for name, content in files.items():
        target = path / name.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


def content(path: Path) -> dict[str, bytes]:
    return {
        file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def quiet(done: int, total: int) -> None:
    assert done <= total


def test_what_is_published_is_fetched(objects: Objects, tmp_path: Path) -> None:  # noqa: F811
    source = folder(tmp_path / "catalog", index=b"1" * 1000, pictures__a=b"a", pictures__b=b"")
    assert snapshots.latest(objects) is None
    version = snapshots.publish(source, objects, quiet)
    assert snapshots.latest(objects) == version
    fetched = snapshots.fetch(version, objects, tmp_path / "cache")
    assert content(fetched) == content(source)
    assert snapshots.publish(source, objects, quiet) == version


def test_only_what_changed_is_fetched_again(objects: Objects, tmp_path: Path) -> None:  # noqa: F811
    source, cache = folder(tmp_path / "catalog", index=b"1", picture=b"p"), tmp_path / "cache"
    first = snapshots.publish(source, objects, quiet)
    one = snapshots.fetch(first, objects, cache)
    folder(source, index=b"2")
    second = snapshots.publish(source, objects, quiet)
    assert second != first
    two = snapshots.fetch(second, objects, cache)
    assert (content(one)["index"], content(two)["index"]) == (b"1", b"2")  # sessions may still read the first
    assert (one / "picture").samefile(two / "picture")
    assert snapshots.fetch(first, objects, cache) == one


def test_a_version_that_was_never_published(objects: Objects, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(FileNotFoundError):
        snapshots.fetch("0" * 16, objects, tmp_path / "cache")
    assert not (tmp_path / "cache" / ("0" * 16)).exists()


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path / "objects")
    version = snapshots.publish(folder(tmp_path / "catalog", a=b"a", b=b"b"), store, quiet)
    damaged = next(path for path in (tmp_path / "objects/catalogs/files").rglob("*") if path.is_file())
    damaged.write_bytes(b"not what it was")
    with pytest.raises(ValueError, match="damaged"):
        snapshots.fetch(version, store, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name != "files"] == []


def test_a_manifest_may_not_write_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"):
        snapshots._inside(tmp_path, "../elsewhere")


def test_an_empty_folder_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    with pytest.raises(ValueError, match="no catalogue"):
        snapshots.publish(tmp_path / "catalog", FolderObjects(tmp_path / "objects"), quiet)


def test_old_versions_go(tmp_path: Path) -> None:
    store, cache = FolderObjects(tmp_path / "objects"), tmp_path / "cache"
    versions = []
    for number in range(snapshots.KEPT_VERSIONS + 1):
        source = folder(tmp_path / "catalog", index=b"%d" % number, picture=b"p")
        versions.append(snapshots.publish(source, store, quiet))
        os.utime(snapshots.fetch(versions[-1], store, cache), (number, number))
    snapshots.prune(cache)
    assert sorted(path.name for path in cache.iterdir() if path.name != "files") == sorted(versions[1:])
    assert len(list((cache / "files").iterdir())) == snapshots.KEPT_VERSIONS + 1  # one picture, three indexes


def test_what_names_the_latest_is_checked(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path / "objects")
    store.put(snapshots.LATEST, b"../../etc")
    with pytest.raises(ValueError, match="latest"):
        snapshots.latest(store)


def test_a_store_that_is_away_is_no_missing_version(tmp_path: Path) -> None:
    class Away(FolderObjects):
        def get(self, name: str) -> bytes:
            raise ObjectsUnavailable("away")

    with pytest.raises(ObjectsUnavailable):
        snapshots.latest(Away(tmp_path))
