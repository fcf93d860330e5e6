"""The catalogue's tables, and functions that open its SQLite file.

Each query is executed with its database as argument (`query.execute(database)`), because a process may have
several catalogues open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peewee

from pinactors.errors import ExternalError

SCHEMA_VERSION = 2
DATABASE_FILE = "catalog.sqlite3"
GROUND_LEVEL = 254
"""Level of a stored mask inside the pin's outline where the picture has the colour of its plain ground."""


class Pin(peewee.Model):
    """A pin of the catalogue. `number` is its key in the search index; `digest` is a hash of its row, its
    pictures and the feature version, by which the import skips unchanged rows; `revision` is the catalogue's
    revision at the pin's last change."""

    number = peewee.AutoField()
    pin_id = peewee.TextField(unique=True)
    name = peewee.TextField()
    characters = peewee.TextField()
    series = peewee.TextField(null=True)
    year = peewee.IntegerField(null=True)
    edition_size = peewee.IntegerField(null=True)
    brand = peewee.TextField(null=True)
    factory_code = peewee.TextField(null=True)
    factory_key = peewee.TextField(null=True, index=True)
    digest = peewee.TextField()
    revision = peewee.IntegerField(index=True)

    class Meta:
        table_name = "pin"


class Picture(peewee.Model):
    """One view of a pin. `file` and `crop` are names in the pictures folder; `mask` is a PNG, the mask of the
    crop, with `GROUND_LEVEL` where the ground may be seen through a hole. `outlined` is False if the mask
    does not follow the pin but covers the middle of the picture or a given box. `given` is the mask (a PNG at
    the size of `file`) if the import folder had one. A search compares `features` (of a front; empty for a
    back, NULL if another version of the program wrote the row). `to_picture` (3x3, float64, little-endian)
    maps the crop's pixels to shares of the picture's width and height."""

    pin = peewee.ForeignKeyField(Pin, backref="pictures", on_delete="CASCADE")
    view = peewee.TextField()
    file = peewee.TextField()
    crop = peewee.TextField()
    mask = peewee.BlobField()
    outlined = peewee.BooleanField()
    given = peewee.BlobField(null=True)
    features = peewee.BlobField(null=True)
    to_picture = peewee.BlobField(null=True)

    class Meta:
        table_name = "picture"
        primary_key = peewee.CompositeKey("pin", "view")


class Sale(peewee.Model):
    number = peewee.AutoField()
    pin = peewee.ForeignKeyField(Pin, backref="sales", on_delete="CASCADE")
    sold_at = peewee.DateField()
    price = peewee.FloatField()
    currency = peewee.TextField()
    condition = peewee.TextField()
    source = peewee.TextField()

    class Meta:
        table_name = "sale"


class Rate(peewee.Model):
    """An imported exchange rate: US dollars per unit of a currency."""

    currency = peewee.TextField(primary_key=True)
    usd_per_unit = peewee.FloatField()

    class Meta:
        table_name = "rate"


class CatalogFact(peewee.Model):
    """A fact about the catalogue as a whole: `schema`, `revision`, `demonstration`."""

    name = peewee.TextField(primary_key=True)
    value = peewee.TextField()

    class Meta:
        table_name = "fact"


TABLES: tuple[type[peewee.Model], ...] = (Pin, Picture, Sale, Rate, CatalogFact)


class CatalogTooNew(ExternalError):
    """The catalogue was written by a later version of the program."""


