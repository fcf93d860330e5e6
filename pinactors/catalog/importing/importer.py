"""`catalog import`: imports a folder of rows and pictures into the catalogue; each row completely or not at
all.

Each row is prepared (picture decoded, reduced, cut out, features computed) on a thread or in a process and
stored in one transaction; the search index is updated at the end. If the import is killed, the catalogue
stays consistent: the database may have rows that the index lacks; the next import finds them by their
revision and adds them.
"""

from __future__ import annotations

import collections
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import peewee

from pinactors.analysis.matching import keypoints
from pinactors.catalog import index, models, sales
from pinactors.catalog.importing.csv_table import CsvRow
from pinactors.catalog.importing.preparing import PICTURE_FOLDER, PreparedRow, prepare_again, prepare_row
from pinactors.catalog.importing.rows import (
    DEMONSTRATION_FILE,
    OUTLINE_COLUMNS,
    PIN_COLUMNS,
    REQUIRED_PIN_COLUMNS,
    ImportReport,
    Pictures,
    Problem,
    RowError,
    check_folder,
    check_pin,
    has_table,
    take_table,
)
from pinactors.compute.process_pool import process_pool
from pinactors.errors import ExternalError
from pinactors.protocol import PinactorsError, View

R = TypeVar("R")
T = TypeVar("T")

ROWS_AHEAD = 4
"""Rows that may be prepared before the one being stored, per worker: this limits the memory."""
PARALLEL_ROWS = 40
"""Number of rows from which they are prepared in separate processes: each process takes a second to start."""
ORPHAN_SECONDS = 3600.0

