"""Tests of migrations: databases of earlier schemas are migrated once, even by several processes at once."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import peewee
import pytest
import trio
from playhouse.migrate import SchemaMigrator

from pinactors.records import Records, SchemaTooNew, database, migrations
from pinactors.records.models import TABLES, SchemaVersion, StoredAnalysis
from pinactors.settings import Settings
from tests.postgres_server import empty_database
from tests.records.samples import final_packets, record

FIRST_SCHEMA = Path(__file__).with_name("schema_1.sql")


def schema(file: Path) -> dict[str, object]:
    """Each table's columns, foreign keys and indexes, sorted, and whether its numbers are given only once."""
    with closing(sqlite3.connect(file)) as connection:
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        return {
            table: {
                "columns": sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({table})")),
                "keys": sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})")),
                "indexes": sorted(
                    (row[2], [column[2] for column in connection.execute(f"PRAGMA index_info({row[1]})")])
                    for row in connection.execute(f"PRAGMA index_list({table})")
                ),
                "numbered once": "AUTOINCREMENT" in definition,
            }
            for table, definition in tables.items()
        }


def open_schema(file: Path) -> peewee.Database:
    return database.connect(Settings(data=file.parent, database_url=f"sqlite:///{file}"))


async def test_the_first_schema_is_brought_forward_with_its_records(tmp_path: Path) -> None:
    file = tmp_path / database.DATABASE_FILE
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(FIRST_SCHEMA.read_text())
    fresh = tmp_path / "fresh"
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        records = await Records.open(Settings(data=tmp_path))
        old = await records.stream("old-stream")
        assert old is not None
        assert old.packets == [b'{"old":0}', b'{"old":1}']
        assert [key.name for key in await records.keys()] == ["old phone"]
        assert [pin.name for pin in (await records.provisional("1"))[0]] == ["Unconfirmed Fox"]
        assert await records.save(record(), final_packet) == old.record_number + 3
        await records.close()
        await (await Records.open(Settings(data=fresh))).close()
    assert schema(file) == schema(fresh / database.DATABASE_FILE)


def test_postgresql_is_brought_forward(tmp_path: Path, postgres: Path) -> None:
    connected = database.connect(Settings(data=tmp_path, database_url=empty_database(postgres)))
    with connected.connection_context():
        migrations.migrate(connected)
        for statement in (  # undoes the migrations
            "ALTER TABLE analysis DROP COLUMN provisional",
            "ALTER TABLE feedback DROP COLUMN verdict, DROP COLUMN pin_id, DROP COLUMN price",
            "CREATE INDEX analysis_owner_id ON analysis (owner, id)",
            "DROP TABLE access_token",
            "DROP TABLE delivery",
            "ALTER TABLE api_key DROP COLUMN admin",
            "ALTER TABLE api_key DROP COLUMN webhook",
            "ALTER TABLE api_key DROP COLUMN webhook_secret",
            "UPDATE schema_version SET version = 1",
            *(
                "INSERT INTO analysis (stream_id, session_id, owner, fingerprint, started_at, finished_at, "
                "processing_ms, degraded, missing, error_code) "
                f"VALUES ('{name}', '', '', '', 0, 0, 0, '', '', {code})"
                for name, code in (("open", "NULL"), ("confirmed", "NULL"), ("failed", "'overloaded'"))
            ),
            "INSERT INTO feedback (analysis_id, agreement, comment, created_at) VALUES (2, 'agree', '', 0)",
        ):
            connected.execute_sql(statement)
        assert migrations.migrate(connected) == 1 + len(migrations.STEPS)
        found = (
            StoredAnalysis.select(StoredAnalysis.stream_id, StoredAnalysis.provisional)
            .order_by(StoredAnalysis.id)
            .tuples()
        )
        assert list(found.execute(connected)) == [("open", True), ("confirmed", False), ("failed", False)]
        indexed = {tuple(index.columns) for index in connected.get_indexes("analysis")}
        assert {"access_token", "delivery"} <= set(connected.get_tables())
        assert {"webhook", "webhook_secret"} <= {column.name for column in connected.get_columns("api_key")}
    connected.close_all()
    assert ("owner", "provisional", "id") in indexed
    assert ("owner", "id") not in indexed


