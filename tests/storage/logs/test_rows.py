"""Packet logs in a real PostgreSQL: entries in order, one holder for each log, notifications to the other
masters."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from pinactors.storage.logs import rows, statements
from pinactors.storage.logs.database import LogDatabase, LogUnavailable
from pinactors.storage.logs.packet_logs import Entry, LogTakenOver
from pinactors.storage.logs.rows import LogRows
from tests.conftest import ErrorLogs
from tests.postgres_server import end_connections
from tests.storage.logs.masters import ONE, STREAM, THREE, TWO, masters
from tests.waiting import until


async def expire(logs: LogRows) -> None:
    """Ends the master's lease, as if its process were paused for longer than the lease and not resumed."""

    async def asleep() -> None:
        await trio.lowlevel.checkpoint()

    logs.heartbeat = asleep  # type: ignore[method-assign]
    logs.holder.leased_until = -1.0
    await logs.database.run(
        lambda connection: connection.execute(
            "UPDATE log_master SET alive_until = now() - interval '1 hour' WHERE id = %s", [logs.master]
        )
    )


async def adopted(logs: LogRows) -> list[tuple[str, list[Entry]]]:
    while not (found := await logs.adopt()):  # noqa: ASYNC110 - the database does not wake us
        await trio.sleep(0.05)
    return [(stored.stream_id, entries) for stored, entries in found]


async def test_entries_are_kept_in_order_for_every_master(url: str) -> None:
    async with masters(url) as (one, two):
        stored = one.create(STREAM, "key")
        await stored.append([ONE, TWO])
        await stored.append([THREE])
        assert await two.load(STREAM) == await one.load(STREAM) == [ONE, TWO, THREE]
        assert await two.load(STREAM, 2) == [THREE]
        assert await two.load(STREAM, 3) == []
        assert await two.load("never-opened-stream") is None
        assert await two.load("'; DROP TABLE log_entry --") is None
        await stored.remove()
        assert await two.load(STREAM) is None


async def test_other_masters_hear_of_a_packet(url: str) -> None:
    async with masters(url) as (one, two):
        heard: list[str] = []
        two.changed = heard.append
        await until(lambda: two.reachable)
        stored = one.create(STREAM, "")
        await stored.append([ONE])
        await until(lambda: STREAM in heard)
        heard.clear()
        await stored.seal(TWO)
        await until(lambda: STREAM in heard)
        assert await two.load(STREAM) == [ONE, TWO]


async def test_several_streams_are_read_at_once(url: str) -> None:
    async with masters(url) as (one, two):
        for stream_id, entries in (("some-stream-0001", [ONE, TWO]), ("some-stream-0002", [THREE])):
            await one.create(stream_id, "").append(entries)
        firsts = {"some-stream-0001": 1, "some-stream-0002": 1, "some-stream-0003": 0}
        assert await two.load_all(firsts) == {"some-stream-0001": [TWO], "some-stream-0002": []}
        assert await two.load_all({}) == {}


async def test_nobody_takes_over_from_the_living(url: str) -> None:
    async with masters(url) as (one, two):
        await one.create(STREAM, "").append([ONE])
        await trio.sleep(2 * rows.LEASE_SECONDS)
        assert await two.adopt() == []


async def test_a_dead_masters_session_is_taken_over_and_the_dead_cannot_append(url: str) -> None:
    async with masters(url) as (one, two):
        stored = one.create(STREAM, "key")
        await stored.append([ONE])
        await expire(one)
        assert await adopted(two) == [(STREAM, [ONE])]
        with pytest.raises(LogTakenOver):
            await stored.append([TWO])
        with pytest.raises(LogTakenOver):
            await one.create(STREAM, "key").append([TWO])  # nor with a new log, which has the first fence
        await stored.remove()
        assert await two.load(STREAM) == [ONE]


async def test_the_new_holder_goes_on_behind_the_last_packet(url: str) -> None:
    async with masters(url) as (one, two):
        await one.create(STREAM, "").append([ONE])
        await expire(one)
        while not (taken := await two.adopt()):  # noqa: ASYNC110 - the database does not wake us
            await trio.sleep(0.05)
        ((stored, entries),) = taken
        assert entries == [ONE]
        await stored.append([TWO])
        await stored.seal(THREE)
        assert await one.load(STREAM) == [ONE, TWO, THREE]
        assert await two.adopt() == []  # the session is finished


async def test_each_session_is_taken_over_by_one(url: str) -> None:
    async with masters(url, 4) as (dead, *alive):
        for number in range(20):
            await dead.create(f"some-stream-{number:04}", "").append([ONE])
        await expire(dead)
        taken: list[str] = []

        async def take(logs: LogRows) -> None:
            while len(taken) < 20:
                taken.extend(stored.stream_id for stored, _ in await logs.adopt())
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            for logs in alive:
                nursery.start_soon(take, logs)
        assert sorted(taken) == [f"some-stream-{number:04}" for number in range(20)]


