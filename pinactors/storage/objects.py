"""Objects under names, written once: in a folder of this machine, or in an S3 bucket several machines share.

Synchronous: callers run it in threads. Names are made by this program (content hashes below fixed prefixes);
nothing a client sends becomes a part of one.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pinactors.settings import Settings, SettingUnusable


class ObjectsUnavailable(OSError):
    """The object store does not answer, or refuses. The same call may be made again."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing; `modified` is aware."""

    name: str
    modified: dt.datetime


class Objects(Protocol):
    """Every method raises `ObjectsUnavailable`, or `OSError` where the disk is at fault."""

    def put(self, name: str, data: bytes | Path) -> None:
        """Stores an object, whole or not at all, instead of one of the same name."""
        ...

    def get(self, name: str) -> bytes:
        """Raises `FileNotFoundError` where there is none."""
        ...

    def modified(self, name: str) -> dt.datetime | None:
        """When it was stored; None where there is none."""
        ...

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with `prefix`, a folder's name with its slash."""
        ...

    def delete(self, name: str) -> None:
        """Nothing happens where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class FolderObjects:
    """Objects as files below `folder`."""

    folder: Path

    def put(self, name: str, data: bytes | Path) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data.read_bytes() if isinstance(data, Path) else data)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

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
"""An upload waits for its photograph to be stored: a store that is away must not hold it up for long."""


class S3Objects:
    """Objects in a bucket, through obstore: one small wheel without dependencies, where boto3 brings four.

    Region, keys and endpoint come from the variables every S3 client reads (`AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` …) or from the machine's role.
    """

    def __init__(self, url: str) -> None:
        """Raises `SettingUnusable` for a URL or variables that cannot be used, and without obstore."""
        try:
            import obstore
            from obstore import exceptions
            from obstore.store import S3Store
        except ImportError:
            raise SettingUnusable("storage s3:// needs obstore: pip install 'pinactors[s3]'") from None
        self._obstore = obstore
        self._failures = (exceptions.BaseError,)
        # An endpoint that is named with http:// is meant so; obstore wants it said twice.
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        client: Any = {**CLIENT, "allow_http": plain}
        try:
            self._store = S3Store.from_url(url, client_options=client, retry_config=RETRIES)
        except (exceptions.BaseError, ValueError) as error:
            raise SettingUnusable(f"storage {url}: {_short(error)}") from error

    def put(self, name: str, data: bytes | Path) -> None:
        try:
            self._obstore.put(self._store, name, data)
        except (FileNotFoundError, *self._failures) as error:  # the bucket that is not there
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
    """What went wrong, without the XML of the answer and obstore's own structures, which follow."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200].split(": <?xml")[0]


def open_objects(settings: Settings) -> Objects:
    """What `settings.storage` names. Raises `SettingUnusable` as `S3Objects` does."""
    if settings.storage.startswith("s3://"):
        return S3Objects(settings.storage)
    return FolderObjects(settings.storage_folder)


def check_storage(settings: Settings) -> None:
    """One write, one read and one delete in an object store, before anything depends on it. Raises
    `SettingUnusable`."""
    if settings.storage.startswith("file:"):  # the image store makes its folders
        return
    objects, name = open_objects(settings), f"check/{os.urandom(8).hex()}"
    try:
        objects.put(name, b"pinactors")
        content = objects.get(name)
        objects.delete(name)
    except OSError as error:
        raise SettingUnusable(f"storage {settings.storage}: {error}") from error
    if content != b"pinactors":
        raise SettingUnusable(f"storage {settings.storage}: it does not give back what it was given")
