"""Queries compiled once: peewee takes longer to write the text of one than the database to run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import peewee


def _compiled(database: Any, query: Any) -> tuple[str, list[Any]]:
    text, parameters = database.get_sql_context().sql(query).query()
    return str(text), list(parameters)


class Prepared:
    """A query with named places: `build` is called once for each kind of database, with `":name"` wherever
    the call brings the value of that name.

    The call returns the cursor. Values go to the database as they are given, rows come as it gives them.
    """

    def __init__(self, build: Callable[[], peewee.Query]) -> None:
        self._build = build
        self._texts: dict[type, tuple[str, list[Any]]] = {}

    def __call__(self, database: Any, **values: Any) -> Any:
        kind = type(database)
        if kind not in self._texts:
            self._texts[kind] = _compiled(database, self._build())
        text, places = self._texts[kind]
        return database.execute_sql(text, [_filled(place, values) for place in places])


def _filled(place: Any, values: dict[str, Any]) -> Any:
    return values[place[1:]] if isinstance(place, str) and place.startswith(":") else place


class Inserting:
    """Inserts whole rows of `model`: every column but an automatic key, in the order of its declaration.

    `ignore`: a row whose key is there already changes nothing.
    """

    def __init__(self, model: type[peewee.Model], *, ignore: bool = False) -> None:
        self._model, self._ignore = model, ignore
        self._fields = [
            field for field in model._meta.sorted_fields if not isinstance(field, peewee.AutoField)
        ]
        self._texts: dict[tuple[type, int], str] = {}

    def __call__(self, database: Any, rows: Sequence[Sequence[Any]]) -> None:
        """All `rows` with one statement. Values are converted as the model's fields convert them."""
        key = type(database), len(rows)
        if key not in self._texts:
            query = self._model.insert_many([[None] * len(self._fields)] * len(rows), fields=self._fields)
            query = query.on_conflict_ignore() if self._ignore else query
            self._texts[key], _ = _compiled(database, query)
        values = [
            field.db_value(value) for row in rows for field, value in zip(self._fields, row, strict=True)
        ]
        database.execute_sql(self._texts[key], values)
