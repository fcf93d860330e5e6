"""The start of a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pinactors.api import launch, server
from pinactors.pipeline import metrics
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.wire import ask
from tests.conftest import ErrorLogs


async def test_its_own_start_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    """A long step is not reported as a stall before the server listens, but after that."""
    create = server.create_app

    def slowly(*arguments: Any, **named: Any) -> Any:
        time.sleep(1.2)
        return create(*arguments, **named)

    monkeypatch.setattr(server, "create_app", slowly)
    monkeypatch.setattr(metrics, "LOGGED_STALL_SECONDS", 1.0)
    async with running(tmp_path) as started:
        assert (await ask(started.port, "GET", "/livez")).status == 200
        assert not [entry for entry in error_logs.entries if entry["event"] == "event loop held up"]
        time.sleep(1.2)  # noqa: ASYNC251 - holds the loop up
        await ask(started.port, "GET", "/livez")
    assert [entry for entry in error_logs.entries if entry["event"] == "event loop held up"]


async def test_what_is_loaded_at_the_start_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full garbage collection of all modules would hold the event loop for 0.1 s."""
    done = []

    async def serve(*_: object, **__: object) -> None:
        done.append("serve")

    monkeypatch.setattr(launch.gc, "freeze", lambda: done.append("freeze"))
    monkeypatch.setattr(launch, "serve", serve)
    await launch.run_master(Settings(data=tmp_path))
    assert done == ["freeze", "serve"]
