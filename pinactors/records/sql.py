"""SQL that is written out instead of built with peewee, for what every session executes: building a statement
takes several times as long as executing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import peewee


def execute(database: peewee.Database, statement: str, *values: object) -> Any:
    """Executes `statement`, with a `?` for each of `values`, and returns the cursor."""
    return database.execute_sql(statement.replace("?", database.param), values)  # type: ignore[no-untyped-call]


def insert(database: peewee.Database, table: str, *rows: Mapping[str, object], ignore: bool = False) -> Any:
    """Inserts rows that have the same columns and returns the cursor. With `ignore`, rows whose key exists
    are left out."""
    columns = ", ".join(rows[0])
    marks = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(rows))
    statement = f"INSERT INTO {table} ({columns}) VALUES {marks}"  # noqa: S608 - our own names
    values = [value for row in rows for value in row.values()]
    return execute(database, statement + " ON CONFLICT DO NOTHING" * ignore, *values)