def test_each_step_runs_once_and_in_order(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    ran: list[int] = []

    def step(number: int) -> migrations.Step:
        def change(migrator: SchemaMigrator) -> None:
            migrator.migrate(migrator.add_column("api_key", f"extra_{number}", peewee.TextField(default="")))
            ran.append(number)

        return change

    steps = [step(1), step(2), step(3)]
    connected = open_schema(file)
    with connected.connection_context():
        assert migrations.migrate(connected, []) == 1
        assert migrations.migrate(connected, steps[:1]) == 2
        assert migrations.migrate(connected, steps) == 4
        assert migrations.migrate(connected, steps) == 4
        assert SchemaVersion.select(SchemaVersion.version).scalar(connected) == 4
    connected.close_all()
    assert ran == [1, 2, 3]


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.db"

    def half(migrator: SchemaMigrator) -> None:
        migrator.migrate(migrator.add_column("api_key", "extra", peewee.TextField(default="")))
        raise ZeroDivisionError

    connected = open_schema(file)
    with connected.connection_context():
        migrations.migrate(connected, [])
        before = schema(file)
        with pytest.raises(ZeroDivisionError):
            migrations.migrate(connected, [half])
        assert SchemaVersion.select(SchemaVersion.version).scalar(connected) == 1
    connected.close_all()
    assert schema(file) == before


def open_files(folder: Path) -> list[str]:
    """Files in `folder` that this process has open."""
    names = (os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink())
    return [name for name in names if name.startswith(str(folder))]


async def test_connections_are_closed_also_if_the_server_is_cancelled(tmp_path: Path) -> None:
    with trio.fail_after(120):
        records = await Records.open(Settings(data=tmp_path))
        assert open_files(tmp_path)
        with trio.CancelScope() as scope:
            scope.cancel()
            await records.close()
        assert open_files(tmp_path) == []


async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """Nor does a connection to it stay open."""
    with trio.fail_after(120):
        records = await Records.open(Settings(data=tmp_path))
        version = 1 + len(migrations.STEPS)
        await records._store.write(SchemaVersion.update(version=version + 1).execute)
        await records.close()
        with pytest.raises(SchemaTooNew, match=str(version + 1)):
            await Records.open(Settings(data=tmp_path))
        assert open_files(tmp_path) == []


_RACE = """
import sys
import peewee
from pinactors.records import database, migrations
from pinactors.settings import Settings

database.BUSY_MILLISECONDS = 60_000  # on a busy machine the other process may take long

def step(migrator):
    migrator.migrate(migrator.add_column("api_key", "extra", peewee.TextField(default="")))

connected = database.connect(Settings(data=sys.argv[1], database_url=sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
with connected.connection_context():
    migrations.migrate(connected, [step] if sys.argv[3] == "step" else [])
connected.close_all()
"""


@pytest.mark.parametrize("first", ["fresh", "step"])
def test_processes_that_migrate_at_once(settings: Settings, first: str) -> None:
    """Without a lock each process would fail on a table or column that the other has just created."""
    url = settings.database_url or f"sqlite:///{settings.data / 'race.db'}"
    settings.data.mkdir()
    connected = database.connect(Settings(data=settings.data, database_url=url))
    if first == "step":
        with connected.connection_context():
            migrations.migrate(connected, [])
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACE, settings.data, url, first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        for racer in racers:
            _, errors = racer.communicate(timeout=120)
            assert (racer.returncode, errors) == (0, "")
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    with connected.connection_context():
        assert all(connected.table_exists(table._meta.table_name) for table in TABLES)
        assert SchemaVersion.select(SchemaVersion.version).scalar(connected) == (2 if first == "step" else 1)
        columns = [column.name for column in connected.get_columns("api_key")]
    connected.close_all()
    assert ("extra" in columns) is (first == "step")