def database_of(folder: Path) -> peewee.SqliteDatabase:
    """The folder's database, not connected yet. In a folder that cannot be written it can only be read."""
    path = folder / DATABASE_FILE
    if path.is_file() and not os.access(folder, os.W_OK):
        # SQLite cannot make the files that it shares with a writer; they are there if another machine writes.
        # With a log alone, of a writer that was killed, it has to know that it shares nothing.
        log, shared = (path.with_name(f"{path.name}{suffix}").exists() for suffix in ("-wal", "-shm"))
        how = "immutable=1" if not log else "mode=ro" if shared else "mode=ro&vfs=unix-none"
        alone = [("locking_mode", "exclusive")] if log and not shared else []
        return peewee.SqliteDatabase(f"{path.absolute().as_uri()}?{how}", uri=True, pragmas=alone)
    pragmas = [
        ("busy_timeout", 5000),
        ("journal_mode", "wal"),
        ("synchronous", "normal"),
        ("foreign_keys", 1),
    ]
    return peewee.SqliteDatabase(str(path), pragmas=pragmas)


@contextmanager
def connected(database: peewee.SqliteDatabase) -> Iterator[peewee.SqliteDatabase]:
    """Keeps a connection open on this thread until the outermost `with` ends."""
    fresh = database.connect(reuse_if_open=True)
    try:
        yield database
    finally:
        if fresh:
            database.close()


def checkpoint(folder: Path) -> None:
    """Moves all changes from the write-ahead log into the database's file, which is then complete without the
    log. Does nothing if there is no database. Raises `OSError`, also if a reader prevents it for seconds."""
    if not (folder / DATABASE_FILE).is_file():
        return
    try:
        with connected(database_of(folder)) as database:
            cursor = database.execute_sql("PRAGMA wal_checkpoint(FULL)")  # type: ignore[no-untyped-call]
            prevented = cursor.fetchone()[0]
    except peewee.DatabaseError as error:
        raise OSError(f"{folder / DATABASE_FILE} cannot be read: {error}") from error
    if prevented:
        raise OSError(f"{folder / DATABASE_FILE} is in use: try again")


def create(database: peewee.SqliteDatabase) -> None:
    """Creates the tables that are missing and migrates schema 1. Raises `CatalogTooNew`."""
    for table in TABLES:
        peewee.SchemaManager(table, database).create_all()
    stored = fact(database, "schema")
    if stored is None:
        set_fact(database, "schema", str(SCHEMA_VERSION))
    elif int(stored) > SCHEMA_VERSION:
        raise CatalogTooNew(
            f"the catalogue has schema {stored}, but this program supports only up to {SCHEMA_VERSION}"
        )
    elif int(stored) == 1:
        _from_first(database)


def _from_first(database: peewee.SqliteDatabase) -> None:
    """Migrates the tables of schema 1; columns that its pictures have no value for are NULL."""
    with database.atomic("IMMEDIATE"):
        for column in ("portrait", "layout"):
            database.execute_sql(f"ALTER TABLE picture DROP COLUMN {column}")  # type: ignore[no-untyped-call]
        for column in (
            "outlined INTEGER NOT NULL DEFAULT 1",
            "given BLOB",
            "features BLOB",
            "to_picture BLOB",
        ):
            database.execute_sql(f"ALTER TABLE picture ADD COLUMN {column}")  # type: ignore[no-untyped-call]
        set_fact(database, "schema", str(SCHEMA_VERSION))


def number_of(database: peewee.SqliteDatabase, pin_id: str) -> int | None:
    """The number of the pin with this id; None if the catalogue has no such pin."""
    number = Pin.select(Pin.number).where(Pin.pin_id == pin_id).scalar(database)
    return None if number is None else int(number)


def fact(database: peewee.SqliteDatabase, name: str) -> str | None:
    value = CatalogFact.select(CatalogFact.value).where(CatalogFact.name == name).scalar(database)
    return None if value is None else str(value)


def next_revision(database: peewee.SqliteDatabase) -> int:
    """Increases the catalogue's revision and returns it."""
    revision = int(fact(database, "revision") or 0) + 1
    set_fact(database, "revision", str(revision))
    return revision


def set_fact(database: peewee.SqliteDatabase, name: str, value: str) -> None:
    row = {"name": name, "value": value}
    CatalogFact.insert(row).on_conflict_replace().execute(database)
