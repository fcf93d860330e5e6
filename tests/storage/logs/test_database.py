"""Connections to the logs' database: what a failure of one costs the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.logs import statements
from pinactors.storage.logs.database import TRANSACTION_THREADS, LogDatabase, LogUnavailable
from pinactors.storage.logs.rows import open_log_rows
from pinactors.supervision import Supervision
from tests.postgres_server import empty_database, end_connections, for_reader
from tests.storage.logs.conftest import TIMEOUT
from tests.storage.logs.masters import masters, never
from tests.waiting import until


async def test_after_a_restart_of_the_database_one_transaction_fails(url: str) -> None:
    """Otherwise one heartbeat fails for each idle connection, and the lease ends meanwhile."""
    database = LogDatabase(url)
    together = threading.Barrier(TRANSACTION_THREADS)

    async def at_the_same_moment(run: Callable[[Callable[[Any], None]], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(TRANSACTION_THREADS):
                nursery.start_soon(run, lambda _: together.wait(TIMEOUT))

    with trio.fail_after(TIMEOUT):
        await database.prepare()
        await at_the_same_moment(database.run)
        await at_the_same_moment(database.run_durably)
        await trio.to_thread.run_sync(end_connections, url)
        beat = partial(statements.heartbeat, master="one")
        with pytest.raises(LogUnavailable):
            await database.run(beat, single_statement=True)
        await database.run(beat, single_statement=True)
        await database.run_durably(beat)
        assert database.losses == 1
        await database.close()


async def test_a_statement_that_is_refused_leaves_the_other_connections_open(url: str) -> None:
    database = LogDatabase(url)
    await database.prepare()
    before = await database.run_durably(_process_id)
    cancelled = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(9)"  # as a time limit ends it
    with pytest.raises(LogUnavailable, match="canceling statement"):
        await database.run(lambda connection: connection.execute(cancelled))
    assert await database.run_durably(_process_id) == before
    await database.close()


def _process_id(connection: Any) -> int:
    return int(connection.execute("SELECT pg_backend_pid()").fetchone()[0])


async def test_a_newer_schema_is_refused_in_one_line(url: str) -> None:
    async with masters(url, 1) as (one,):
        await one.database.run(lambda connection: connection.execute("UPDATE log_schema SET version = 99"))
        with pytest.raises(SettingUnusable, match="schema 99"):
            async with open_log_rows(Settings(database_url=url), never, Supervision()):
                pass


async def test_tables_of_a_newer_schema_are_left_alone(postgres: Path) -> None:
    """A newer schema may lack tables that this program needs."""
    url = empty_database(postgres)
    database = LogDatabase(url)

    def make(connection: Any) -> None:
        connection.execute("CREATE TABLE log_schema (version integer NOT NULL)")
        connection.execute("INSERT INTO log_schema VALUES (99)")

    await database.run(make)
    with pytest.raises(SettingUnusable, match="schema 99, but this program supports only up to") as refused:
        async with open_log_rows(Settings(database_url=url), never, Supervision()):
            pass
    assert "\n" not in str(refused.value)
    await database.close()


async def test_a_database_that_does_not_answer_is_refused_in_one_line() -> None:
    pytest.importorskip("psycopg")
    settings = Settings(database_url="postgresql://tester:secret@127.0.0.1:1/none")
    with pytest.raises(SettingUnusable, match="does not answer") as error:
        async with open_log_rows(settings, never, Supervision()):
            pass
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


async def test_a_pause_of_the_process_breaks_no_idle_connection(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the pause the answer is there, and its time is over."""
    database = LogDatabase(url)
    begun, paused = threading.Event(), threading.Event()

    def answer(connection: Any) -> None:
        begun.set()
        paused.wait(TIMEOUT)

    async def too_late() -> None:
        with pytest.raises(LogUnavailable, match="in time"):
            await database.run(answer)

    with trio.fail_after(TIMEOUT):
        await database.prepare()
        await database.run(_process_id)
        with monkeypatch.context() as patched:
            patched.setattr("pinactors.storage.logs.database.ANSWER_MILLISECONDS", 1000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(too_late)
                await until(begun.is_set)
                paused.set()
                time.sleep(2.0)  # noqa: ASYNC251 - that is the pause
        await database.run(_process_id)
        await database.close()


async def test_a_user_who_may_create_no_tables_is_told_at_start(url: str) -> None:
    database = LogDatabase(for_reader(url))
    with trio.fail_after(TIMEOUT):
        with pytest.raises(SettingUnusable, match=r"may not create .* in this database") as caught:
            await database.prepare()
        await database.close()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://user:sec%ZZret@host/name", "percent-encoding"),
        ("postgresql://user:secret@host/name?stale_timeout=3", 'parameter: "stale_timeout"'),
    ],
)
def test_an_unreadable_url_is_told_without_its_password(url: str, reason: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(SettingUnusable, match=f"^database_url: .*{reason}") as caught:
        LogDatabase(url)
    assert "sec" not in str(caught.value)
