"""Entries that the database lost in a crash, which their holder stores again."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from pinactors.storage.logs import statements
from pinactors.storage.logs.stored_rows import StoredRows
from tests.storage.logs.conftest import TIMEOUT
from tests.storage.logs.masters import ONE, STREAM, THREE, TWO, masters, until_stored
from tests.waiting import until


async def test_what_a_crash_of_the_database_took_is_stored_again(url: str) -> None:
    async with masters(url) as (one, two):
        stored = one.create(STREAM, "")
        await stored.append([ONE])
        await stored.append([TWO])

        def crash(connection: object) -> None:
            connection.execute("DELETE FROM log_entry WHERE number = 1")  # type: ignore[attr-defined]

        await two.database.run(crash)
        one.database.losses += 1  # as if its connections had broken
        await until_stored(two, [ONE, TWO])  # without a call by the session
        await two.database.run(lambda connection: connection.execute("DELETE FROM log_session"))
        one.database.losses += 1
        await stored.append([THREE])
        assert await two.load(STREAM) == [ONE, TWO, THREE]


@pytest.mark.parametrize("slow", ["hand_back", "store_again"])
async def test_repairs_do_not_delay_the_lease(url: str, slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hundreds of sessions they take longer than the lease."""
    begun, may_end = threading.Event(), threading.Event()

    def hand_back(stored: StoredRows, connection: object) -> None:
        begun.set()
        may_end.wait(TIMEOUT)

    async def store_again(stored: StoredRows) -> None:
        begun.set()
        await until(may_end.is_set)

    async with masters(url, 1) as (one,):
        stored = one.create(STREAM)
        await stored.append([ONE])
        with monkeypatch.context() as patched:
            patched.setattr(StoredRows, slow, hand_back if slow == "hand_back" else store_again)
            if slow == "hand_back":
                one.holder.give_up(stored)
            else:
                one.database.losses += 1
            try:
                await until(begun.is_set)
                at_first = one.holder.leased_until
                await until(lambda: one.holder.leased_until > at_first + 2 * statements.LEASE_SECONDS)
            finally:
                may_end.set()


async def test_entries_are_stored_again_only_once_the_lease_is_renewed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the database may lose the session and the lease. Without a lease the session cannot be
    inserted again, and would count as another master's."""
    async with masters(url, 1) as (one,):
        stored = one.create(STREAM)
        await stored.append([ONE])
        heartbeat, renew = one.heartbeat, trio.Event()

        async def later() -> None:
            await renew.wait()
            await heartbeat()

        monkeypatch.setattr(one, "heartbeat", later)

        def crash(connection: Any) -> None:
            connection.execute("DELETE FROM log_session")
            connection.execute("DELETE FROM log_master")

        await one.database.run(crash)
        one.database.losses += 1  # as if its connections had broken
        await one.repair()
        assert one.holder.held == {STREAM: stored}
        renew.set()
        await until_stored(one, [ONE])
        assert one.holder.held == {STREAM: stored}
