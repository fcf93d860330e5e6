"""Databases of the tests: SQLite, and a PostgreSQL server started by the test run if one is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from pinactors.records import Records, database
from pinactors.settings import Settings
from tests.postgres_server import empty_database, serve_postgres
from tests.records.samples import Clock


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The socket folder of a running PostgreSQL server with the superuser `tester`."""
    with serve_postgres() as folder:
        yield folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty database, for whose lock writers wait as long as a busy machine needs."""
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 60_000)
    if request.param == "sqlite":
        return Settings(data=tmp_path / "data")
    return Settings(data=tmp_path / "data", database_url=empty_database(request.getfixturevalue("postgres")))


@pytest.fixture
async def records(settings: Settings, clock: Clock) -> AsyncIterator[Records]:
    with trio.fail_after(120):
        opened = await Records.open(settings, clock)
    yield opened
    with trio.fail_after(120):
        await opened.close()
