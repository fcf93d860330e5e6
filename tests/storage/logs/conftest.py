"""An empty database for packet logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.storage.logs import rows, statements
from pinactors.storage.logs.database import OPTIONS
from tests.postgres_server import empty_database
from tests.records.conftest import postgres  # noqa: F401 - a fixture

TIMEOUT = 120


@pytest.fixture
def url(postgres: Path, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811 - a fixture
    """The URL of an empty database. Shortens the leases, so that tests do not wait long for their end, and
    gives the database as much time for an answer as a busy machine needs."""
    monkeypatch.setitem(OPTIONS, "connect_timeout", TIMEOUT)
    monkeypatch.setattr("pinactors.storage.logs.database.ANSWER_MILLISECONDS", 1000 * TIMEOUT)
    monkeypatch.setattr("pinactors.storage.logs.database.LIMITS", "")
    monkeypatch.setattr(statements, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(rows, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(rows, "HEARTBEAT_SECONDS", 0.1)
    return empty_database(postgres)
