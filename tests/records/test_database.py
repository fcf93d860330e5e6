"""Tests with a database that is locked, full, missing, replaced or broken: retriable errors, no lost rows."""

import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import peewee
import pytest
import trio

from pinactors.protocol import ErrorCode
from pinactors.records import Records, RecordsUnavailable, database
from pinactors.records.models import Feedback
from pinactors.settings import Settings, SettingUnusable
from tests.postgres_server import empty_database, end_connections, for_reader
from tests.records.samples import NOW, final_packets, record


@pytest.fixture
async def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Records]:
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 50)
    with trio.fail_after(120):
        opened = await Records.open(Settings(data=tmp_path))
    yield opened
    with trio.fail_after(120):
        await opened.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / database.DATABASE_FILE


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_a_locked_database_can_be_read_and_is_written_once_free(records: Records, file: Path) -> None:
    final_packet, calls = final_packets()
    with trio.fail_after(120):
        await records.save(record("before"), final_packet)
        with locked(file):
            with pytest.raises(RecordsUnavailable) as caught:
                await records.save(record("during"), final_packet)
            assert await records.stream("before") is not None
            assert await records.check()
        assert caught.value.code is ErrorCode.OVERLOADED
        assert caught.value.retry_after
        assert "locked" in str(caught.value.__cause__)
        assert "locked" not in str(caught.value)
        assert str(file) not in str(caught.value)
        assert await records.save(record("during"), final_packet) == calls[-1] == 2


async def test_a_writer_waits_for_a_short_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 8000)
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        records = await Records.open(Settings(data=tmp_path))
        begun, check_file = trio.Event(), records._store._check_file

        def check_and_tell() -> None:
            check_file()
            trio.from_thread.run_sync(begun.set)

        async with trio.open_nursery() as nursery:
            with locked(tmp_path / database.DATABASE_FILE):
                monkeypatch.setattr(records._store, "_check_file", check_and_tell)
                nursery.start_soon(records.save, record("waiting"), final_packet)
                await begun.wait()
            monkeypatch.setattr(records._store, "_check_file", check_file)
        assert await records.stream("waiting") is not None
        await records.close()


