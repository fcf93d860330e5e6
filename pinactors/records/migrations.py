"""Migrations: they create the current schema in a new database and migrate an older one step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator  # type: ignore[import-untyped]  # peewee types itself alone

from pinactors.errors import ExternalError
from pinactors.records.models import TABLES, SchemaVersion

Step = Callable[[SchemaMigrator], None]


def add_provisional(migrator: SchemaMigrator) -> None:
    """Adds a column for analyses that nobody has confirmed: counting them by missing feedback read every
    row."""
    migrator.migrate(
        migrator.add_column("analysis", "provisional", peewee.BooleanField(default=False)),
        migrator.drop_index("analysis", "analysis_owner_id"),
        migrator.add_index("analysis", ("owner", "provisional", "id")),
    )
    analysis, feedback = peewee.Table("analysis"), peewee.Table("feedback")
    confirmed = feedback.select(feedback.c.analysis_id)
    unconfirmed = analysis.c.error_code.is_null() & analysis.c.id.not_in(confirmed)
    analysis.update({analysis.c.provisional: True}).where(unconfirmed).execute(migrator.database)


def add_corrections(migrator: SchemaMigrator) -> None:
    """Adds columns for people's corrections, because a comment cannot be used as a label."""
    migrator.migrate(
        migrator.add_column("feedback", "verdict", peewee.CharField(max_length=32, null=True)),
        migrator.add_column("feedback", "pin_id", peewee.TextField(null=True)),
        migrator.add_column("feedback", "price", peewee.FloatField(null=True)),
    )


def add_webhooks_and_tokens(migrator: SchemaMigrator) -> None:
    """Adds a webhook and a signing secret to keys, and tables for short-lived tokens and deliveries."""

    class Key(peewee.Model):
        class Meta:
            table_name = "api_key"

    class AccessToken(peewee.Model):
        digest = peewee.CharField(max_length=64, primary_key=True)
        key = peewee.ForeignKeyField(Key)
        stream_id = peewee.CharField(max_length=64, null=True)
        expires_at = peewee.BigIntegerField()

        class Meta:
            table_name = "access_token"

    class Delivery(peewee.Model):
        id = peewee.AutoField()
        stream_id = peewee.CharField(max_length=64)
        sequence = peewee.IntegerField()
        owner = peewee.CharField(max_length=64)
        url = peewee.TextField()
        event = peewee.CharField(max_length=100)
        body = peewee.BlobField()
        created_at = peewee.BigIntegerField()
        due_at = peewee.BigIntegerField()
        attempts = peewee.IntegerField(default=0)
        state = peewee.CharField(max_length=16)
        error = peewee.TextField(null=True)

        class Meta:
            table_name = "delivery"
            indexes = (
                (("stream_id", "sequence"), True),
                (("state", "due_at"), False),
            )

    migrator.migrate(
        migrator.add_column("api_key", "webhook", peewee.TextField(null=True)),
        migrator.add_column("api_key", "webhook_secret", peewee.CharField(max_length=100, null=True)),
    )
    for table in (AccessToken, Delivery):
        peewee.SchemaManager(table, migrator.database).create_all()


def add_admin(migrator: SchemaMigrator) -> None:
    """Adds the admin right to keys: such a key may see the analyses of all keys and edit the catalogue."""
    migrator.migrate(migrator.add_column("api_key", "admin", peewee.BooleanField(default=False)))


def add_later_keys(migrator: SchemaMigrator) -> None:
    """Adds a table for idempotency keys that were sent with duplicates."""

    class LaterKey(peewee.Model):
        owner = peewee.CharField(max_length=64)
        idempotency_key = peewee.CharField(max_length=255)
        stream_id = peewee.CharField(max_length=64)
        fingerprint = peewee.CharField(max_length=64)
        added_at = peewee.BigIntegerField()

        class Meta:
            table_name = "later_key"
            primary_key = peewee.CompositeKey("owner", "idempotency_key")

    peewee.SchemaManager(LaterKey, migrator.database).create_all()