LOCK_FILE = "import.lock"

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all) after each row of pins.csv."""


class ImportRunning(ExternalError):
    """The catalogue is being imported or published already."""


def import_catalog(
    source: Path,
    target: Path,
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    encoding: str = "",
) -> ImportReport:
    """Imports the folder `source` into the catalogue folder `target`, which is made if it is missing.

    `source` holds pins.csv, optionally sales.csv and fx.csv, the pictures they name, and the file
    DEMONSTRATION if its pins are made up. Unchanged rows that were imported before are skipped, so that an
    import that was killed continues where it stopped. If sales.csv names a pin, its sales replace all sales
    of that pin; if there is an fx.csv, its rates replace all exchange rates. Pins that pins.csv does not name
    stay. An existing pin whose row has no front_image keeps its pictures; a back_image in such a row replaces
    its back. `encoding` is the encoding of the CSV files if it is neither UTF-8, UTF-16 nor Windows-1252.
    Raises `FileNotFoundError` without pins.csv, `ValueError` for a file without the columns, `ImportRunning`,
    `CatalogTooNew`.
    """
    check_folder(source)
    (target / PICTURE_FOLDER).mkdir(parents=True, exist_ok=True)
    with exclusive(target):
        database = models.database_of(target)
        with models.connected(database):
            models.create(database)
            report = ImportReport(demonstration=(source / DEMONSTRATION_FILE).exists())
            outdated = models.Picture.select().where(models.Picture.features.is_null()).count(database)
            if outdated:  # rows of another version of the program: an import does not update them otherwise
                _prepare_again(target, database, report, None, _workers(workers))
                report.updated = 0
            _import_pins(source, target, database, report, progress, _workers(workers), encoding)
            if has_table(source, "fx.csv"):  # before the sales, which are checked for a rate
                sales.import_rates(source / "fx.csv", database, report, encoding)
            if has_table(source, "sales.csv"):
                sales.import_sales(source / "sales.csv", database, report, encoding)
            if report.demonstration:
                models.set_fact(database, "demonstration", "1")
            _switch(target, database, report)
            _sweep(target, database)
    return report


def rebuild_catalog(target: Path, progress: Progress | None = None) -> ImportReport:
    """Computes masks, crops and features of the catalogue in `target` again from its stored pictures: for a
    catalogue that another version of the program made. `progress` counts pictures. A damaged or missing
    picture is reported, and its row stays as it was. Raises `FileNotFoundError` if there is no catalogue,
    `ImportRunning`, `CatalogTooNew`."""
    if not (target / models.DATABASE_FILE).is_file():
        raise FileNotFoundError(f"{target} contains no catalogue")
    with exclusive(target):
        database = models.database_of(target)
        with models.connected(database):
            models.create(database)
            report = ImportReport(demonstration=models.fact(database, "demonstration") == "1")
            _prepare_again(target, database, report, progress, _workers(None))
            _switch(target, database, report, anew=True)
            _sweep(target, database)
    return report


def _prepare_again(
    target: Path,
    database: peewee.SqliteDatabase,
    report: ImportReport,
    progress: Progress | None,
    workers: int,
) -> None:
    picture = models.Picture
    query = picture.select(picture.pin, picture.view, picture.file, picture.given, picture.outlined)
    rows = list(query.tuples().execute(database))
    with _pool(workers, len(rows)) as pool:

        def submit(row: Any) -> Future[dict[str, Any]]:
            _, view, file, given, outlined = row
            mask = None if given is None else bytes(given)
            return pool.submit(prepare_again, target, View(view), file, mask, bool(outlined))

        for done, ((pin, view, *_), future) in enumerate(_in_order(rows, submit, workers), 1):
            try:
                fields = future.result()
            except (OSError, ValueError) as error:
                report.problems.append(Problem("catalogue", pin, str(error)))
            else:
                where = (picture.pin == pin) & (picture.view == view)
                picture.update(**fields).where(where).execute(database)
                report.updated += 1
            if progress is not None:
                progress(done, len(rows))
    models.next_revision(database)


def _in_order(
    rows: Iterable[R], submit: Callable[[R], Future[T]], workers: int
) -> Iterator[tuple[R, Future[T]]]:
    """Submits the rows and yields each with its future, in order. At most `ROWS_AHEAD` rows per worker are
    submitted before the one that is yielded."""
    waiting: collections.deque[tuple[R, Future[T]]] = collections.deque()
    for row in rows:
        waiting.append((row, submit(row)))
        if len(waiting) > workers * ROWS_AHEAD:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _workers(requested: int | None) -> int:
    return requested or os.cpu_count() or 1


def _pool(workers: int, rows: int) -> Executor:
    """A pool of processes for many rows, of threads for few rows, which are prepared faster than processes
    start."""
    if workers > 1 and rows >= PARALLEL_ROWS:
        return process_pool(workers)
    return ThreadPoolExecutor(workers, thread_name_prefix="import")


@contextmanager
def exclusive(target: Path) -> Iterator[None]:
    """Allows one import or publication of a catalogue at a time. The lock is a SQLite lock, so that it ends
    with the process on every system. Raises `ImportRunning` if another one has it, and `OSError`."""
    if target.is_dir() and not os.access(target, os.W_OK):
        raise OSError(f"the catalogue {target} cannot be written")
    with ExitStack() as stack:
        try:
            lock = sqlite3.connect(target / LOCK_FILE, timeout=0, isolation_level=None)
            stack.callback(lock.close)
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise ImportRunning(
                    f"the catalogue {target} is being imported or published: try again when that has ended"
                ) from error
            raise OSError(f"the catalogue {target} cannot be locked: {error}") from error
        yield


def _import_pins(
    source: Path,
    target: Path,
    database: peewee.SqliteDatabase,
    report: ImportReport,
    progress: Progress | None,
    workers: int,
    encoding: str,
) -> None:
    optional = PIN_COLUMNS + OUTLINE_COLUMNS
    table = take_table(source / "pins.csv", REQUIRED_PIN_COLUMNS, report, encoding, optional)
    lacking = table.lacking.difference(OUTLINE_COLUMNS)  # a given front is cut out anew without these
    images, total = Pictures(source), len(table.rows)
    seen: dict[str, int] = {}
    with _pool(workers, total) as pool:
        submit = partial(_submit, pool, images, target, database, seen, lacking)
        for done, (row, future) in enumerate(_in_order(table.rows, submit, workers), 1):
            problem: str | None = None
            try:
                prepared = future.result()
                if prepared is None:
                    report.unchanged += 1
                else:
                    _store(database, prepared, report)
            except (RowError, PinactorsError, OSError) as error:
                problem = str(error)
            except MemoryError:  # possible in a process with a memory limit
                problem = "there is not enough memory for its pictures"
            except (BrokenExecutor, peewee.PeeweeException):
                raise  # no later row could be imported either
            except Exception as error:  # noqa: BLE001 - the boundary of a row: the others are imported
                problem = f"its pictures cannot be prepared: {type(error).__name__}: {error}"[:300]
            if problem is not None:
                report.problems.append(Problem("pins.csv", row.line, problem))
            if progress is not None:
                progress(done, total)


def _submit(
    pool: Executor,
    images: Pictures,
    target: Path,
    database: peewee.SqliteDatabase,
    seen: dict[str, int],
    lacking: frozenset[str],
    given: CsvRow,
) -> Future[PreparedRow | None]:
    try:
        row = check_pin(given, images, lambda pin_id: _digest(database, pin_id) is not None)
        row = replace(row, lacking=lacking)
        pin_id = row.values["pin_id"]
        if pin_id in seen:
            raise RowError(f"pin_id {pin_id} is already on line {seen[pin_id]}")
        seen[pin_id] = row.line
        known = _digest(database, pin_id)
    except RowError as error:
        failed: Future[PreparedRow | None] = Future()
        failed.set_exception(error)
        return failed
    return pool.submit(prepare_row, row, known, target)


def _digest(database: peewee.SqliteDatabase, pin_id: str) -> str | None:
    """The digest of the pin's row as last imported; None if the catalogue has no such pin."""
    digest = models.Pin.select(models.Pin.digest).where(models.Pin.pin_id == pin_id).scalar(database)
    return None if digest is None else str(digest)


