"""The connection: which database a setting means, one transaction at a time on a thread, and its failures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import peewee
import structlog
import trio
from playhouse import db_url  # type: ignore[import-untyped]

from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records import migrations
from pinactors.settings import Settings

T = TypeVar("T")

log = structlog.get_logger(__name__)

DATABASE_FILE = "pinactors.db"

BUSY_MILLISECONDS = 2000
"""How long one transaction waits for another process's lock before it counts as unavailable: several tries
fit into what is left of a session's deadline."""

CONNECT_SECONDS = 5
READER_THREADS = 4
SERVER_WRITERS = 4


class RecordsUnavailable(PinactorsError):
    """The database is busy, locked, full or gone. Nothing was changed; the same call may be made again."""


def unavailable(cause: BaseException | None) -> RecordsUnavailable:
    """What a client may know: never a path, a host or a statement."""
    error = RecordsUnavailable(
        ErrorCode.OVERLOADED,
        "Records are unavailable",
        "The database cannot be used at the moment",
        retry_after=5.0,
    )
    error.__cause__ = cause
    return error


def connect(settings: Settings) -> peewee.Database:
    """The database `settings` mean, pooled, not connected yet.

    Raises `ValueError` for an unusable URL, in words that hold no part of it: it may hold a password.
    """
    if not settings.database_url:
        settings.data.mkdir(parents=True, exist_ok=True)
        return _sqlite(str(settings.data / DATABASE_FILE))
    scheme, separator, rest = settings.database_url.partition("://")
    if not separator:
        raise ValueError("database URL: it is no URL")
    scheme = scheme.removesuffix("+pool")
    if scheme not in ("sqlite", "postgres", "postgresql"):
        raise ValueError(f"database URL: unknown kind {scheme!r}; SQLite and PostgreSQL are supported")
    if scheme == "sqlite":
        path, options, _ = rest.removeprefix("/").partition("?")
        if options:
            raise ValueError("database URL: SQLite takes no options here, it is set up for several processes")
        if path in ("", ":memory:"):
            raise ValueError("database URL: a database in memory would be another one for every connection")
        return _sqlite(path)
    try:
        database: peewee.Database = db_url.connect(
            f"{scheme}+pool://{rest}",
            unquote_user=True,
            unquote_password=True,
            max_connections=READER_THREADS + SERVER_WRITERS,
            connect_timeout=CONNECT_SECONDS,
        )
    except peewee.ImproperlyConfigured:
        raise _driver_missing() from None
    except ValueError:
        raise ValueError("database URL: it cannot be read or names no database") from None
    return database


def _driver_missing() -> ValueError:
    return ValueError(
        "database URL: its driver is not installed; pip install 'pinactors[postgres]' brings it"
    )


def _sqlite(path: str) -> peewee.Database:
    pragmas = [  # the journal's mode is the file's, not the connection's: migrating sets it
        ("busy_timeout", BUSY_MILLISECONDS),
        ("synchronous", "normal"),
        ("foreign_keys", 1),
    ]
    database: peewee.Database = db_url.schemes["sqlite+pool"](
        path,
        pragmas=pragmas,
        max_connections=READER_THREADS + 1,
        timeout=BUSY_MILLISECONDS / 1000,
        check_same_thread=False,  # the pool hands a connection from thread to thread, never to two at once
    )
    return database


class Store:
    """Runs functions of a database, each in a transaction on one thread under a limiter of its own.

    Writers of SQLite queue here, in order, instead of polling for its one write lock.
    """

    def __init__(self, database: peewee.Database) -> None:
        self.database: Any = database  # a pool: more than peewee's types know
        self._file = Path(database.database) if isinstance(database, peewee.SqliteDatabase) else None
        self._identity: tuple[int, int] | None = None
        self._migrating = threading.Lock()
        self._readers = trio.CapacityLimiter(READER_THREADS)
        self._writers = trio.CapacityLimiter(1 if self._file else SERVER_WRITERS)

    async def open(self) -> None:
        """Connects and migrates. Raises `RecordsUnavailable`, `SchemaTooNew`."""
        await trio.to_thread.run_sync(self._guard, self._migrate, limiter=self._readers)

    async def read(self, function: Callable[[peewee.Database], T]) -> T:
        return await trio.to_thread.run_sync(
            self._guard, self._transaction, function, "", limiter=self._readers
        )

    async def look_up(self, function: Callable[[peewee.Database], T]) -> T:
        """As `read`, for a function that runs one quick statement: alone it needs no transaction."""
        return await trio.to_thread.run_sync(self._guard, self._look_up, function, limiter=self._readers)

    async def write(self, function: Callable[[peewee.Database], T]) -> T:
        """Cancellation waits for the transaction's end: what was asked for is done or not, never unknown."""
        mode = "IMMEDIATE" if self._file else ""
        return await trio.to_thread.run_sync(
            self._guard, self._transaction, function, mode, limiter=self._writers
        )

    async def close(self) -> None:
        await trio.to_thread.run_sync(self.database.close_all, limiter=self._readers)

    def _guard(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return work(*arguments)
        except peewee.ImproperlyConfigured:
            raise _driver_missing() from None
        except (peewee.IntegrityError, peewee.DataError, peewee.ProgrammingError, peewee.NotSupportedError):
            raise  # ours to mend, not to repeat
        except (peewee.DatabaseError, peewee.InterfaceError, OSError) as error:
            log.warning("database unavailable", reason=str(error))
            raise unavailable(error) from error

    def _transaction(self, function: Callable[[peewee.Database], T], mode: str) -> T:
        self._check_file()
        with self.database.connection_context(), self.database.atomic(*filter(None, [mode])):
            return function(self.database)

    def _look_up(self, function: Callable[[peewee.Database], T]) -> T:
        self._check_file()
        with self.database.connection_context():
            return function(self.database)

    def _migrate(self) -> None:
        with self.database.connection_context():
            migrations.migrate(self.database)
        self._identity = self._identify()

    def _identify(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        status = os.stat(self._file)
        return status.st_dev, status.st_ino

    def _check_file(self) -> None:
        """An open connection keeps writing to a deleted file and SQLite makes an absent one anew: both would
        lose analyses in silence. A file that is gone is an error until it is back; another one is opened."""
        if self._identify() == self._identity:
            return
        with self._migrating:
            if self._identify() != self._identity:
                self.database.close_idle()
                self._migrate()
