"""A PostgreSQL server of the test run's own, where one is installed: on a Unix socket, in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serve_postgres() -> Iterator[Path]:
    """The socket folder of a running server with the superuser `tester`. Skips where there is none."""
    psycopg = pytest.importorskip("psycopg")
    if not shutil.which("initdb") or not shutil.which("postgres"):
        pytest.skip("PostgreSQL is not installed")
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pinactors-postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        subprocess.run(
            ["initdb", "-D", folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder,
        )
        quiet = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "logging_collector=off"]
        server = subprocess.Popen(
            ["postgres", "-D", folder / "data", "-k", folder, *quiet],
            user=user,
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if "ready to accept connections" in line:
                    break
            else:
                pytest.fail(f"PostgreSQL did not start: {server.wait()}")
            psycopg.connect(host=str(folder), user="tester", dbname="postgres").close()
            yield folder
        finally:
            server.send_signal(signal.SIGINT)  # does not wait for clients a failed test left behind
            server.communicate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def empty_database(folder: Path) -> str:
    """A new database on the server in `folder`: its URL."""
    import psycopg

    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(host=str(folder), user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    return f"postgresql:///{name}?host={folder}&user=tester"
