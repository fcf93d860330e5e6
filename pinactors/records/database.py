"""The connection to the database that the settings name: transactions on threads, and errors as
`RecordsUnavailable`."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import peewee
import structlog
import trio
from playhouse import db_url  # type: ignore[import-untyped]

from pinactors.lines import first_line
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records import migrations
from pinactors.settings import Settings, SettingUnusable

T = TypeVar("T")

log = structlog.get_logger(__name__)

DATABASE_FILE = "pinactors.db"

BUSY_MILLISECONDS = 2000
"""How long a transaction waits for another process's lock before the database counts as unavailable: short
enough for several attempts within the rest of a session's deadline."""

SHARED_BYTES = 64 * 1024
"""Room on the disk without which SQLite cannot even read: the file that it shares with other processes has
32 KiB."""

CONNECT_SECONDS = 5
READER_THREADS = 4
SERVER_WRITERS = 4

ENCODING = "UTF8"
"""The only encoding of a PostgreSQL database that can store every text, and counts its characters."""

_MAY_NOT, _NO_SCHEMA = "42501", "3F000"
"""SQLSTATEs of PostgreSQL: the user lacks a right; no schema is selected, or none that the user may see."""


class RecordsUnavailable(PinactorsError):
    """The database is busy, locked, full or missing. Nothing was changed; the same call may be repeated."""


def unavailable(cause: BaseException | None) -> RecordsUnavailable:
    """The error for a client: it contains no path, host or SQL statement. Its note has the cause, for the
    person who runs the program."""
    error = RecordsUnavailable(
        ErrorCode.OVERLOADED,
        "Records are unavailable",
        "The database cannot be used at the moment",
        retry_after=5.0,
    )
    error.__cause__ = cause
    if cause is not None:
        error.add_note(first_line(cause))
    return error


def connect(settings: Settings) -> peewee.Database:
    """The database that `settings` name, with a connection pool, not connected yet.

    Raises `ValueError` for an invalid URL; the message contains no part of it except its kind, because the
    URL may contain a password.
    """
    if not settings.database_url:
        settings.data.mkdir(parents=True, exist_ok=True)
        return _sqlite(str(settings.data / DATABASE_FILE))
    scheme, separator, rest = settings.database_url.partition("://")
    if not separator:
        raise ValueError("database URL: it is not a URL")
    scheme = scheme.removesuffix("+pool")
    if scheme not in ("sqlite", "postgres", "postgresql"):
        raise ValueError(f"database URL: unknown kind {scheme!r}; SQLite and PostgreSQL are supported")
    if scheme == "sqlite":
        path, options, _ = rest.removeprefix("/").partition("?")
        if options:
            raise ValueError(
                "database URL: SQLite takes no options here, because it is set up for several processes"
            )
        if path in ("", ":memory:"):
            raise ValueError("database URL: a database in memory would be a separate one for each connection")
        return _sqlite(path)
    try:
        database: peewee.Database = db_url.connect(
            f"{scheme}+pool://{rest}",
            unquote_user=True,
            unquote_password=True,
            max_connections=READER_THREADS + SERVER_WRITERS,
            connect_timeout=CONNECT_SECONDS,
            client_encoding=ENCODING,  # also if PGCLIENTENCODING names another one
        )
    except peewee.ImproperlyConfigured:
        raise _driver_missing() from None
    except ValueError:
        raise ValueError("database URL: it cannot be read or names no database") from None
    except KeyError:  # of peewee's own options
        raise ValueError("database URL: an option in database_url has a value that is unknown") from None
    return database


def _driver_missing() -> ValueError:
    return ValueError(
        "database URL: its driver is not installed; pip install 'pinactors[postgres]' brings it"
    )


def _refusal(error: peewee.ProgrammingError) -> SettingUnusable | None:
    """The reason if PostgreSQL or its driver refuses to open what `database_url` names; None for a bug in
    this program."""
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg, psycopg2
    if state is None:  # of the driver, before it connects
        return SettingUnusable(f"database_url: {first_line(error)}")
    if state in (_MAY_NOT, _NO_SCHEMA):
        return SettingUnusable(
            f"database_url: its user may not create or use tables in this database: {first_line(error)}"
        )
    return None


def _is_full(folder: Path) -> bool:
    """Whether the folder's disk has no room for the files that SQLite makes to read a database."""
    try:
        return shutil.disk_usage(folder).free < SHARED_BYTES
    except OSError:
        return False


