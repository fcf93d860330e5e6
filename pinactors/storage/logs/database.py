"""The PostgreSQL database of the packet logs that several masters share: its tables, and transactions on
threads.

Records have their own schema and connections (`pinactors.records`). This schema changes with the packet log,
and is written to hundreds of times a second. Only the `async` methods of `LogDatabase` may be called on the
event loop; everything else is synchronous.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

import trio

from pinactors.lines import first_line
from pinactors.settings import Settings, SettingUnusable

T = TypeVar("T")

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE log_schema (version integer NOT NULL);
CREATE TABLE log_master (id text PRIMARY KEY, alive_until timestamptz NOT NULL);
CREATE TABLE log_session (
    stream_id text PRIMARY KEY,
    owner text NOT NULL,
    holder text,
    fence bigint NOT NULL,
    finished boolean NOT NULL DEFAULT false,
    cancelled boolean NOT NULL DEFAULT false,
    touched timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX log_session_unfinished ON log_session (holder) WHERE NOT finished;
CREATE INDEX log_session_owner ON log_session (owner) WHERE NOT finished;
CREATE INDEX log_session_finished ON log_session (touched) WHERE finished;
CREATE TABLE log_entry (
    stream_id text NOT NULL REFERENCES log_session ON DELETE CASCADE,
    number integer NOT NULL,
    kind text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (stream_id, number)
);
CREATE TABLE log_claim (
    name bytea PRIMARY KEY,
    stream_id text NOT NULL,
    fingerprint text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX log_claim_stream ON log_claim (stream_id);
CREATE TABLE log_rate (owner text PRIMARY KEY, tokens double precision NOT NULL, at timestamptz NOT NULL);
"""

_SCHEMA_LOCK = 7_465_108

CONNECT_SECONDS = 2
ANSWER_MILLISECONDS = 3000
"""How long the network or a statement may take; after that the database counts as unavailable."""

OPTIONS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": ANSWER_MILLISECONDS,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "application_name": "pinactors log",
    "client_encoding": "UTF8",
}

TRANSACTION_THREADS = 4
"""How many transactions run at the same moment: so many that wait for the disk, and so many that do not."""

ASYNCHRONOUS = "-c synchronous_commit=off"
LIMITS = f"-c statement_timeout={ANSWER_MILLISECONDS} -c lock_timeout={ANSWER_MILLISECONDS}"
PLANNED_ONCE = "-c plan_cache_mode=force_generic_plan"
"""Reuses one plan per statement: the few statements are always alike, and planning takes longer than running
them."""

PREFIXES = (
    "postgresql://",
    "postgres://",
    "postgresql+pool://",
    "postgres+pool://",
    "psycopg3://",
    "psycopg3+pool://",
)


class LogUnavailable(OSError):
    """The database does not answer. The last transaction may have been committed or not; it may be
    repeated."""


def is_shared(settings: Settings) -> bool:
    """Whether the database in `settings` can store packet logs for several masters."""
    return settings.database_url.startswith(PREFIXES)


def dsn_of(settings: Settings) -> str:
    """The database URL in the form that libpq accepts: peewee's URL with another scheme."""
    return "postgresql://" + settings.database_url.partition("://")[2]


class _Connections:
    """Idle connections with the same options, and the limiter of the threads that use them."""

    def __init__(self, options: str) -> None:
        self.options = options
        self.idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self.threads = trio.CapacityLimiter(TRANSACTION_THREADS)

    def take_idle(self) -> Any | None:
        """An idle connection, which is idle no longer; None if there is none. Threads may call it at the same
        moment."""
        try:
            return self.idle.get_nowait()
        except queue.Empty:
            return None

    def close_idle(self) -> None:
        while (connection := self.take_idle()) is not None:
            connection.close()


