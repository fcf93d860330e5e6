"""An import in a separate process, for a server: `python -m pinactors.catalog.importing.import_process`.

If a picture crashes its decoder, or needs more memory than a worker may use, only this import fails and not
the server. Input: an `ImportRequest` as a line of JSON on standard input, which stays open; the process ends
when standard input is closed, because then the server has ended. Output: an `ImportMessage` as a line of JSON
on standard output for each row, and finally the report or the error.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path

import msgspec

from pinactors.catalog import snapshots
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.importing.preparing import PICTURE_FOLDER
from pinactors.catalog.importing.rows import ImportReport
from pinactors.compute.process_limits import restrict_memory, restrict_threads
from pinactors.errors import ExternalError
from pinactors.settings import Settings
from pinactors.storage.objects import open_objects

MAX_PROBLEMS_SENT = 500
"""At most this many problems and this many warnings of a report are sent."""


class ImportRequest(msgspec.Struct, frozen=True):
    """What to import: the folder `source` into the catalogue `target`. `memory` is the process's memory limit
    in bytes (0: no limit), `niceness` its niceness.

    If `published` names the folder of a published version, `target` first becomes a copy of it, and after the
    import it is published as the latest version, to the `storage` of the data folder `data`.
    """

    source: str
    target: str
    memory: int = 0
    niceness: int = 0
    published: str = ""
    storage: str = ""
    data: str = ""


class ImportMessage(msgspec.Struct, omit_defaults=True):
    """The import's progress (rows done, rows in all), or its end: `report`, or `wrong`, an error message for
    a person. The report contains only its first problems and warnings; `left_out` and `warned` are their
    numbers."""

    done: int = 0
    total: int = 0
    report: ImportReport | None = None
    left_out: int = 0
    warned: int = 0
    wrong: str = ""


def run_import(request: ImportRequest) -> ImportReport:
    """Does the requested import. Raises what `import_catalog` and `snapshots.publish` raise."""
    source, target = Path(request.source), Path(request.target)
    if not request.published:
        return import_catalog(source, target, _progress, workers=1)
    shutil.rmtree(target, ignore_errors=True)
    try:
        _copy(Path(request.published), target)
        report = import_catalog(source, target, _progress, workers=1)
        objects = open_objects(Settings(data=Path(request.data), storage=request.storage))
        version = Path(request.published).name
        snapshots.publish(target, objects, lambda done, total: None, replaced=version)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    return report


def _copy(published: Path, target: Path) -> None:
    """Copies a published version: picture files, which never change, are linked; the other files, which the
    import writes to, are copied. Files that the version's readers create and remove are left out."""
    left_out = shutil.ignore_patterns(PICTURE_FOLDER, *snapshots.NOT_PUBLISHED)
    shutil.copytree(published, target, ignore=left_out)
    if (published / PICTURE_FOLDER).is_dir():
        shutil.copytree(published / PICTURE_FOLDER, target / PICTURE_FOLDER, copy_function=os.link)


def _progress(done: int, total: int) -> None:
    _send(ImportMessage(done, total))


def _send(message: ImportMessage) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_server() -> None:
    while os.read(0, 4096):  # not through the file object, whose lock would be held while the process ends
        pass
    os._exit(1)


def main() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=ImportRequest)
    threading.Thread(target=_end_with_server, name="end with server", daemon=True).start()
    os.nice(request.niceness)
    restrict_memory(request.memory)
    restrict_threads()
    try:
        report = run_import(request)
        left_out, warned = len(report.problems), len(report.warnings)
        del report.problems[MAX_PROBLEMS_SENT:], report.warnings[MAX_PROBLEMS_SENT:]
        _send(ImportMessage(report=report, left_out=left_out, warned=warned))
    except (OSError, ValueError, ExternalError) as error:
        _send(ImportMessage(wrong=str(error)))


if __name__ == "__main__":
    main()