def _sqlite(path: str) -> peewee.Database:
    pragmas = [  # the journal mode belongs to the file, not to the connection: the migration sets it
        ("busy_timeout", BUSY_MILLISECONDS),
        ("synchronous", "normal"),
        ("foreign_keys", 1),
    ]
    database: peewee.Database = db_url.schemes["sqlite+pool"](
        path,
        pragmas=pragmas,
        max_connections=READER_THREADS + 1,
        timeout=BUSY_MILLISECONDS / 1000,
        check_same_thread=False,  # the pool gives a connection to several threads, but never to two at once
    )
    return database


class Store:
    """Runs functions on a database, each in a transaction on a thread; reads and writes have a limiter each.

    Writers of SQLite queue here, in order, instead of polling for its only write lock.
    """

    def __init__(self, database: peewee.Database) -> None:
        self.database: Any = database  # a pool, whose methods peewee's types do not contain
        self._file = Path(database.database) if isinstance(database, peewee.SqliteDatabase) else None
        self._identity: tuple[int, int] | None = None
        self._migrating = threading.Lock()
        self._readers = trio.CapacityLimiter(READER_THREADS)
        self._writers = trio.CapacityLimiter(1 if self._file else SERVER_WRITERS)

    async def open(self) -> None:
        """Connects and migrates. Raises `RecordsUnavailable`, `SchemaTooNew`, and `SettingUnusable` for a
        database in which the tables cannot be made or text cannot be stored."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.close)
            await trio.to_thread.run_sync(self._guard, self._begin, limiter=self._readers)
            stack.pop_all()

    async def read(self, function: Callable[[peewee.Database], T]) -> T:
        return await trio.to_thread.run_sync(
            self._guard, self._transaction, function, "", limiter=self._readers
        )

    async def look_up(self, function: Callable[[peewee.Database], T]) -> T:
        """Like `read`, for a function that runs a single quick statement, which needs no transaction."""
        return await trio.to_thread.run_sync(self._guard, self._look_up, function, limiter=self._readers)

    async def write(self, function: Callable[[peewee.Database], T]) -> T:
        """Runs `function` in a write transaction. Cancellation waits for the transaction's end, so that its
        outcome is always known."""
        mode = "IMMEDIATE" if self._file else ""
        return await trio.to_thread.run_sync(
            self._guard, self._transaction, function, mode, limiter=self._writers
        )

    async def close(self) -> None:
        """Closes all connections, also if the caller is cancelled."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.database.close_all, limiter=self._readers)

    def _guard(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return work(*arguments)
        except peewee.ImproperlyConfigured:
            raise _driver_missing() from None
        except (peewee.IntegrityError, peewee.DataError, peewee.ProgrammingError, peewee.NotSupportedError):
            raise  # a bug in this program: repeating the call would not help
        except (peewee.DatabaseError, peewee.InterfaceError, OSError) as error:
            refusal = unavailable(error)
            if self._file is not None and _is_full(self._file.parent):  # SQLite says "disk I/O error"
                refusal.add_note(f"the disk of {self._file.parent} is full")
            reason = ": ".join(refusal.__notes__)
            log.warning("database unavailable", database=self.database.database, reason=reason)
            raise refusal from error

    def _transaction(self, function: Callable[[peewee.Database], T], mode: str) -> T:
        self._check_file()
        with self.database.connection_context(), self.database.atomic(*filter(None, [mode])):
            return function(self.database)

    def _look_up(self, function: Callable[[peewee.Database], T]) -> T:
        self._check_file()
        with self.database.connection_context():
            return function(self.database)

    def _begin(self) -> None:
        if self._file is not None:
            self._migrate()
            return
        try:
            with self.database.connection_context():
                self._check_encoding()
            self._migrate()
        except peewee.ProgrammingError as error:
            refusal = _refusal(error)
            if refusal is None:
                raise
            raise refusal from error

    def _check_encoding(self) -> None:
        (found,) = self.database.execute_sql("SHOW server_encoding").fetchone()
        if found != ENCODING:
            raise SettingUnusable(
                f"database_url: the database has the encoding {found}, which cannot store every text; "
                f"make one with CREATE DATABASE … ENCODING '{ENCODING}' TEMPLATE template0"
            )

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
        """Checks that the database file is still the same. Without this check, analyses would be lost
        unnoticed: an open connection keeps writing to a deleted file, and SQLite creates a missing file
        again. A missing file is an error until it is back; a replaced file is opened and migrated."""
        if self._identify() == self._identity:
            return
        with self._migrating:
            if self._identify() != self._identity:
                self.database.close_idle()
                self._migrate()
