"""Object store: named objects in a folder of this machine, or in an S3 bucket that several machines share.

Synchronous: callers run it in threads. This program makes the names (content hashes after fixed prefixes);
no part of a name comes from a client.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pinactors.lines import first_line
from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.folders import write_whole


class ObjectsUnavailable(OSError):
    """The object store does not answer, or refuses the request. The call may be repeated."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing; `modified` has a time zone."""

    name: str
    modified: dt.datetime


class Objects(Protocol):
    """An object store. Every method raises `ObjectsUnavailable`, or `OSError` if the local disk fails."""

    def put(self, name: str, data: bytes | Path) -> None:
        """Stores an object, whole or not at all, and replaces one of the same name."""
        ...

    def get(self, name: str) -> bytes:
        """Raises `FileNotFoundError` if there is no such object."""
        ...

    def modified(self, name: str) -> dt.datetime | None:
        """When the object was stored; None if there is no such object."""
        ...

    def list(self, prefix: str) -> Iterator[Listed]:
        """Objects whose names begin with `prefix`, the name of a folder including its slash."""
        ...

    def delete(self, name: str) -> None:
        """Deletes the object; does nothing if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class FolderObjects:
    """An object store whose objects are files in `folder`."""

    folder: Path

    def put(self, name: str, data: bytes | Path) -> None:
        write_whole(self.folder / name, data.read_bytes() if isinstance(data, Path) else data)

    def get(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def modified(self, name: str) -> dt.datetime | None:
        try:
            return _modified(os.stat(self.folder / name))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[Listed]:
        for path in sorted((self.folder / prefix).rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.name.startswith("."):
                    yield Listed(path.relative_to(self.folder).as_posix(), _modified(path.stat()))

    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


def _modified(status: os.stat_result) -> dt.datetime:
    return dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)


CLIENT: dict[str, Any] = {"timeout": "30s", "connect_timeout": "3s"}
RETRIES: Any = {
    "max_retries": 2,
    "retry_timeout": dt.timedelta(seconds=10),
    "backoff": {
        "init_backoff": dt.timedelta(milliseconds=100),
        "max_backoff": dt.timedelta(seconds=1),
        "base": 2,
    },
}
"""Timeouts and retries are short because an upload waits until its photograph is stored."""


class S3Objects:
    """Objects in a bucket, through obstore: one small wheel without dependencies, while boto3 needs four.

    Region, keys and endpoint come from the environment variables that every S3 client reads
    (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` …) or from the role of the
    machine.
    """

    def __init__(self, url: str) -> None:
        """Raises `SettingUnusable` if the URL or the variables cannot be used or obstore is not installed."""
        try:
            import obstore
            from obstore import exceptions
            from obstore.store import S3Store
        except ImportError:
            raise SettingUnusable("storage s3:// needs obstore: pip install 'pinactors[s3]'") from None
        self._obstore = obstore
        self._failures = (exceptions.BaseError,)
        # obstore refuses an endpoint with http:// unless `allow_http` is set as well.
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        client: Any = {**CLIENT, "allow_http": plain}
        try:
            self._store = S3Store.from_url(url, client_options=client, retry_config=RETRIES)
        except (exceptions.BaseError, ValueError) as error:
            raise SettingUnusable(f"storage {url}: {_short(error)}") from error

    def put(self, name: str, data: bytes | Path) -> None:
        try:
            self._obstore.put(self._store, name, data)
        except (FileNotFoundError, *self._failures) as error:  # FileNotFoundError: there is no such bucket
            raise _unavailable(error) from error

    def get(self, name: str) -> bytes:
        try:
            return bytes(self._obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            raise
        except self._failures as error:
            raise _unavailable(error) from error

    def modified(self, name: str) -> dt.datetime | None:
        try:
            return self._obstore.head(self._store, name)["last_modified"]
        except FileNotFoundError:
            return None
        except self._failures as error:
            raise _unavailable(error) from error

    def list(self, prefix: str) -> Iterator[Listed]:
        try:
            for page in self._obstore.list(self._store, prefix.rstrip("/")):
                for found in page:
                    yield Listed(found["path"], found["last_modified"])
        except self._failures as error:
            raise _unavailable(error) from error

    def delete(self, name: str) -> None:
        try:
            self._obstore.delete(self._store, name)
        except FileNotFoundError:
            pass
        except self._failures as error:
            raise _unavailable(error) from error


def _unavailable(error: BaseException) -> ObjectsUnavailable:
    return ObjectsUnavailable(f"the object store cannot be used: {_short(error)}")


def _short(error: BaseException) -> str:
    """The reason of the failure, without the XML of the response and obstore's structures that follow it."""
    return first_line(error)[:200].split(": <?xml")[0]


def open_objects(settings: Settings) -> Objects:
    """The object store that `settings.storage` names. Raises `SettingUnusable` as `S3Objects` does."""
    if settings.storage.startswith("s3://"):
        return S3Objects(settings.storage)
    return FolderObjects(settings.storage_folder)


def check_storage(settings: Settings) -> None:
    """Tests an object store with one write, one read and one delete, before anything depends on it. Raises
    `SettingUnusable`."""
    if settings.storage.startswith("file:"):  # the image store creates its own folders
        return
    objects, name = open_objects(settings), f"check/{os.urandom(8).hex()}"
    try:
        objects.put(name, b"pinactors")
        content = objects.get(name)
        objects.delete(name)
    except OSError as error:
        raise SettingUnusable(f"storage {settings.storage}: {error}") from error
    if content != b"pinactors":
        raise SettingUnusable(f"storage {settings.storage}: it does not return what was stored in it")