def _store(database: peewee.SqliteDatabase, prepared: PreparedRow, report: ImportReport) -> None:
    row = prepared.row
    with database.atomic("IMMEDIATE"):
        revision = models.next_revision(database)
        fields = {**row.values, "digest": prepared.digest, "revision": revision}
        number = models.number_of(database, row.values["pin_id"])
        if number is None:
            number = models.Pin.insert(**fields).execute(database)
            report.added += 1
        else:
            kept = {*row.lacking, *(("factory_key",) if "factory_code" in row.lacking else ())}
            changed = {name: value for name, value in fields.items() if name not in kept}
            models.Pin.update(**changed).where(models.Pin.number == number).execute(database)
            replaced = models.Picture.pin == number
            if row.front is None or "back_image" in row.lacking:
                replaced &= models.Picture.view.in_([picture["view"] for picture in prepared.pictures])
            models.Picture.delete().where(replaced).execute(database)
            report.updated += 1
        if prepared.pictures:
            pictures = [{"pin": number, **picture} for picture in prepared.pictures]
            models.Picture.insert_many(pictures).execute(database)
    for message in prepared.warnings:
        report.warnings.append(Problem("pins.csv", row.line, message))


def _switch(
    target: Path, database: peewee.SqliteDatabase, report: ImportReport, *, anew: bool = False
) -> None:
    """Adds the database's changes to the index, or builds a new index if `anew`, and makes the new state the
    one that readers see."""
    previous = index.read_state(target)
    if previous is not None and (anew or previous.features != keypoints.VERSION):
        previous = None
    revision = int(models.fact(database, "revision") or 0)
    size = models.Pin.select().count(database)
    demonstration = models.fact(database, "demonstration") == "1"
    tables = models.fact(database, "sales"), models.fact(database, "rates")
    identity = (revision, tables, demonstration, keypoints.VERSION)
    report.size, report.demonstration = size, demonstration
    report.version = hashlib.sha256(repr(identity).encode()).hexdigest()[:12]
    if previous is not None and previous.version == report.version:
        return
    covered = previous.revision if previous else 0
    name = previous.index if previous and covered == revision else None
    if name is None:
        query = (
            models.Picture.select(models.Picture.pin, models.Picture.features)
            .join(models.Pin)
            .where(models.Picture.view == str(View.FRONT), models.Pin.revision > covered)
            .tuples()
        )
        changed = ((int(number), bytes(data or b"")) for number, data in query.iterator(database))
        name = index.build(target, revision, previous, changed)
    state = index.IndexState(report.version, revision, name, size, demonstration, keypoints.VERSION)
    index.write_state(target, state)


def _sweep(target: Path, database: peewee.SqliteDatabase) -> None:
    """Removes pictures that no row names, except new ones, which a reader may still be about to open."""
    query = models.Picture.select(models.Picture.file, models.Picture.crop).tuples()
    used = {name for row in query.execute(database) for name in row}
    limit = time.time() - ORPHAN_SECONDS
    for path in (target / PICTURE_FOLDER).glob("*/*"):
        if f"{path.parent.name}/{path.name}" not in used and path.stat().st_mtime < limit:
            path.unlink(missing_ok=True)
