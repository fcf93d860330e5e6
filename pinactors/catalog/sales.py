"""The import of sales.csv and fx.csv into the catalogue's database, each file in one transaction."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee

from pinactors.analysis.report.pricing import GRADES, NOT_STATED, condition_of, without_rate
from pinactors.catalog import models
from pinactors.catalog.importing.rows import (
    RATE_COLUMNS,
    REQUIRED_SALE_COLUMNS,
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
    problems of `report`. What makes sales count for less becomes one warning, at the first of their rows."""
    query = models.Pin.select(models.Pin.pin_id, models.Pin.number).tuples()
    numbers = {str(pin_id): int(number) for pin_id, number in query.execute(database)}
    cleared: set[int] = set()
    batch: list[dict[str, Any]] = []
    doubtful: dict[str, list[int]] = defaultdict(list)
    currencies: dict[str, list[int]] = defaultdict(list)
    table = take_table(path, REQUIRED_SALE_COLUMNS, report, encoding, SALE_COLUMNS)
    notation = sale_notation(table)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    repeated = digest == models.fact(database, "sales")
    with database.atomic("IMMEDIATE"):
        for row in table.rows:
            try:
                sale = check_sale(row, numbers, notation)
            except RowError as error:
                report.problems.append(Problem(path.name, row.line, str(error)))
                continue
            if sale["pin"] not in cleared:
                cleared.add(sale["pin"])
                replaced = models.Sale.delete().where(models.Sale.pin == sale["pin"]).execute(database)
                if replaced and not repeated:
                    report.sales_replaced += replaced
                    report.pins_resold += 1
            for doubt in _doubts(sale):
                doubtful[doubt].append(row.line)
            currencies[sale["currency"]].append(row.line)
            batch.append(sale)
            report.sales += 1
            if len(batch) >= 500:
                models.Sale.insert_many(batch).execute(database)
                batch.clear()
        if batch:
            models.Sale.insert_many(batch).execute(database)
        models.set_fact(database, "sales", digest)
    rates = dict(
        models.Rate.select(models.Rate.currency, models.Rate.usd_per_unit).tuples().execute(database)
    )
    for currency in without_rate(currencies, rates):
        doubtful[f"currency {currency} has no rate in fx.csv: prices in other currencies leave it out"] = (
            currencies[currency]
        )
    for doubt, lines in sorted(doubtful.items(), key=lambda item: item[1]):
        more = f" ({len(lines)} rows)" if len(lines) > 1 else ""
        report.warnings.append(Problem(path.name, lines[0], f"{doubt}{more}"))


def _doubts(sale: dict[str, Any]) -> Iterator[str]:
    """Why the sale counts for less than its writer may expect."""
    if sale["sold_at"] > dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1):  # a day for time zones
        yield f"sold_at {sale['sold_at']} is in the future: the sale does not count before that day"
    condition = condition_of(sale["condition"])
    if condition not in (*GRADES, NOT_STATED):
        yield f"condition {condition!r} is none of {', '.join(GRADES)}: it counts only with sales of the same"


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