class _Attempt:
    """A transaction on a thread, whose caller may give it up. Both may call it at the same moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._given_up = False

    def begin(self, connection: Any) -> bool:
        """Notes the connection that the thread uses; returns False if the caller has given up."""
        with self._lock:
            self._connection = connection
            return not self._given_up

    def end(self) -> bool:
        """Forgets the connection; returns False if the caller has given up, and has shut it down."""
        with self._lock:
            self._connection = None
            return not self._given_up

    def give_up(self) -> None:
        """Shuts down the connection that the thread uses, so that the thread gets an error."""
        with self._lock:
            self._given_up = True
            if self._connection is not None:
                _shut_down(self._connection)


class LogDatabase:
    """Runs functions that receive a connection, each in a transaction on one of a few threads.

    `run` is for changes that a crash of the database may undo (those of its last half second), `run_durably`
    for changes that must survive it. The two share neither threads nor connections, so that packets do not
    wait for other sessions' writes to the disk.

    `single_statement` says that the function executes one statement, which is then its own transaction. That
    means one wait for an answer instead of three; after each, the thread has to get the interpreter lock from
    a busy event loop. `losses` counts broken connections, each of which may mean that the database has
    crashed. Therefore all idle connections are closed when one is found broken: after a restart of the
    database only the transactions that were running, or began first, fail."""

    def __init__(self, dsn: str) -> None:
        """Raises `SettingUnusable` if psycopg is not installed or cannot read the URL."""
        try:
            import psycopg
        except ImportError:
            raise SettingUnusable(
                "a packet log in PostgreSQL needs psycopg: pip install 'pinactors[postgres]'"
            ) from None
        try:
            psycopg.conninfo.conninfo_to_dict(dsn)
        except psycopg.ProgrammingError as error:
            raise SettingUnusable(_unreadable(error)) from None
        self._psycopg = psycopg
        self._dsn = dsn
        self._durable = _Connections(f"{LIMITS} {PLANNED_ONCE}")
        self._asynchronous = _Connections(f"{LIMITS} {PLANNED_ONCE} {ASYNCHRONOUS}")
        self.losses = 0

    async def run(self, function: Callable[[Any], T], *, single_statement: bool = False) -> T:
        """Returns `function(connection)`, run in a transaction. Raises `LogUnavailable`."""
        return await self._run_in_time_limit(function, self._asynchronous, single_statement)

    async def run_durably(self, function: Callable[[Any], T], *, single_statement: bool = False) -> T:
        """As `run`, but returns only when the changes are on the disk of the database."""
        return await self._run_in_time_limit(function, self._durable, single_statement)

    async def _run_in_time_limit(
        self, function: Callable[[Any], T], connections: _Connections, single_statement: bool
    ) -> T:
        """Runs the transaction, shielded from cancellation, so that its outcome does not stay unknown. A
        network that drops all packets does not even break the connection; this method breaks it after
        `ANSWER_MILLISECONDS`."""
        attempt = _Attempt()
        with trio.CancelScope(deadline=trio.current_time() + ANSWER_MILLISECONDS / 1000, shield=True):
            return await trio.to_thread.run_sync(
                self._transaction,
                function,
                connections,
                single_statement,
                attempt,
                limiter=connections.threads,
                abandon_on_cancel=True,
            )
        attempt.give_up()
        raise LogUnavailable("the packet log's database does not answer in time")

    async def prepare(self) -> None:
        """Creates the tables if there are none. Raises `LogUnavailable`, and `SettingUnusable` if they belong
        to a newer program or the user lacks a right."""
        try:
            await self.run_durably(_prepare)
        except (self._psycopg.errors.InsufficientPrivilege, self._psycopg.errors.InvalidSchemaName) as error:
            raise SettingUnusable(
                "database_url: its user may not create or use the packet log's tables in this database: "
                f"{first_line(error)}"
            ) from error

    async def close(self) -> None:
        for connections in (self._asynchronous, self._durable):
            await trio.to_thread.run_sync(connections.close_idle, limiter=connections.threads)

    def connect(self, **options: Any) -> Any:
        """A new connection. Raises `LogUnavailable`."""
        try:
            return self._psycopg.connect(self._dsn, **OPTIONS, **options)
        except self._psycopg.Error as error:
            raise _unavailable(error) from error

    def listen(self, channel: str) -> Any:
        """A connection on which `notifications` returns the notifications of `channel`. Raises
        `LogUnavailable`."""
        connection = self.connect(autocommit=True)
        try:
            connection.execute(f"LISTEN {channel}")
        except self._psycopg.Error as error:
            connection.close()
            raise _unavailable(error) from error
        return connection

    def notifications(self, connection: Any) -> list[str]:
        """The payloads of the notifications received since the last call; does not wait. Raises
        `LogUnavailable` if the connection is broken."""
        payloads = []
        try:
            connection.pgconn.consume_input()
            while (notification := connection.pgconn.notifies()) is not None:
                payloads.append(notification.extra.decode())
        except self._psycopg.Error as error:
            raise _unavailable(error) from error
        return payloads

    def _transaction(
        self,
        function: Callable[[Any], T],
        connections: _Connections,
        single_statement: bool,
        attempt: _Attempt,
    ) -> T:
        connection = self._take(connections)
        try:
            if not attempt.begin(connection):
                raise LogUnavailable("the transaction was given up before it began")
            with nullcontext() if single_statement else connection.transaction():
                value = function(connection)
        except self._psycopg.OperationalError as error:
            attempt.end()
            self.losses += 1
            if connection.closed:  # else the database has only refused or ended the statement
                self._asynchronous.close_idle()
                self._durable.close_idle()
            connection.close()
            raise _unavailable(error) from error
        except BaseException:
            attempt.end()
            connection.close()
            raise
        if attempt.end():
            connections.idle.put(connection)
        else:
            connection.close()
        return value

    def _take(self, connections: _Connections) -> Any:
        while (connection := connections.take_idle()) is not None:
            if not connection.closed:
                return connection
        return self.connect(options=connections.options, autocommit=True, prepare_threshold=0)


def _prepare(connection: Any) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEMA_LOCK])
    if connection.execute("SELECT to_regclass('log_schema')").fetchone()[0] is None:
        connection.execute(SCHEMA, prepare=False)  # several statements in one call cannot be prepared
        connection.execute("INSERT INTO log_schema VALUES (%s)", [SCHEMA_VERSION])
    (found,) = connection.execute("SELECT version FROM log_schema").fetchone()
    if found > SCHEMA_VERSION:
        raise SettingUnusable(
            f"the database's packet log has schema {found}, "
            f"but this program supports only up to {SCHEMA_VERSION}"
        )


def _shut_down(connection: Any) -> None:
    """Shuts the socket down, so that the thread that waits on the connection gets an error."""
    with suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as own:
        own.shutdown(socket.SHUT_RDWR)


def _unreadable(error: BaseException) -> str:
    """Why libpq cannot read the URL. Only its message about an option contains no part of the password."""
    text = first_line(error)
    if text.startswith("invalid URI query parameter"):
        return f"database_url: {text}"
    return (
        "database_url: libpq cannot read it; other characters than letters and digits need percent-encoding"
    )


def _unavailable(error: BaseException) -> LogUnavailable:
    """`LogUnavailable` with libpq's first line, which names host and port, but never the password."""
    return LogUnavailable(f"the packet log's database does not answer: {first_line(error)}")
