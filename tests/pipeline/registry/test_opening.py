"""The periodic work that masters do for their peers goes on after an iteration that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.pipeline.registry import opening, peers
from pinactors.pipeline.registry.peers import Peers
from pinactors.pipeline.registry.sessions import Registry
from pinactors.settings import Settings
from tests.conftest import ErrorLogs
from tests.failing import fail_once
from tests.pipeline.fakes import ANALYSIS, FakeCompute, FakeRecords
from tests.postgres_server import empty_database

TIMEOUT = 120


@pytest.mark.parametrize(
    ("owner", "method", "fails_at", "task"),
    [
        (Peers, "follow_changes", 1, "other masters' packets"),
        (Registry, "adopt", 2, "take over sessions"),  # the first is part of the start
    ],
)
async def test_it_goes_on(
    owner: type[Any],
    method: str,
    fails_at: int,
    task: str,
    postgres: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error_logs: ErrorLogs,
) -> None:
    monkeypatch.setattr(peers, "HEARTBEAT_SECONDS", 0.05)
    went_on = fail_once(monkeypatch, owner, method, fails_at)
    settings = Settings(data=tmp_path, database_url=empty_database(postgres))
    compute: Any = FakeCompute()
    records: Any = FakeRecords()
    with trio.fail_after(TIMEOUT):
        async with opening.open_registry(ANALYSIS, compute, records, settings):
            await went_on.wait()
    assert error_logs.take("iteration failed")["task"] == task
