"""Servers of a small application."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pinactors.api import server
from pinactors.api.http import connection
from tests.api.http.small import IDLE, Served, serving


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 10.0)
    async with serving() as served:
        yield served
        await served.assert_unhurt()


@pytest.fixture
async def impatient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """A server that closes a connection which is idle for `IDLE` seconds. A busy machine may need longer
    between two steps of a test, so that only tests of this limit use it."""
    monkeypatch.setattr(server, "IDLE_SECONDS", IDLE)
    async with serving() as served:
        yield served
        await served.assert_unhurt()
