"""Faults in the surroundings of a server for `chaos`: its disk, its clock, its database."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from benchmarks.commands import errors
from tests.faults.servers import Server
from tests.faults.shim import Shim
from tests.postgres_server import PostgresServer, empty_database, postgres_server

Database = Literal["sqlite", "postgresql"]
Fault = Callable[[random.Random], Awaitable[None]]

KEEPALIVE_SECONDS = 0.5
LASTING_SECONDS = (0.2, 3.0)
"""Least and longest duration of a fault of the disk or the database, in seconds."""

DISK_CALL_SECONDS = 0.2
"""Seconds that each call takes while the disk is slow."""

HOUR_SECONDS = 3600
REPLAY_SECONDS = 4.0 * HOUR_SECONDS
"""The setting `replay`: so long that after a step of the clock a session can still be read, and its upload
still counts as a duplicate."""


def faults_of_sqlite(server: Server) -> dict[str, Fault]:
    """Faults of a database in a file, by name."""

    async def lock(chance: random.Random) -> None:
        with server.locked():
            await trio.sleep(chance.uniform(*LASTING_SECONDS))

    async def move(chance: random.Random) -> None:
        with server.without_database():
            await trio.sleep(chance.uniform(*LASTING_SECONDS))

    return {"database locked": lock, "database gone": move}


def faults_of_postgres(postgres: PostgresServer) -> dict[str, Fault]:
    """Faults of a database server, by name."""

    async def crash(chance: random.Random) -> None:
        await trio.to_thread.run_sync(postgres.crash)
        await trio.sleep(chance.uniform(*LASTING_SECONDS))
        postgres.start()  # in this thread, because the process ends with the thread that started it

    return {"database gone": crash}


def faults_of_shim(shim: Shim) -> dict[str, Fault]:
    """Faults of the machine, by name: a slow disk, a stepped clock."""

    async def slow(chance: random.Random) -> None:
        with shim.slow_disk(DISK_CALL_SECONDS):
            await trio.sleep(chance.uniform(*LASTING_SECONDS))

    async def step(chance: random.Random) -> None:
        shim.step_clock(
            chance.choice([offset for offset in (-HOUR_SECONDS, 0, HOUR_SECONDS) if offset != shim.clock])
        )
        await trio.lowlevel.checkpoint()

    return {"disk slow": slow, "clock stepped": step}


@contextmanager
def surroundings(folder: Path, database: Database) -> Iterator[tuple[Server, dict[str, Fault]]]:
    """Starts a server; yields it and the faults that are possible on this machine. Raises `RuntimeError` if
    the database is not installed."""
    data = folder / "data"
    with ExitStack() as stack:
        faults: dict[str, Fault] = {}
        settings: dict[str, Any] = {
            "keepalive": KEEPALIVE_SECONDS,
            "workers": 2,
            "log_level": "warning",
            "replay": REPLAY_SECONDS,
        }
        environment: Mapping[str, str] = {}
        try:
            shim = Shim(folder, data)
        except RuntimeError as error:
            errors.print(f"without slow disks and stepped clocks: {error}", markup=False)
        else:
            faults |= faults_of_shim(shim)
            environment = shim.variables
        if database == "postgresql":
            try:
                postgres = stack.enter_context(postgres_server())
            except pytest.skip.Exception as reason:
                raise RuntimeError(str(reason)) from None
            settings["database_url"] = empty_database(postgres.folder)
            faults |= faults_of_postgres(postgres)
        else:
            (data / "database").mkdir(parents=True)
            settings["database_url"] = f"sqlite:///{data / 'database' / 'records.db'}"
        server = stack.enter_context(Server(data, environment=environment, **settings))
        if database == "sqlite":
            faults |= faults_of_sqlite(server)
        yield server, faults
