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

from pinactors.api.errors import invalid_field
from pinactors.api.http.body import BodyReader
from pinactors.api.services import Services
from pinactors.catalog.importing.import_process import Order, Said
from pinactors.catalog.importing.rows import PIN_COLUMNS, ImportReport
from pinactors.protocol import ErrorCode, PinactorsError

T = TypeVar("T")
State = Literal["receiving", "waiting", "running", "done", "failed", "cancelled"]

MOST_FILES = 100_000
MOST_BYTES = 20 << 30
"""Most files of one import, and most bytes of all its files together."""

MOST_OPEN = 8
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
    processed; `report` has the first problems and warnings, `left_out` and `reserved` are the numbers of all;
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
    reserved: int = 0
    wrong: str = ""
    touched: float = field(default_factory=trio.current_time)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    writing: int = 0

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Imports:
    """All imports of this process. Each has a folder in the data folder's `imports` until it has ended."""

    def __init__(self, given: Services) -> None:
        self._given, self._settings = given, given.settings
        self._folder = given.settings.data.absolute() / "imports"
        self._known: dict[str, Import] = {}
        self._send, self._receive = trio.open_memory_channel[Import](MOST_OPEN)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Removes folders that an earlier process left, then runs started imports one after the other until
        cancelled."""
        await self._on_disk(partial(shutil.rmtree, self._folder, ignore_errors=True))
        task_status.started()
        async for one in self._receive:
            if one.ended:
                continue
            one.state = "running"
            try:
                with one.scope:
                    await self._import(one)
            except Exception as error:
                # An unexpected error of one import must not end this task, which runs all later ones.
                log.error("import failed", exc_info=error)
                one.wrong = "The server failed; its log has the reason."
            one.state = "cancelled" if one.scope.cancelled_caught else "failed" if one.wrong else "done"
            log.info("import ended", state=one.state, rows=one.done, reason=one.wrong)
            await self._clear(one)

    async def create(self) -> Import:
        """Creates an import. Raises `PinactorsError` (`overloaded`) if too many are open."""
        now = trio.current_time()
        for one in list(self._known.values()):
            if one.state == "receiving" and not one.writing and one.touched < now - IDLE_SECONDS:
                await self.cancel(one)
        if sum(not one.ended for one in self._known.values()) >= MOST_OPEN:
            raise PinactorsError(ErrorCode.OVERLOADED, "Too many imports are under way")
        for one in [one for one in self._known.values() if one.ended][: -REPORTS_KEPT or None]:
            del self._known[one.id]
        name = secrets.token_hex(8)
        one = self._known[name] = Import(name, self._folder / name)
        await self._on_disk(partial(one.folder.mkdir, parents=True))
        return one

    def every(self) -> list[Import]:
        return list(self._known.values())

    def find(self, name: str) -> Import:
        """The import with that id. Raises `PinactorsError` (`not_found`)."""
        if name not in self._known:
            raise PinactorsError(ErrorCode.NOT_FOUND, "No such import")
        return self._known[name]

    async def receive(self, one: Import, name: str, body: BodyReader) -> None:
        """Receives a file into the folder. Raises `PinactorsError`."""
        self._check_open(one)
        self._check_room(one, name, 0)
        path = one.folder / _safe(name)
        arriving = one.folder / f"{secrets.token_hex(8)}.part"
        one.writing += 1
        try:
            await self._on_disk(_append, arriving, b"")
            while data := await body.chunk():
                self._check_room(one, name, body.size)
                await self._on_disk(_append, arriving, data)
                one.touched = trio.current_time()
            self._check_open(one)
            await self._on_disk(_place, arriving, path)
            one.size += body.size - one.files.get(name, 0)
            one.files[name] = body.size
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise invalid_field("path", "a file and a folder in the import have the same name") from None
        except OSError as error:
            log.warning("import not kept", error=str(error))
            raise PinactorsError(
                ErrorCode.OVERLOADED, "The file could not be written to the server's disk"
            ) from error
        finally:
            one.writing -= 1
            with trio.CancelScope(shield=True):
                await self._on_disk(partial(arriving.unlink, missing_ok=True))

    async def start(self, one: Import) -> None:
        """Queues an import to run. Adds an empty pins.csv if there are only sales or exchange rates. Raises
        `PinactorsError`."""
        self._check_open(one)
        if one.writing:
            raise invalid_field("import", "one of its files is still being sent")
        if "pins.csv" not in one.files and one.files.keys() & {"sales.csv", "fx.csv"}:
            header = f"{','.join(PIN_COLUMNS)}\r\n".encode()
            await self._on_disk((one.folder / "pins.csv").write_bytes, header)
        elif "pins.csv" not in one.files:
            raise invalid_field("import", "it contains no pins.csv, sales.csv or fx.csv")
        if self._settings.catalog_version not in ("", "latest"):
            raise PinactorsError(
                ErrorCode.INVALID_FORMAT,
                "This server uses a fixed version of the catalogue",
                f"catalog_version is {self._settings.catalog_version}: only a server that follows the latest "
                "version can publish a new one",
                status=409,
            )
        one.state = "waiting"
        self._send.send_nowait(one)  # never full: it has room for all open imports

    async def cancel(self, one: Import) -> None:
        """Cancels an import in any state; rows that are in the catalogue already stay there."""
        if one.ended:
            await trio.lowlevel.checkpoint()
        elif one.state == "running":
            one.scope.cancel()
            await trio.lowlevel.checkpoint()
        else:
            one.state = "cancelled"
            await self._clear(one)

    async def _import(self, one: Import) -> None:
        settings, folder = self._settings, self._given.catalog_folder
        published = settings.catalog_version == "latest"
        order = Order(
            str(one.folder),
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
            lines = _Lines()
            async for data in process.stdout:
                for line in lines.feed(data):
                    said = msgspec.json.decode(line, type=Said)
                    one.done, one.total = max(one.done, said.done), max(one.total, said.total)
                    one.report, one.wrong = said.report, said.wrong
                    one.left_out, one.reserved = said.left_out, said.reserved
        if one.report is None and not one.wrong:
            one.wrong = (
                f"The import stopped after {one.done} rows, which are in the catalogue. "
                "This server cannot read a picture of the next row."
            )

    def _check_open(self, one: Import) -> None:
        if one.state != "receiving":
            why = f"This import has {'ended' if one.ended else 'started'} and takes no more files"
            raise PinactorsError(ErrorCode.INVALID_FORMAT, "Import closed", why, status=409)

    def _check_room(self, one: Import, name: str, size: int) -> None:
        if len(one.files) >= MOST_FILES or one.size + size > MOST_BYTES:
            raise PinactorsError(
                ErrorCode.TOO_LARGE,
                "The import is too large",
                f"An import may have at most {MOST_FILES} files and {MOST_BYTES >> 30} GB",
                field=name,
            )

    async def _clear(self, one: Import) -> None:
        with trio.CancelScope(shield=True):
            await self._on_disk(partial(shutil.rmtree, one.folder, ignore_errors=True))

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        return await trio.to_thread.run_sync(work, *arguments, limiter=self._given.disk)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _place(arrived: Path, path: Path) -> None:
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


class _Lines:
    """Splits data that arrives in pieces into lines."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """Returns the lines that `data` completes. Raises `ValueError` for a line that is too long."""
        *whole, rest = bytes(self._begun + data).split(b"\n")
        if len(rest) > LINE_BYTES:
            raise ValueError("the import's process wrote a line without end")
        self._begun = bytearray(rest)
        return whole