def never_reuse_numbers(migrator: SchemaMigrator) -> None:
    """Makes SQLite never give the number of a deleted row again, as PostgreSQL does. SQLite can change this
    only by making a table again."""
    if not isinstance(migrator.database, peewee.SqliteDatabase):
        return
    execute: Any = migrator.database.execute_sql
    made_by = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type = ? AND sql IS NOT NULL"
    number = '"id" INTEGER NOT NULL PRIMARY KEY'
    for table in ("analysis", "feedback", "api_key", "delivery"):
        ((definition,),) = execute(made_by, (table, "table")).fetchall()
        indexes = execute(made_by, (table, "index")).fetchall()
        # Renaming the old table instead would change the foreign keys that point to it.
        execute(definition.replace(f'"{table}"', '"new"', 1).replace(number, f"{number} AUTOINCREMENT"))
        execute(f'INSERT INTO "new" SELECT * FROM "{table}"')  # noqa: S608 - a name from the list above
        execute(f'DROP TABLE "{table}"')
        execute(f'ALTER TABLE "new" RENAME TO "{table}"')
        for (definition,) in indexes:
            execute(definition)


STEPS: tuple[Step, ...] = (
    add_provisional,
    add_corrections,
    add_webhooks_and_tokens,
    add_admin,
    add_later_keys,
    never_reuse_numbers,
)
"""`STEPS[n]` migrates schema n + 1 to n + 2. A released step is never changed; changes are new steps."""

_LOCK_NUMBER = 7_465_107
_WAL_SECONDS = 2
_RETRY_SECONDS = 0.02


class SchemaTooNew(ExternalError):
    """The database was written by a newer version of this program; it was not changed."""


def migrate(database: peewee.Database, steps: Sequence[Step] = STEPS) -> int:
    """Migrates the database on the calling thread's connection and returns the schema's version. Several
    processes may call it at the same time.

    Raises `SchemaTooNew`, or peewee's errors, after which nothing was changed.
    """
    current = 1 + len(steps)
    with _exclusive_transaction(database):
        if not database.table_exists(SchemaVersion._meta.table_name):
            for table in TABLES:
                peewee.SchemaManager(table, database).create_all()
            SchemaVersion.insert(id=1, version=current).execute(database)
            return current
        found = int(SchemaVersion.select(SchemaVersion.version).scalar(database))
        if found > current:
            raise SchemaTooNew(
                f"the database has schema {found}, but this program supports only up to {current}"
            )
        migrator = SchemaMigrator.from_database(database)
        for step in steps[found - 1 :]:
            step(migrator)
        if found < current:
            SchemaVersion.update(version=current).execute(database)
    return current


@contextmanager
def _exclusive_transaction(database: Any) -> Iterator[None]:
    """A transaction that only one process at a time can be in."""
    execute: Any = database.execute_sql
    if isinstance(database, peewee.SqliteDatabase):
        _set_wal_mode(execute)
        execute("PRAGMA foreign_keys = 0")  # peewee changes a column by making its table again
        try:
            with database.atomic("EXCLUSIVE"):
                yield
                if execute("PRAGMA foreign_key_check").fetchone():
                    raise peewee.IntegrityError("a migration left rows that point nowhere")
        finally:
            execute("PRAGMA foreign_keys = 1")
    else:
        with database.atomic():
            execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_NUMBER,))
            yield


def _set_wal_mode(execute: Any) -> None:
    """Sets the file's journal mode to WAL, which the file keeps. Two processes that do so to a new file at
    the same time can each hold a lock that the other needs: SQLite then fails one of them immediately,
    whatever its busy timeout."""
    give_up_at = time.monotonic() + _WAL_SECONDS
    while True:
        try:
            execute("PRAGMA journal_mode = wal")
            return
        except peewee.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(_RETRY_SECONDS)
