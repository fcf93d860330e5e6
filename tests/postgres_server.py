"""A PostgreSQL server for tests, if PostgreSQL is installed: on a Unix socket, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

READY_SECONDS = 60


class PostgresServer:
    """A server in `folder`, with the superuser `tester`. `start` may be called again after `crash`. `fsync`:
    whether the server waits for the disk, as servers in production do; results of tests do not depend on
    it."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self._fsync = "on" if fsync else "off"
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user)
        subprocess.run(
            ["initdb", "-D", folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=folder,
        )

    def start(self) -> None:
        """Starts the server; returns when it answers. The test fails after `READY_SECONDS`."""
        import psycopg

        fsync = f"fsync={self._fsync}"
        quiet = ["-c", "listen_addresses=", "-c", fsync, "-c", "logging_collector=off"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["postgres", "-D", self.folder / "data", "-k", self.folder, *quiet],
                user=self._user,
                cwd=self.folder,
                stderr=log,
            )
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                psycopg.connect(host=str(self.folder), user="tester", dbname="postgres").close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    text = (self.folder / "log").read_text(errors="replace")
                    pytest.fail(f"PostgreSQL did not start: {text[-2000:]}")
                time.sleep(0.02)

    def crash(self) -> None:
        """Ends the server at once (SIGQUIT): recent asynchronous commits may be lost."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Stops the server (SIGINT) without waiting for clients that a failed test left connected."""
        self._end(signal.SIGINT)

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait()


@contextmanager
def postgres_server(*, fsync: bool = False) -> Iterator[PostgresServer]:
    """A running server. Skips the test if PostgreSQL or psycopg is not installed."""
    pytest.importorskip("psycopg")
    if not shutil.which("initdb") or not shutil.which("postgres"):
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pinactors-postgres-"))
    try:
        server = PostgresServer(folder, fsync=fsync)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serve_postgres() -> Iterator[Path]:
    """The socket folder of a running server. Skips the test if PostgreSQL or psycopg is not installed."""
    with postgres_server() as server:
        yield server.folder


def empty_database(folder: Path, options: str = "") -> str:
    """Creates a database on the server in `folder`, with options of `CREATE DATABASE`, and returns its
    URL."""
    import psycopg

    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(host=str(folder), user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {options}")  # type: ignore[arg-type]
    return f"postgresql:///{name}?host={folder}&user=tester"


def for_reader(url: str) -> str:
    """The URL for the role `reader`, which may create nothing in the database, as is usual since PostgreSQL
    15, but may use the tables that exist now."""
    import psycopg

    with psycopg.connect(url) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'reader'").fetchone():
            connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO reader")
    return url.replace("user=tester", "user=reader")


def end_connections(url: str) -> None:
    """Ends all other connections to the database, idle or in use, as a restart of the server does."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def is_stored(url: str, text: bytes) -> bool:
    """Whether an entry of a packet log in the database has `text`."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url) as connection:
        rows: list[Any] = connection.execute("SELECT body FROM log_entry").fetchall()
    return any(text in bytes(body) for (body,) in rows)