async def test_a_disk_without_room_is_named(
    records: Records, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite reports only an error of input and output where it cannot make the file that it shares."""
    monkeypatch.setattr(database, "SHARED_BYTES", 1 << 62)
    with locked(file), pytest.raises(RecordsUnavailable) as caught:
        await records.save(record("during"), final_packets()[0])
    assert f"the disk of {file.parent} is full" in caught.value.__notes__


async def test_a_full_database_is_unavailable(records: Records) -> None:
    final_packet, _ = final_packets()

    def limit(connected: peewee.SqliteDatabase, pages: int) -> None:
        connected.execute_sql(f"PRAGMA max_page_count = {pages}")  # type: ignore[no-untyped-call]

    big = record("big", packets=[b"x" * 8192] * 200)
    with trio.fail_after(120):
        await records._store.read(lambda connected: limit(connected, 40))
        with pytest.raises(RecordsUnavailable) as caught:
            await records.save(big, final_packet)
        assert "full" in str(caught.value.__cause__)
        assert await records.stream("big") is None
        await records._store.read(lambda connected: limit(connected, 10**6))
        await records.save(big, final_packet)
        assert await records.stream("big") is not None


async def test_a_database_that_went_away_comes_back_with_everything(records: Records, file: Path) -> None:
    """The store neither writes to the moved file nor creates a new one in its place: both would lose rows."""
    final_packet, _ = final_packets()
    here, away = trio.Path(file), trio.Path(file.with_name("away"))
    with trio.fail_after(120):
        await records.save(record("before"), final_packet)
        await here.rename(away)
        for _ in range(2):
            with pytest.raises(RecordsUnavailable):
                await records.save(record("during"), final_packet)
        with pytest.raises(RecordsUnavailable):
            await records.stream("before")
        assert not await records.check()
        assert not await here.exists()
        await away.rename(here)
        await records.save(record("during"), final_packet)
        assert await records.check()
        assert [await records.stream(name) is not None for name in ("before", "during")] == [True, True]


async def test_a_database_put_in_its_place_is_opened(records: Records, file: Path, tmp_path: Path) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        spare = await Records.open(Settings(data=tmp_path / "spare"))
        await spare.save(record("restored"), final_packet)
        await spare.close()
        await records.save(record("lost"), final_packet)
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink()
        (tmp_path / "spare" / database.DATABASE_FILE).replace(file)
        assert await records.stream("restored") is not None
        assert await records.stream("lost") is None
        await records.save(record("next"), final_packet)
        assert await records.stream("next") is not None


async def test_a_broken_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / database.DATABASE_FILE).write_bytes(b"this is no database" * 100)
    with trio.fail_after(120), pytest.raises(RecordsUnavailable):
        await Records.open(Settings(data=tmp_path))


async def test_the_cause_is_a_note_that_clients_do_not_get(tmp_path: Path) -> None:
    (tmp_path / database.DATABASE_FILE).write_bytes(b"this is no database" * 100)
    with trio.fail_after(120), pytest.raises(RecordsUnavailable) as caught:
        await Records.open(Settings(data=tmp_path))
    assert caught.value.__notes__ == ["file is not a database"]
    assert "file" not in f"{caught.value} {caught.value.detail}"


async def test_a_folder_that_cannot_be_made_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with trio.fail_after(120), pytest.raises(NotADirectoryError):
        await Records.open(Settings(data=tmp_path / "file" / "data"))


async def test_sqlite_is_set_up_for_several_processes(records: Records) -> None:
    def pragmas(connected: peewee.SqliteDatabase) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connected.pragma(name) for name in names]

    with trio.fail_after(120):
        assert await records._store.read(pragmas) == ["wal", 1, 1, 50]


async def test_foreign_keys_hold(records: Records) -> None:
    orphan = Feedback.insert(analysis=99, agreement="agree", comment="", created_at=NOW)
    with trio.fail_after(120), pytest.raises(peewee.IntegrityError):
        await records._store.write(orphan.execute)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("oracle://user:secret@host/name", "unknown kind 'oracle'"),
        ("secret", "not a URL"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite://", "in memory"),
        ("sqlite:///file.db?mode=ro", "no options"),
        ("postgresql://user:secret@host", "no database"),
        ("postgresql://user:pass@host:secret/name", "cannot be read"),
        ("postgresql://user:secret@host/name?isolation_level=foo", "an option in database_url"),
    ],
)
def test_an_unusable_url_is_refused_without_telling_its_password(
    tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        database.connect(Settings(data=tmp_path, database_url=url))
    assert "secret" not in str(caught.value)


async def test_a_sqlite_url_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.db"
    with trio.fail_after(120):
        records = await Records.open(Settings(data=tmp_path / "data", database_url=f"sqlite:///{path}"))
        await records.add_key("phone")
        await records.close()
    assert path.exists()
    assert not (tmp_path / "data" / database.DATABASE_FILE).exists()


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = f"postgresql:///name?host={tmp_path}&user=nobody"
    with trio.fail_after(120), pytest.raises(RecordsUnavailable):
        await Records.open(Settings(data=tmp_path, database_url=url))


async def test_connections_that_died_while_idle_are_replaced(tmp_path: Path, postgres: Path) -> None:
    """The server ends idle connections, as a restart does: the pool must check each one before its use."""
    final_packet, _ = final_packets()

    url = empty_database(postgres)
    with trio.fail_after(120):
        async with AsyncExitStack() as stack:
            records = await Records.open(Settings(data=tmp_path, database_url=url))
            stack.push_async_callback(records.close)
            gate = threading.Barrier(4, timeout=120)
            async with trio.open_nursery() as nursery:
                for _ in range(4):  # all at once, so that four connections are open
                    nursery.start_soon(records._store.read, lambda connected: gate.wait())
            await trio.to_thread.run_sync(end_connections, url)
            assert await records.save(record(), final_packet) == 1
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(records.stream, "stream-1")


async def test_an_option_that_the_driver_does_not_know_is_told_at_start(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = f"postgresql://user:secret@/name?host={tmp_path}&pgbouncer=true"
    with trio.fail_after(120), pytest.raises(SettingUnusable, match=r"^database_url: .*pgbouncer") as caught:
        await Records.open(Settings(data=tmp_path, database_url=url))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_user_who_may_create_no_tables_is_told_at_start(tmp_path: Path, postgres: Path) -> None:
    url = for_reader(empty_database(postgres))
    with trio.fail_after(120):
        with pytest.raises(SettingUnusable, match=r"may not create .* tables in this database") as caught:
            await Records.open(Settings(data=tmp_path, database_url=url))
    assert "\n" not in str(caught.value)


async def test_a_fault_in_a_migration_is_no_unusable_setting(
    tmp_path: Path, postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(connected: peewee.Database) -> None:
        connected.execute_sql("SELECT no_such_column")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(database.migrations, "migrate", mistaken)
    with trio.fail_after(120), pytest.raises(peewee.ProgrammingError):
        await Records.open(Settings(data=tmp_path, database_url=empty_database(postgres)))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_store_every_text_is_refused_at_start(
    encoding: str, tmp_path: Path, postgres: Path
) -> None:
    options = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    url = empty_database(postgres, options)
    with trio.fail_after(120), pytest.raises(SettingUnusable, match=f"encoding {encoding}"):
        await Records.open(Settings(data=tmp_path, database_url=url))


async def test_text_is_sent_as_utf_8_in_any_environment(
    tmp_path: Path, postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with trio.fail_after(120):
        records = await Records.open(Settings(data=tmp_path, database_url=empty_database(postgres)))
        await records.add_key("ミッキー")
        assert [key.name for key in await records.keys()] == ["ミッキー"]
        await records.close()
