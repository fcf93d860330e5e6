"""Published catalogues: immutable copies of catalogue folders in the object store, each named by its content.

`publish` stores every file once by content hash, then a manifest named by the version, then the name of the
latest version. `fetch` copies a version to a folder on this machine's disk, completely or not at all; files
that an earlier version has as well are linked, not fetched again.

Layout: `catalogs/files/aa/<sha256>`, `catalogs/versions/<version>.json`, `catalogs/latest`.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from pinactors.catalog import models
from pinactors.catalog.importing.importer import LOCK_FILE, exclusive
from pinactors.errors import ExternalError
from pinactors.storage.folders import write_whole
from pinactors.storage.objects import Objects

LATEST = "catalogs/latest"
VERSION_LENGTH = 16
"""Hexadecimal digits of the manifest's SHA-256 in a version's name: 64 bits are enough for a few thousand
versions."""

KEPT_VERSIONS = 3
"""Versions that a machine keeps on its disk: the one in use, the previous one, which sessions may still read,
and one more to return to."""
IN_USE_SECONDS = 3600.0
"""A version that was fetched or asked for within this time is kept as well: sessions may still read it."""

NOT_PUBLISHED = (f"{LOCK_FILE}*", "*-wal", "*-shm", "*.partial")
"""Names of the files in a catalogue's folder that are not part of it: they come and go while it is used."""

_REMOVED = ".removed-"
"""Prefix of the folders of versions that are being removed."""

_VERSION = re.compile(f"[0-9a-f]{{{VERSION_LENGTH}}}")


class SnapshotFile(msgspec.Struct, frozen=True, order=True):
    """A file of a catalogue: `path` relative to its folder, with slashes."""

    path: str
    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True):
    files: list[SnapshotFile]


class VersionSuperseded(ExternalError):
    """Another version was published while this one was made from its predecessor."""


def publish(
    folder: Path, objects: Objects, progress: Callable[[int, int], None], *, replaced: str | None = None
) -> str:
    """Uploads the catalogue in `folder`, makes it the latest version and returns the version's name. Nothing
    can be imported into `folder` meanwhile. `progress` is called with the bytes done and the bytes in all. No
    file is uploaded again for a version that was published before.

    `replaced` is the version that this one was made from, if its changes must not undo those of another one.
    Raises `VersionSuperseded` if it is not the latest version any more, `ImportRunning`, `OSError`
    (`ObjectsUnavailable`, a file that cannot be read) and `ValueError` for an empty folder.
    """
    with exclusive(folder):
        models.checkpoint(folder)
        files = sorted(_describe(path, folder) for path in folder.rglob("*") if _is_published(path))
        if not files:
            raise ValueError(f"there is no catalogue in {folder}")
        done, total = 0, sum(file.size for file in files)
        for file in files:
            if objects.modified(_name(file)) is None:
                objects.put(_name(file), folder / file.path)
            done += file.size
            progress(done, total)
    manifest = msgspec.json.encode(Manifest(files))
    version = hashlib.sha256(manifest).hexdigest()[:VERSION_LENGTH]
    objects.put(f"catalogs/versions/{version}.json", manifest)
    # Compared only now, because the upload can take minutes. Only what another process publishes between the
    # next two requests is not noticed.
    if replaced is not None and latest(objects) != replaced:
        raise VersionSuperseded(
            "another version of the catalogue was published in the meantime: please try again"
        )
    objects.put(LATEST, version.encode())
    return version


def _is_published(path: Path) -> bool:
    return path.is_file() and not any(fnmatch.fnmatch(path.name, pattern) for pattern in NOT_PUBLISHED)


def latest(objects: Objects) -> str | None:
    """The version published last; None if there is none. Raises `ObjectsUnavailable`, and `ValueError` if the
    stored name is not valid."""
    try:
        version = objects.get(LATEST).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    if not _VERSION.fullmatch(version):
        raise ValueError("the object store's latest catalogue has no version's name")
    return version


def fetch(version: str, objects: Objects, cache: Path) -> Path:
    """Returns the folder of `version` below `cache`. If it is missing, it is fetched, and versions that are
    no longer used are removed. Several processes may do so at the same time.

    Raises `FileNotFoundError` for a version that was never published, `ObjectsUnavailable`, and `ValueError`
    if fetched content does not match its hash.
    """
    target = cache / version
    with suppress(FileNotFoundError):
        os.utime(target)
        return target
    content = objects.get(f"catalogs/versions/{version}.json")
    if hashlib.sha256(content).hexdigest()[:VERSION_LENGTH] != version:
        raise ValueError(f"catalogue {version}: its manifest is damaged")
    manifest = msgspec.json.decode(content, type=Manifest)
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache, prefix=".fetching-"))
    try:
        for file in manifest.files:
            _fetch_file(file, objects, cache, _inside(partial, file.path))
        partial.chmod(0o755)
        os.utime(partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first: its folder has the same content
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _prune(cache)
    return target


def _prune(cache: Path) -> None:
    """Removes all versions except those used last, and the files that no version links to any more. Other
    processes may do so, and fetch versions, at the same time."""
    used: list[tuple[float, Path]] = []
    for path in cache.iterdir():
        if _VERSION.fullmatch(path.name):
            with suppress(FileNotFoundError):
                used.append((path.stat().st_mtime, path))
    used.sort(reverse=True)
    for at, path in used[KEPT_VERSIONS:]:
        if at < time.time() - IN_USE_SECONDS:
            with suppress(OSError):  # renamed first, so that a version is never there in part
                path.rename(path.with_name(f"{_REMOVED}{path.name}"))
    for path in cache.glob(f"{_REMOVED}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in (cache / "files").glob("*"):
        with suppress(FileNotFoundError):
            if path.stat().st_nlink == 1:
                path.unlink()


def _fetch_file(file: SnapshotFile, objects: Objects, cache: Path, target: Path) -> None:
    """Links `target` to the file's content in the cache's `files`; if it is missing there, fetches it."""
    cached = cache / "files" / file.sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        os.link(cached, target)
        return
    data = objects.get(_name(file))
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ValueError(f"catalogue file {file.path}: its content is damaged")
    write_whole(target, data)
    cached.parent.mkdir(exist_ok=True)
    with suppress(FileExistsError):
        os.link(target, cached)  # in this order, so that no other process finds it without a version


def _inside(folder: Path, relative: str) -> Path:
    """The path of `relative` in `folder`. Raises `ValueError` if it lies outside."""
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"catalogue file {relative!r} is not inside its folder")
    return path


def _describe(path: Path, folder: Path) -> SnapshotFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SnapshotFile(path.relative_to(folder).as_posix(), digest, path.stat().st_size)


def _name(file: SnapshotFile) -> str:
    return f"catalogs/files/{file.sha256[:2]}/{file.sha256}"
