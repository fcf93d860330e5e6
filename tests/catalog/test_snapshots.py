"""Tests of published catalogues: a version is complete and never changes; each file is fetched once."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pinactors.catalog import models, snapshots
from pinactors.catalog.importing.importer import LOCK_FILE, ImportRunning, exclusive
from pinactors.storage.folders import write_whole
from pinactors.storage.objects import FolderObjects, Objects, ObjectsUnavailable
from tests.storage.conftest import objects, s3, s3_endpoint  # noqa: F401 - fixtures


def folder(path: Path, **files: bytes) -> Path:
    for name, content in files.items():
        target = path / name.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


def content(path: Path) -> dict[str, bytes]:
    files = [file for file in path.rglob("*") if file.is_file() and file.name != LOCK_FILE]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


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


def test_a_version_is_not_published_over_one_that_its_maker_did_not_see(tmp_path: Path) -> None:
    source, other = folder(tmp_path / "catalog", index=b"1"), folder(tmp_path / "other", index=b"other")
    plain = FolderObjects(tmp_path / "objects")
    first = snapshots.publish(source, plain, quiet)

    class Meanwhile(FolderObjects):
        """Another version is published while a file is uploaded."""

        def put(self, name: str, data: bytes | Path) -> None:
            if "files/" in name:
                snapshots.publish(other, plain, quiet)
            super().put(name, data)

    folder(source, index=b"2")
    with pytest.raises(snapshots.VersionSuperseded, match="try again"):
        snapshots.publish(source, Meanwhile(tmp_path / "objects"), quiet, replaced=first)
    theirs = snapshots.latest(plain)
    assert theirs is not None
    assert content(snapshots.fetch(theirs, plain, tmp_path / "cache")) == {"index": b"other"}
    ours = snapshots.publish(source, plain, quiet, replaced=theirs)
    assert snapshots.latest(plain) == ours


def test_nothing_is_published_during_an_import_and_nothing_imported_meanwhile(tmp_path: Path) -> None:
    source, store = folder(tmp_path / "catalog", index=b"1"), FolderObjects(tmp_path / "objects")
    with exclusive(source), pytest.raises(ImportRunning, match="being imported or published"):
        snapshots.publish(source, store, quiet)
    assert snapshots.latest(store) is None

    def import_(done: int, total: int) -> None:
        with pytest.raises(ImportRunning), exclusive(source):
            pass

    assert snapshots.publish(source, store, import_) == snapshots.latest(store)


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent cannot be locked"):
        snapshots.publish(tmp_path / "absent", FolderObjects(tmp_path / "objects"), quiet)


def test_what_only_readers_and_imports_use_is_not_published(tmp_path: Path) -> None:
    """The write-ahead log is not, and its changes are in the published database."""
    source, store = folder(tmp_path / "catalog", index=b"1"), FolderObjects(tmp_path / "objects")
    folder(source, **{"pictures__a.jpg.7.partial": b"half", LOCK_FILE: b""})
    database, readers = models.database_of(source), models.database_of(source)
    with models.connected(readers), models.connected(database):  # its log stays while a reader is connected
        models.create(database)
        models.set_fact(database, "revision", "7")
        assert (source / "catalog.sqlite3-wal").stat().st_size > 0
        fetched = snapshots.fetch(snapshots.publish(source, store, quiet), store, tmp_path / "cache")
    assert sorted(content(fetched)) == ["catalog.sqlite3", "index"]
    with sqlite3.connect(fetched / models.DATABASE_FILE) as published:
        assert published.execute("SELECT value FROM fact WHERE name = 'revision'").fetchone() == ("7",)
    published.close()


def test_a_damaged_database_is_not_published(tmp_path: Path) -> None:
    source, store = folder(tmp_path / "catalog", index=b"1"), FolderObjects(tmp_path / "objects")
    (source / models.DATABASE_FILE).write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=r"catalog\.sqlite3 cannot be read: file is not a database"):
        snapshots.publish(source, store, quiet)
    assert snapshots.latest(store) is None


def test_old_versions_go(tmp_path: Path) -> None:
    store, cache = FolderObjects(tmp_path / "objects"), tmp_path / "cache"
    versions = []
    for number in range(snapshots.KEPT_VERSIONS + 1):
        source = folder(tmp_path / "catalog", index=b"%d" % number, picture=b"p")
        versions.append(snapshots.publish(source, store, quiet))
        os.utime(snapshots.fetch(versions[-1], store, cache), (number, number))
    assert sorted(path.name for path in cache.iterdir() if path.name != "files") == sorted(versions[1:])
    assert len(list((cache / "files").iterdir())) == snapshots.KEPT_VERSIONS + 1  # one picture, three indexes


def test_versions_that_may_still_be_read_stay(tmp_path: Path) -> None:
    store, cache = FolderObjects(tmp_path / "objects"), tmp_path / "cache"
    for number in range(snapshots.KEPT_VERSIONS + 2):
        source = folder(tmp_path / "catalog", index=b"%d" % number)
        snapshots.fetch(snapshots.publish(source, store, quiet), store, cache)
    assert len([path for path in cache.iterdir() if path.name != "files"]) == snapshots.KEPT_VERSIONS + 2


def test_files_that_another_process_is_fetching_are_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cache = FolderObjects(tmp_path / "objects"), tmp_path / "cache"
    source = folder(tmp_path / "catalog", index=b"1", picture=b"p")
    version = snapshots.publish(source, store, quiet)

    def write(target: Path, data: bytes) -> None:
        write_whole(target, data)
        snapshots._prune(cache)  # as another process does after a fetch

    monkeypatch.setattr(snapshots, "write_whole", write)
    assert content(snapshots.fetch(version, store, cache)) == content(source)


def test_many_processes_fetch_and_remove_at_once(tmp_path: Path) -> None:
    store, cache = FolderObjects(tmp_path / "objects"), tmp_path / "cache"
    with ThreadPoolExecutor(8) as pool:
        for number in range(12):
            source = folder(tmp_path / "catalog", index=b"%d" % number, a=b"%d" % (number // 2), b=b"b")
            version = snapshots.publish(source, store, quiet)
            for fetched in list(pool.map(lambda name: snapshots.fetch(name, store, cache), [version] * 8)):
                assert content(fetched) == content(source)
            os.utime(cache / version, (number, number))
    names = [path.name for path in cache.iterdir() if path.name != "files"]
    assert len(names) == snapshots.KEPT_VERSIONS
    assert version in names


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