async def test_all_are_taken_over_again_if_the_database_fails_meanwhile(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that was read before the failure must not count as one that this master runs."""
    async with masters(url) as (one, two):
        for number in range(2):
            await one.create(f"some-stream-000{number}").append([ONE])
        await expire(one)
        load, loaded = two.load, 0

        async def fails_the_second_time(stream_id: str, first: int = 0) -> list[Entry] | None:
            nonlocal loaded
            loaded += 1
            if loaded == 2:
                raise LogUnavailable("gone for a moment")
            return await load(stream_id, first)

        monkeypatch.setattr(two, "load", fails_the_second_time)
        with pytest.raises(LogUnavailable):
            await adopted(two)
        assert sorted(await adopted(two)) == [("some-stream-0000", [ONE]), ("some-stream-0001", [ONE])]


async def test_a_released_session_is_anybodys_at_once(url: str) -> None:
    async with masters(url) as (one, two):
        stored = one.create(STREAM, "")
        await stored.append([ONE])
        await trio.sleep(rows.LEASE_SECONDS)  # `two` may take sessions over once its lease is this old
        await two.adopt()
        await stored.release()
        await two.orphaned.wait()
        assert await adopted(two) == [(STREAM, [ONE])]


async def test_a_log_that_never_reached_the_database_is_unhealthy(url: str) -> None:
    failures: list[OSError] = []
    async with masters(url, 1) as (one,):
        one.holder.failed = failures.append
        one.database._dsn = "postgresql:///nowhere?host=/nowhere"
        await trio.to_thread.run_sync(end_connections, url)  # also those that background tasks use now
        stored = one.create(STREAM, "")
        await stored.append([ONE])
        assert not stored.healthy
        assert len(failures) == 1
        await stored.append([TWO])
        await stored.remove()
        one.database._dsn = url


async def test_a_master_the_database_does_not_answer_gives_its_sessions_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(connections: object) -> None:
        raise LogUnavailable("no answer")

    async with masters(url) as (one, two):
        stored = one.create(STREAM, "")
        await stored.append([ONE])
        with monkeypatch.context() as patched:
            patched.setattr(one.database, "_take", no_answer)
            with pytest.raises(LogTakenOver):
                await stored.append([TWO])
            assert await adopted(two) == [(STREAM, [ONE])]


async def test_a_cancelled_session_is_told_to_whoever_takes_it_over(url: str) -> None:
    async with masters(url) as (one, two):
        heard_one: list[str] = []
        one.cancelled = heard_one.append
        await until(lambda: one.reachable)
        await one.create(STREAM, "").append([ONE])
        await two.cancel(STREAM)
        await until(lambda: STREAM in heard_one)  # the notification and each repair tell it
        assert set(heard_one) == {STREAM}
        await expire(one)
        while not (taken := await two.adopt()):  # noqa: ASYNC110 - the database does not wake us
            await trio.sleep(0.05)
        assert taken[0][0].cancelled


async def test_a_cancellation_while_the_holder_does_not_listen_reaches_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = LogDatabase.listen
    async with masters(url) as (one, two):
        await until(lambda: one.reachable)
        heard: list[str] = []
        one.cancelled = heard.append
        await one.create(STREAM).append([ONE])
        with monkeypatch.context() as patched:

            def refused(database: LogDatabase, channel: str) -> Any:
                if database is one.database:
                    raise LogUnavailable("its listener cannot connect")
                return connect(database, channel)

            patched.setattr(LogDatabase, "listen", refused)
            await trio.to_thread.run_sync(end_connections, url)
            await until(lambda: not one.reachable)
            await cancel_again_and_again(two)
            assert one.reachable is False
        await until(lambda: STREAM in heard)


async def cancel_again_and_again(logs: LogRows) -> None:
    """Until the database answers: the idle connections are broken as well."""
    while True:
        try:
            await logs.cancel(STREAM)
            return
        except LogUnavailable:
            await trio.sleep(0.02)


async def test_two_uploads_of_the_same_photographs_find_one_another(url: str) -> None:
    same, key = ("upload", "owner", "session", "print"), ("key", "owner", "k1")
    async with masters(url) as (one, two):
        assert await one.claim([same], "print", "some-stream-one") is None
        assert await two.claim([same, key], "print", "some-stream-two") == ("some-stream-one", "print")
        # From now on the key belongs to the first upload, also if it comes with other photographs.
        assert await one.claim([key], "other", "some-stream-three") == ("some-stream-one", "print")
        await two.forget("some-stream-one")
        assert await one.claim([key], "other", "some-stream-three") is None


async def test_of_claims_at_the_same_moment_one_is_first(url: str) -> None:
    async with masters(url, 3) as logs:
        answers: list[tuple[str, str] | None] = []

        async def claim(index: int) -> None:
            names = [("upload", "a"), ("key", "b")][:: 1 if index % 2 else -1]
            answers.append(await logs[index % 3].claim(names, "print", f"some-stream-{index}"))

        async with trio.open_nursery() as nursery:
            for index in range(12):
                nursery.start_soon(claim, index)
        assert answers.count(None) == 1
        assert len(set(answers)) == 2


async def test_rates_and_counts_hold_across_masters(url: str) -> None:
    async with masters(url) as (one, two):
        waits = [await logs.take_token("key", 3) for logs in (one, two, one, two)]
        assert waits[:3] == [0.0, 0.0, 0.0]
        assert 0 < waits[3] <= 20
        assert await two.take_token("other", 3) == 0.0
        await one.create(STREAM, "key").append([ONE])
        await two.create("some-stream-0002", "key").append([ONE])
        assert await one.under_way("key") == await two.under_way("key") == 2


async def test_photographs_of_all_sessions_are_known(url: str) -> None:
    async with masters(url) as (one, two):
        fact = Entry("M", b'{"type":"Arrived","sha256":"%s"}' % (b"ab" * 32))
        await one.create(STREAM, "").append([fact, ONE])
        assert await two.photographs() == {"ab" * 32}


async def test_what_is_old_is_removed(url: str) -> None:
    async with masters(url, 1) as (one,):
        stored = one.create(STREAM, "")
        await stored.append([ONE])
        await stored.seal(TWO)
        await one.clean()
        assert await one.load(STREAM) == [ONE, TWO]
        await one.database.run(
            lambda connection: connection.execute("UPDATE log_session SET touched = now() - interval '1 day'")
        )
        await one.clean()
        assert await one.load(STREAM) is None


async def test_a_network_that_swallows_everything_is_noticed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with masters(url, 1) as (one,):

        def hang(connection: object) -> None:
            connection.execute("SELECT pg_sleep(3)")  # type: ignore[attr-defined]

        with monkeypatch.context() as patched:
            patched.setattr("pinactors.storage.logs.database.ANSWER_MILLISECONDS", 300)
            with pytest.raises(LogUnavailable, match="in time"):
                await one.database.run(hang)
        await one.create(STREAM, "").append([ONE])
        assert await one.load(STREAM) == [ONE]


@pytest.mark.parametrize("task", ["heartbeat", "repair", "clean", "_listen_once"])
async def test_what_goes_on_all_the_time_survives_a_failure(
    url: str, task: str, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    monkeypatch.setattr(rows, "CLEAN_SECONDS", 0.05)
    work, second = getattr(LogRows, task), trio.Event()
    calls: list[str] = []

    async def fails_once(self: LogRows) -> None:
        calls.append(task)
        if len(calls) == 2:  # the first beat is part of the start
            raise RuntimeError("nobody foresaw this")
        if len(calls) > 2:
            second.set()
        elif task == "_listen_once":
            raise LogUnavailable("its connection broke")
        await work(self)

    monkeypatch.setattr(LogRows, task, fails_once)
    async with masters(url, 1):
        await second.wait()
    assert error_logs.take("iteration failed")["task"].startswith("packet log's")


async def test_a_session_that_begins_meanwhile_is_not_taken_for_an_unknown_one(url: str) -> None:
    """`take_over` reads the master's rows, then the sessions that it holds. The row of a session that begins
    in between is not taken over."""
    async with masters(url, 1) as (one,):
        await one.create("unknown-01").append([ONE])
        one.holder.held.clear()  # as if the database's answer had been lost

        class Held:
            def __contains__(self, stream_id: object) -> bool:
                with one.database.connect() as connection:
                    statements.append(connection, "begins-02", one.master, 1, 0, [], new_of="")
                return False

        taken = await one.database.run(partial(statements.take_over, master=one.master, held=Held()))
        assert [stream_id for stream_id, *_ in taken] == ["unknown-01"]


async def test_a_master_that_took_a_session_over_from_itself_keeps_it(url: str) -> None:
    """This happens if the database was unreachable for longer than the lease. Releasing the old log must not
    affect the new one."""
    async with masters(url, 1) as (one,):
        old = one.create(STREAM)
        await old.append([ONE])
        one.holder.give_up(old)
        await trio.sleep(statements.LEASE_SECONDS)  # its lease is old enough to take sessions over
        adopted: list[Any] = []
        while not adopted:
            adopted = await one.adopt()
        ((new, entries),) = adopted
        assert (new.fence, entries) == (2, [ONE])
        await old.release()
        await one.heartbeat()
        await new.append([TWO])
        assert await one.load(STREAM) == [ONE, TWO]


async def test_what_a_crash_of_the_database_took_is_handed_back_with_the_session(url: str) -> None:
    """The database was also unreachable for longer than the lease, so the master gives the session up. It
    stores the lost entry again before it releases the session."""
    async with masters(url, 1) as (one,):
        stored = one.create(STREAM)
        await stored.append([ONE, TWO])
        await one.database.run(
            lambda connection: connection.execute("DELETE FROM log_entry WHERE number = 1")
        )
        one.holder.give_up(stored)
        while await holder_of(one) is not None:  # noqa: ASYNC110 - the next beat does it
            await trio.sleep(0.02)
        assert await one.load(STREAM) == [ONE, TWO]


async def holder_of(logs: LogRows) -> str | None:
    row = await logs.database.run(
        lambda connection: connection.execute("SELECT holder FROM log_session").fetchone()
    )
    return None if row is None else row[0]
