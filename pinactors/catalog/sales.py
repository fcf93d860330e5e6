"""The import of sales.csv and fx.csv into the catalogue's database, each file in one transaction."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import peewee

from pinactors.catalog import models
from pinactors.catalog.importing.rows import (
    RATE_COLUMNS,
    SALE_COLUMNS,
    ImportReport,
    Problem,
    RowError,
    check_rate,
    check_sale,
    sale_notation,
    take_table,
)


def import_sales(path: Path, database: peewee.SqliteDatabase, report: ImportReport, encoding: str) -> None:
    """Replaces the sales of every pin that the file names, in one transaction; rows that are not valid become
    problems of `report`."""
    query = models.Pin.select(models.Pin.pin_id, models.Pin.number).tuples()
    numbers = {str(pin_id): int(number) for pin_id, number in query.execute(database)}
    cleared: set[int] = set()
    batch: list[dict[str, Any]] = []
    table = take_table(path, SALE_COLUMNS, report, encoding)
    notation = sale_notation(table)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with database.atomic("IMMEDIATE"):
        for row in table.rows:
            try:
                sale = check_sale(row, numbers, notation)
            except RowError as error:
                report.problems.append(Problem(path.name, row.line, str(error)))
                continue
            if sale["pin"] not in cleared:
                cleared.add(sale["pin"])
                models.Sale.delete().where(models.Sale.pin == sale["pin"]).execute(database)
            batch.append(sale)
            report.sales += 1
            if len(batch) >= 500:
                models.Sale.insert_many(batch).execute(database)
                batch.clear()
        if batch:
            models.Sale.insert_many(batch).execute(database)
        models.set_fact(database, "sales", digest)


def import_rates(path: Path, database: peewee.SqliteDatabase, report: ImportReport, encoding: str) -> None:
    """Replaces all exchange rates, in one transaction."""
    rates: dict[str, dict[str, Any]] = {}
    for row in take_table(path, RATE_COLUMNS, report, encoding).rows:
        try:
            rate = check_rate(row)
            if rate["currency"] in rates:
                raise RowError(f"currency {rate['currency']} already has a rate")
        except RowError as error:
            report.problems.append(Problem(path.name, row.line, str(error)))
            continue
        rates[rate["currency"]] = rate
    with database.atomic("IMMEDIATE"):
        models.Rate.delete().execute(database)
        if rates:
            models.Rate.insert_many(list(rates.values())).execute(database)
        models.set_fact(database, "rates", hashlib.sha256(repr(sorted(rates.items())).encode()).hexdigest())
