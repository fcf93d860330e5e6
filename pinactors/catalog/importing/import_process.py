"""An import in a process of its own, for a server: `python -m pinactors.catalog.importing.import_process`.

A picture that takes its decoder down, or wants more memory than a worker may have, then costs this import and
not the server. Comes in: an `Order` as a line of JSON on standard input, which stays open; the process ends
when it is closed, as whoever gave the order is gone then. Goes out: a `Said` as a line of JSON on standard
output for each row, and at last the report or what was wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path

import msgspec

from pinactors.catalog import snapshots
from pinactors.catalog.importing.importer import ImportRunning, import_catalog
from pinactors.catalog.importing.preparing import PICTURE_FOLDER
from pinactors.catalog.importing.rows import ImportReport
from pinactors.catalog.models import CatalogTooNew
from pinactors.compute.local.worker import restrict_memory, restrict_threads
from pinactors.settings import Settings
from pinactors.storage.objects import open_objects

MOST_SAID = 500
"""Problems, and warnings, of a report that are said."""


class Order(msgspec.Struct, frozen=True):
    """`source` is imported into the catalogue `target`. `memory` are bytes the process may have (0: no
    limit), `niceness` how far it steps back.

    With `published`, the folder of a published version, `target` becomes a copy of that one first and is
    published to the `storage` of the data folder `data` as the latest version then.
    """

    source: str
    target: str
    memory: int = 0
    niceness: int = 0
    published: str = ""
    storage: str = ""
    data: str = ""


class Said(msgspec.Struct, omit_defaults=True):
    """How far it is (rows done, rows in all), or how it ended: `report`, or `wrong` for a person. Of the
    report's problems and warnings only the first are there; `left_out` and `reserved` are their numbers."""

    done: int = 0
    total: int = 0
    report: ImportReport | None = None
    left_out: int = 0
    reserved: int = 0
    wrong: str = ""


class Outrun(Exception):
    """Another version was published while this one was being made of the one before."""


def carry_out(order: Order) -> ImportReport:
    """Raises what `import_catalog` and `snapshots.publish` raise, and `Outrun`."""
    source, target = Path(order.source), Path(order.target)
    if not order.published:
        return import_catalog(source, target, _progress, workers=1)
    shutil.rmtree(target, ignore_errors=True)
    try:
        _copy(Path(order.published), target)
        report = import_catalog(source, target, _progress, workers=1)
        objects = open_objects(Settings(data=Path(order.data), storage=order.storage))
        if snapshots.latest(objects) != Path(order.published).name:
            raise Outrun("another version of the catalogue was published meanwhile: please try again")
        snapshots.publish(target, objects, lambda done, total: None)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    return report


def _copy(published: Path, target: Path) -> None:
    """Its pictures, which never change, are the same files; what an import writes to is copied."""
    shutil.copytree(published, target, ignore=shutil.ignore_patterns(PICTURE_FOLDER))
    if (published / PICTURE_FOLDER).is_dir():
        shutil.copytree(published / PICTURE_FOLDER, target / PICTURE_FOLDER, copy_function=os.link)


def _progress(done: int, total: int) -> None:
    _say(Said(done, total))


def _say(said: Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_server() -> None:
    while os.read(0, 4096):  # not the file object, whose lock would be held while the process ends
        pass
    os._exit(1)


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_server, name="end with server", daemon=True).start()
    os.nice(order.niceness)
    restrict_memory(order.memory)
    restrict_threads()
    try:
        report = carry_out(order)
        left_out, reserved = len(report.problems), len(report.warnings)
        del report.problems[MOST_SAID:], report.warnings[MOST_SAID:]
        _say(Said(report=report, left_out=left_out, reserved=reserved))
    except (OSError, ValueError, ImportRunning, CatalogTooNew, Outrun) as error:
        _say(Said(wrong=str(error)))


if __name__ == "__main__":
    main()
