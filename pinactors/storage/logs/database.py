"""The PostgreSQL database several masters share: its tables, and transactions on threads.

Records have their own schema and connections (`pinactors.records`); this one changes with the packet log, and
is written to hundreds of times a second. Everything here but `LogDatabase.run` is synchronous.
"""

from __future__ import annotations

import os
import queue
import socket
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

import trio

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
"""How long the network or a statement may take: beyond it the database counts as away."""

OPTIONS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": ANSWER_MILLISECONDS,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "application_name": "pinactors log",
}

TRANSACTION_THREADS = 4
"""Transactions at the same moment, of those that wait for a disk and of those that do not."""

ASYNCHRONOUS = "-c synchronous_commit=off"
LIMITS = f"-c statement_timeout={ANSWER_MILLISECONDS} -c lock_timeout={ANSWER_MILLISECONDS}"
PLANNED_ONCE = "-c plan_cache_mode=force_generic_plan"
"""The statements are few and of the same kind each time; planning one takes longer than running it."""

PREFIXES = (
    "postgresql://",
    "postgres://",
    "postgresql+pool://",
    "postgres+pool://",
    "psycopg3://",
    "psycopg3+pool://",
)


class LogUnavailable(OSError):
    """The database does not answer. Whether the last transaction happened is unknown; it may be repeated."""


def is_shared(settings: Settings) -> bool:
    """Whether the settings' database can hold packet logs for several masters."""
    return settings.database_url.startswith(PREFIXES)


def dsn_of(settings: Settings) -> str:
    """For libpq, which reads the same URLs as peewee does."""
    return "postgresql://" + settings.database_url.partition("://")[2]


class _Connections:
    """Connections with the same options, and the threads they are used on."""

    def __init__(self, options: str) -> None:
        self.options = options
        self.idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self.threads = trio.CapacityLimiter(TRANSACTION_THREADS)


class LogDatabase:
    """Runs functions of a connection, each in a transaction on one of a few threads.

    `run` is for what a crash of the database may take back (what was written in its last half second),
    `run_durably` for what it may not. They share neither threads nor connections: packets do not wait for
    other sessions' writes to the disk. `alone`: the function executes one statement, which is a transaction
    of its own: that is one answer to wait for instead of three, and behind each the thread has to get the
    interpreter from a busy event loop. `losses` counts broken connections: behind one the database may have
    crashed.
    """

    def __init__(self, dsn: str) -> None:
        """Raises `SettingUnusable` without psycopg."""
        try:
            import psycopg
        except ImportError:
            raise SettingUnusable(
                "a packet log in PostgreSQL needs psycopg: pip install 'pinactors[postgres]'"
            ) from None
        self._psycopg = psycopg
        self._dsn = dsn
        self._durable = _Connections(f"{LIMITS} {PLANNED_ONCE}")
        self._asynchronous = _Connections(f"{LIMITS} {PLANNED_ONCE} {ASYNCHRONOUS}")
        self.losses = 0

    async def run(self, function: Callable[[Any], T], *, alone: bool = False) -> T:
        """`function(connection)`, committed or not at all. Raises `LogUnavailable`."""
        return await self._in_time(function, self._asynchronous, alone)

    async def run_durably(self, function: Callable[[Any], T], *, alone: bool = False) -> T:
        """As `run`."""
        return await self._in_time(function, self._durable, alone)

    async def _in_time(self, function: Callable[[Any], T], connections: _Connections, alone: bool) -> T:
        """Not cancelled from outside: what was asked for is then done or not, not unknown. A network that
        swallows everything does not even break a connection: after `ANSWER_MILLISECONDS` we do."""
        used: list[Any] = []
        with trio.CancelScope(deadline=trio.current_time() + ANSWER_MILLISECONDS / 1000, shield=True):
            return await trio.to_thread.run_sync(
                self._transaction,
                function,
                connections,
                alone,
                used,
                limiter=connections.threads,
                abandon_on_cancel=True,
            )
        for connection in used:
            _shut_down(connection)
        raise LogUnavailable("the packet log's database does not answer in time")

    async def prepare(self) -> None:
        """Makes the tables where there are none. Raises `LogUnavailable`, and `RuntimeError` for newer
        ones."""
        await self.run_durably(_prepare)

    async def close(self) -> None:
        def close(idle: queue.LifoQueue[Any]) -> None:
            while not idle.empty():
                idle.get_nowait().close()

        for connections in (self._asynchronous, self._durable):
            await trio.to_thread.run_sync(close, connections.idle, limiter=connections.threads)

    def connect(self, **options: Any) -> Any:
        """A connection of its own. Raises `LogUnavailable`."""
        try:
            return self._psycopg.connect(self._dsn, **OPTIONS, **options)
        except self._psycopg.Error as error:
            raise _away(error) from error

    def listen(self, channel: str) -> Any:
        """A connection on which `heard` gives what is said on `channel`. Raises `LogUnavailable`."""
        connection = self.connect(autocommit=True)
        try:
            connection.execute(f"LISTEN {channel}")
        except self._psycopg.Error as error:
            connection.close()
            raise _away(error) from error
        return connection

    def heard(self, connection: Any) -> list[str]:
        """Does not wait. Raises `LogUnavailable` when the connection is broken."""
        payloads = []
        try:
            connection.pgconn.consume_input()
            while (notification := connection.pgconn.notifies()) is not None:
                payloads.append(notification.extra.decode())
        except self._psycopg.Error as error:
            raise _away(error) from error
        return payloads

    def _transaction(
        self, function: Callable[[Any], T], connections: _Connections, alone: bool, used: list[Any]
    ) -> T:
        connection = self._take(connections)
        used.append(connection)
        try:
            with nullcontext() if alone else connection.transaction():
                value = function(connection)
        except self._psycopg.OperationalError as error:
            self.losses += 1
            connection.close()
            raise _away(error) from error
        except BaseException:
            connection.close()
            raise
        connections.idle.put(connection)
        return value

    def _take(self, connections: _Connections) -> Any:
        while not connections.idle.empty():
            connection = connections.idle.get_nowait()
            if not connection.closed:
                return connection
        return self.connect(options=connections.options, autocommit=True, prepare_threshold=0)


def _prepare(connection: Any) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEMA_LOCK])
    if connection.execute("SELECT to_regclass('log_schema')").fetchone()[0] is None:
        connection.execute(SCHEMA, prepare=False)  # several statements
        connection.execute("INSERT INTO log_schema VALUES (%s)", [SCHEMA_VERSION])
    (found,) = connection.execute("SELECT version FROM log_schema").fetchone()
    if found > SCHEMA_VERSION:
        raise SettingUnusable(
            f"the database's packet log has schema {found}, this program knows up to {SCHEMA_VERSION}"
        )


def _shut_down(connection: Any) -> None:
    """The thread that waits on it finds it broken."""
    with suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as own:
        own.shutdown(socket.SHUT_RDWR)


def _away(error: BaseException) -> LogUnavailable:
    """libpq names host and port, never the password."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return LogUnavailable(f"the packet log's database does not answer: {reason}")
