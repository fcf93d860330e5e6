"""A server in its own process, and faults to inject: a killed server, killed workers, a locked or missing
database, a full disk.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from pinactors.pipeline.state import replay
from pinactors.records import Records
from pinactors.records.database import DATABASE_FILE
from pinactors.settings import Settings
from pinactors.storage.logs import statements
from pinactors.storage.logs.database import LogDatabase, dsn_of, is_shared
from pinactors.storage.logs.files import SUFFIX, entries_of
from pinactors.storage.logs.packet_logs import Entry
from tests.api.wire import ask, metric

POLL = 0.01
STOP_SECONDS = 60


class Server:
    """A server process, used as a context manager. `restart` starts it again on the same port and the same
    data folder."""

    def __init__(
        self,
        data: Path,
        *,
        analysis: str = "drawn",
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        """`environment`: environment variables of the process, in addition to those of this process."""
        self.settings = Settings(**{"data": data, "workers": 2, "log_format": "json", **settings})
        self.port = 0
        self._analysis = analysis
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return self.settings.data.parent / "log"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def start(self) -> None:
        """Returns when the server answers requests."""
        chosen = self.settings.model_copy(update={"port": self.port}).model_dump(mode="json")
        command = [sys.executable, "-m", "tests.faults.serving", json.dumps(chosen), self._analysis]
        with self.log_file.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=self._environment
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the server does not start: {self.log[-2000:]}"
        self.port = int(line)

    def stop(self) -> None:
        """Stops the server with SIGTERM, as a service manager does. Raises `AssertionError` if the server
        does not end within `STOP_SECONDS`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server does not stop") from None
        self._close()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.stdout.close()

    async def restart(self) -> None:
        """Kills the server with SIGKILL and starts it again."""
        await trio.to_thread.run_sync(self.kill)
        await trio.to_thread.run_sync(self.start)

    def workers(self) -> list[int]:
        """The process ids of the workers. The server's children fork them, so they are its grandchildren."""
        return [worker for child in _children(self.pid) for worker in _children(child)]

    def kill_workers(self, count: int | None = None) -> int:
        """Kills `count` workers, or all, with SIGKILL; returns how many it found."""
        victims = self.workers()[:count]
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(victims)

    @property
    def _database_file(self) -> Path:
        _, _, path = self.settings.database_url.partition("sqlite:///")
        return Path(path) if path else self.settings.data / DATABASE_FILE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the database's write lock on a connection outside the server."""
        other = sqlite3.connect(
            self._database_file, timeout=30, isolation_level=None, check_same_thread=False
        )
        try:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        finally:
            other.close()

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Moves the folder with the database's files away, so that all of them are missing at the same
        moment. The folder must be another one than the data folder."""
        folder = self._database_file.parent
        assert folder != self.settings.data
        elsewhere = folder.with_name(f"elsewhere-{folder.name}")
        folder.rename(elsewhere)
        try:
            yield
        finally:
            elsewhere.rename(folder)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Makes each write of the server process to a file fail: to the database, the journal, photographs
        and its own log.

        The kernel refuses the bytes (RLIMIT_FSIZE: a write beyond the first byte of any file fails with
        `EFBIG`). This is the only way to a full disk that needs no privileges and no mount, and that can be
        undone while the server runs.
        """
        soft, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (soft, hard))

    async def until_metric(self, name: str, beyond: float) -> None:
        while await metric(self.port, name) <= beyond:  # noqa: ASYNC110 - the server sends no notice
            await trio.sleep(POLL)

    async def restarts(self) -> int:
        return int((await self._queue())["restarts"])

    async def until_warm(self) -> None:
        """Waits until all workers are warm. One that is killed while it warms is not counted as restarted."""
        while (await self._queue())["workers"] < self.settings.workers:  # noqa: ASYNC110 - as above
            await trio.sleep(POLL)

    async def _queue(self) -> dict[str, Any]:
        queue = (await ask(self.port, "GET", "/health")).json()["queue"]
        assert isinstance(queue, dict)
        return queue

    async def until_under_way(self, session_id: str) -> None:
        """Waits until the session's upload is complete and its display packet is stored. Authenticity must
        take long enough that it is not decided yet.

        Reads the journal, because a client with a buffered answer sees no packet before the end.
        """
        while True:
            for path in self.settings.journal_folder.glob("*.journal"):
                with suppress(FileNotFoundError):
                    if _under_way(path.read_text(), session_id):
                        return
            await trio.sleep(POLL)


async def kept_packets(settings: Settings, stream_id: str) -> list[bytes] | None:
    """The stored packets of a session: those of its record; or, if the session repeats the packets of a
    duplicate upload that overtook it, those of its journal. None if nothing is stored."""
    records = await Records.open(settings)
    try:
        stored = await records.stream(stream_id)
    finally:
        await records.close()  # noqa: ASYNC102 - nothing cancels it
    if stored is not None:
        return stored.packets
    entries = await _kept_entries(settings, stream_id)
    state = replay(entries) if entries else None
    return state.packets if state is not None and state.repeats else None


async def _kept_entries(settings: Settings, stream_id: str) -> list[Entry] | None:
    if is_shared(settings):
        database = LogDatabase(dsn_of(settings))
        try:
            return (await database.run(partial(statements.entries, firsts={stream_id: 0}))).get(stream_id)
        finally:
            await database.close()  # noqa: ASYNC102 - nothing cancels it
    try:
        content = await trio.Path(settings.journal_folder / f"{stream_id}{SUFFIX}").read_bytes()
    except FileNotFoundError:
        return None
    return entries_of(content)


def _under_way(journal: str, session_id: str) -> bool:
    return all(
        word in journal for word in (f'"session_id":"{session_id}"', "HTML_DISPLAY_DATA", "UploadComplete")
    )


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [
            int(child)
            for thread in Path(f"/proc/{pid}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    return []
