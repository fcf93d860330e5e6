"""Imports into the catalogue: receives import folders file by file and runs the imports one after the other.

An edit on the page is also an import folder, with one row, so that every change of the catalogue has the
format that `catalog import` reads.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import msgspec
import structlog
import trio

from pinactors.api.http.body import BodyReader
from pinactors.api.services import Services
from pinactors.catalog.importing.import_process import ImportMessage, ImportRequest
from pinactors.catalog.importing.rows import PIN_COLUMNS, ImportReport
from pinactors.lines import LineSplitter
from pinactors.protocol import ErrorCode, PinactorsError, invalid_field

T = TypeVar("T")
State = Literal["receiving", "waiting", "running", "done", "failed", "cancelled"]

MAX_FILES = 100_000
MAX_BYTES = 20 << 30
"""Most files of one import, and most bytes of all its files together."""

MAX_OPEN = 8
"""Most imports that have not ended."""

IDLE_SECONDS = 3600.0
"""An import that receives no bytes for this time is cancelled when another one is created."""

REPORTS_KEPT = 20
"""Number of ended imports whose reports can still be read."""

LINE_BYTES = 1 << 22
"""Most bytes of a line of the import process, which may be its report."""

DEEPEST, LONGEST_NAME = 8, 200

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Import:
    """One import. `files` maps each file to its size, `size` is the sum; `done` of `total` rows are
    processed; `report` has the first problems and warnings, `left_out` and `warned` are the numbers of all;
    `wrong` is the reason of a `failed` import, for a person; `writing` is the number of files being
    received."""

    id: str
    folder: Path
    state: State = "receiving"
    files: dict[str, int] = field(default_factory=dict)
    size: int = 0
    done: int = 0
    total: int = 0
    report: ImportReport | None = None
    left_out: int = 0
    warned: int = 0
    wrong: str = ""
    touched: float = field(default_factory=trio.current_time)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    writing: int = 0

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Imports:
    """All imports of this process. Each has a folder in the data folder's `imports` until it has ended."""

    def __init__(self, services: Services) -> None:
        self._services, self._settings = services, services.settings
        self._folder = services.settings.data.absolute() / "imports"
        self._imports_by_id: dict[str, Import] = {}
        self._send, self._receive = trio.open_memory_channel[Import](MAX_OPEN)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Removes folders that an earlier process left, then runs started imports one after the other until
        cancelled."""
        await self._on_disk(partial(shutil.rmtree, self._folder, ignore_errors=True))
        task_status.started()
        async for import_ in self._receive:
            if import_.ended:
                continue
            import_.state = "running"
            try:
                with import_.scope:
                    await self._import(import_)
            except Exception as error:
                # An unexpected error of one import must not end this task, which runs all later ones.
                log.error("import failed", exc_info=error)
                import_.wrong = "The server failed; its log has the reason."
            import_.state = (
                "cancelled" if import_.scope.cancelled_caught else "failed" if import_.wrong else "done"
            )
            log.info(
                "import ended",
                state=import_.state,
                rows=import_.done,
                reason=import_.wrong,
            )
            await self._clear(import_)

    async def create(self) -> Import:
        """Creates an import. Raises `PinactorsError` (`overloaded`) if too many are open."""
        now = trio.current_time()
        for import_ in list(self._imports_by_id.values()):
            if import_.state == "receiving" and not import_.writing and import_.touched < now - IDLE_SECONDS:
                await self.cancel(import_)
        if sum(not import_.ended for import_ in self._imports_by_id.values()) >= MAX_OPEN:
            raise PinactorsError(ErrorCode.OVERLOADED, "Too many imports are under way")
        ended = [import_ for import_ in self._imports_by_id.values() if import_.ended]
        for import_ in ended[:-REPORTS_KEPT]:
            del self._imports_by_id[import_.id]
        name = secrets.token_hex(8)
        import_ = self._imports_by_id[name] = Import(name, self._folder / name)
        await self._on_disk(partial(import_.folder.mkdir, parents=True))
        return import_

    def list_all(self) -> list[Import]:
        return list(self._imports_by_id.values())

    def find(self, name: str) -> Import:
        """The import with that id. Raises `PinactorsError` (`not_found`)."""
        if name not in self._imports_by_id:
            raise PinactorsError(ErrorCode.NOT_FOUND, "No such import")
        return self._imports_by_id[name]

    async def receive(self, import_: Import, name: str, body: BodyReader) -> None:
        """Receives a file into the folder. Raises `PinactorsError`."""
        self._check_open(import_)
        self._check_room(import_, name, 0)
        path = import_.folder / _safe(name)
        arriving = import_.folder / f"{secrets.token_hex(8)}.part"
        import_.writing += 1
        try:
            await self._on_disk(_append, arriving, b"")
            while data := await body.chunk():
                self._check_room(import_, name, body.size)
                await self._on_disk(_append, arriving, data)
                import_.touched = trio.current_time()
            self._check_open(import_)
            await self._on_disk(_move_into_place, arriving, path)
            import_.size += body.size - import_.files.get(name, 0)
            import_.files[name] = body.size
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise invalid_field("path", "a file and a folder in the import have the same name") from None
        except OSError as error:
            log.warning("import not kept", error=str(error))
            raise PinactorsError(
                ErrorCode.OVERLOADED, "The file could not be written to the server's disk"
            ) from error
        finally:
            import_.writing -= 1
            with trio.CancelScope(shield=True):
                await self._on_disk(partial(arriving.unlink, missing_ok=True))

    async def start(self, import_: Import) -> None:
        """Queues an import to run. Adds an empty pins.csv if there are only sales or exchange rates. Raises
        `PinactorsError`."""
        self._check_open(import_)
        if import_.writing:
            raise invalid_field("import", "one of its files is still being sent")
        if "pins.csv" not in import_.files and import_.files.keys() & {"sales.csv", "fx.csv"}:
            header = f"{','.join(PIN_COLUMNS)}\r\n".encode()
            await self._on_disk((import_.folder / "pins.csv").write_bytes, header)
        elif "pins.csv" not in import_.files:
            raise invalid_field("import", "it contains no pins.csv, sales.csv or fx.csv")
        if self._settings.catalog_version not in ("", "latest"):
            raise PinactorsError(
                ErrorCode.INVALID_FORMAT,
                "This server uses a fixed version of the catalogue",
                f"catalog_version is {self._settings.catalog_version}: only a server that follows the latest "
                "version can publish a new one",
                status=409,
            )
        import_.state = "waiting"
        self._send.send_nowait(import_)  # never full: it has room for all open imports

    async def cancel(self, import_: Import) -> None:
        """Cancels an import in any state; rows that are in the catalogue already stay there."""
        if import_.ended:
            await trio.lowlevel.checkpoint()
        elif import_.state == "running":
            import_.scope.cancel()
            await trio.lowlevel.checkpoint()
        else:
            import_.state = "cancelled"
            await self._clear(import_)

    async def _import(self, import_: Import) -> None:
        settings, folder = self._settings, self._services.catalog_folder
        published = settings.catalog_version == "latest"
        order = ImportRequest(
            str(import_.folder),
            str(settings.data.absolute() / "catalog-edited" if published else folder.absolute()),
            settings.worker_memory,
            settings.worker_niceness,
            str(folder) if published else "",
            settings.storage,
            str(settings.data),
        )
        command = [sys.executable, "-m", "pinactors.catalog.importing.import_process"]
        async with trio.open_nursery() as nursery:
            start = partial(
                trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False
            )
            process: trio.Process = await nursery.start(start)
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(trio.BrokenResourceError):
                await process.stdin.send_all(msgspec.json.encode(order) + b"\n")
            lines = LineSplitter(LINE_BYTES, ValueError)
            async for data in process.stdout:
                for line in lines.feed(data):
                    progress = msgspec.json.decode(line, type=ImportMessage)
                    import_.done, import_.total = (
                        max(import_.done, progress.done),
                        max(import_.total, progress.total),
                    )
                    import_.report, import_.wrong = progress.report, progress.wrong
                    import_.left_out, import_.warned = progress.left_out, progress.warned
        if import_.report is None and not import_.wrong:
            import_.wrong = (
                f"The import stopped after {import_.done} rows, which are in the catalogue. "
                "This server cannot read a picture of the next row."
            )

    def _check_open(self, import_: Import) -> None:
        if import_.state != "receiving":
            why = f"This import has {'ended' if import_.ended else 'started'} and takes no more files"
            raise PinactorsError(ErrorCode.INVALID_FORMAT, "Import closed", why, status=409)

    def _check_room(self, import_: Import, name: str, size: int) -> None:
        if len(import_.files) >= MAX_FILES or import_.size + size > MAX_BYTES:
            raise PinactorsError(
                ErrorCode.TOO_LARGE,
                "The import is too large",
                f"An import may have at most {MAX_FILES} files and {MAX_BYTES >> 30} GB",
                field=name,
            )

    async def _clear(self, import_: Import) -> None:
        with trio.CancelScope(shield=True):
            await self._on_disk(partial(shutil.rmtree, import_.folder, ignore_errors=True))

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        return await trio.to_thread.run_sync(work, *arguments, limiter=self._services.disk)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _move_into_place(arrived: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrived.replace(path)


def _safe(name: str) -> PurePosixPath:
    """The checked relative path of a file in an import folder. Raises `PinactorsError` for a path that leads
    out of it."""
    parts = name.split("/")
    if not 0 < len(parts) <= DEEPEST:
        raise invalid_field("path", f"it must be at most {DEEPEST} folders deep")
    for part in parts:
        if part in ("", ".", "..") or "\\" in part or any(map(_is_control, part)):
            raise invalid_field("path", "it must be a path relative to the import folder, with slashes")
        if len(part.encode()) > LONGEST_NAME:
            raise invalid_field("path", f"a file or folder name in it is longer than {LONGEST_NAME} bytes")
    return PurePosixPath(*parts)


def _is_control(character: str) -> bool:
    """Whether a character has no place in a file's name: a control character, or half a surrogate pair. Rare
    spaces and joiners have: macOS puts U+202F into a screenshot's name."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
