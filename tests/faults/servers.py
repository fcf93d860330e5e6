"""A server in a process of its own, and what befalls it: killed, its workers killed, its database locked or
gone, its disk full.
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
from tests.api.wire import ask

POLL = 0.01
STOP_SECONDS = 10


class Server:
    """`restart` brings it back to the same port over the same data folder. Use as a context manager."""

    def __init__(
        self,
        data: Path,
        *,
        analysis: str = "drawn",
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        """`environment` has variables of the process beside this one's."""
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
        """Returns when it answers."""
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
        """As a service manager stops it. Raises `AssertionError` when it does not go."""
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
        """Killed without a word, and started again."""
        await trio.to_thread.run_sync(self.kill)
        await trio.to_thread.run_sync(self.start)

    def workers(self) -> list[int]:
        """Their process ids: the server's children fork them."""
        return [worker for child in _children(self.pid) for worker in _children(child)]

    def kill_workers(self, count: int | None = None) -> int:
        """How many were there to be killed."""
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
        """Another process holds the database's write lock."""
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
        """The folder with the database's files, which has to be one of its own, is elsewhere: all of them at
        the same moment."""
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
        """The server process writes to no file: not to database, journal, photographs, nor its own log.

        The kernel refuses it the bytes (RLIMIT_FSIZE: a write behind the first byte of any file is `EFBIG`):
        the one way to a full disk that needs no rights, no mount, and can be taken back while it runs.
        """
        soft, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def peak_memory(self) -> int:
        """Bytes, the most the server process ever had."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    async def metric(self, name: str) -> float:
        """The sum over all labels."""
        answer = await ask(self.port, "GET", "/metrics")
        lines = answer.body.decode().splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.partition("{")[0].split(" ")[0] == name]
        assert values, f"no metric {name}"
        return sum(map(float, values))

    async def until_metric(self, name: str, beyond: float) -> None:
        while await self.metric(name) <= beyond:  # noqa: ASYNC110 - only it can tell
            await trio.sleep(POLL)

    async def restarts(self) -> int:
        answer = await ask(self.port, "GET", "/health")
        return int(answer.json()["queue"]["restarts"])

    async def until_under_way(self, session_id: str) -> None:
        """Its upload is in, packets are out, and authenticity is not decided yet.

        Read from the journal: a client that is answered in one piece sees none of it.
        """
        while True:
            for path in self.settings.journal_folder.glob("*.journal"):
                with suppress(FileNotFoundError):
                    if _under_way(path.read_text(), session_id):
                        return
            await trio.sleep(POLL)


async def kept_packets(settings: Settings, stream_id: str) -> list[bytes] | None:
    """What is kept of a session: its record's packets, or, where it goes on with those of an equal one that
    overtook it, its journal's. None when there is nothing."""
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
