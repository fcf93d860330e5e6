"""An exception in one iteration of the proxy's long-lived tasks does not end the proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.api.proxy.masters.fleet import Masters
from pinactors.api.proxy.relay import journal, sessions
from pinactors.api.proxy.relay.sessions import Sessions
from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT, proxying, sessions_of
from tests.api.wire import metric
from tests.failing import fail_once


async def wait_for_failures(port: int, task: str, error_logs: Any) -> None:
    while not await metric(port, "pinactors_task_failures_total"):  # noqa: ASYNC110 - its own metric tells
        await trio.sleep(0.02)
    assert error_logs.take("iteration failed")["task"] == task


async def test_pruning_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: Any) -> None:
    rounds = []
    second = trio.Event()

    def fails_once(self: Sessions) -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise FileNotFoundError("gone while it was looked at")
        trio.from_thread.run_sync(second.set)

    monkeypatch.setattr(Sessions, "_remove_expired", fails_once)
    monkeypatch.setattr(sessions, "PRUNE_SECONDS", 0.05)
    with trio.fail_after(LIMIT):
        async with proxying(tmp_path, ["http://127.0.0.1:9"]) as port:
            await second.wait()
            await wait_for_failures(port, "prune", error_logs)
            assert await sessions_of(port) == 0


async def test_health_checks_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: Any) -> None:
    went_on = fail_once(monkeypatch, Masters, "check")
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(
                tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"], proxy_health_interval=0.05
            ) as port,
        ):
            await went_on.wait()
            await wait_for_failures(port, "health check", error_logs)


def test_a_file_that_goes_while_it_is_looked_at_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spools of refused uploads may be removed at any time."""
    old = [tmp_path / f"{number}.spool" for number in range(3)]
    for path in old:
        path.touch()
        os.utime(path, (0, 0))
    scan = os.scandir

    def vanishing(folder: Path) -> Iterator[os.DirEntry[str]]:
        for entry in list(scan(folder)):
            if entry.name == "1.spool":
                os.unlink(entry.path)
            yield entry

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", vanishing)
        found = sorted(journal.expired(tmp_path, 60, lambda name: False))
    assert found == [old[0], old[2]]
