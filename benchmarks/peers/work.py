"""The parts that all peers share: the analysis functions of our server, one record per session, packets as
lines.

The peers differ in how they receive uploads, distribute the analysis and answer; the analysis is that of
`pinactors.components`, or components that return immediately.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.server import declare_nothing
from pinactors import components
from pinactors.compute.local.worker import prepare
from pinactors.pipeline.declaration import INPUTS, Analysis, SharedStep
from pinactors.protocol import (
    AnalysisComplete,
    ConnectionEstablished,
    ErrorCode,
    ErrorPacket,
    Packet,
    ProcessingStarted,
    View,
    timestamp,
)
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage

NICENESS = 5
"""Niceness of the peers' workers, the same as of ours, so that the event loop has priority."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A peer's arguments, passed as JSON. `null`: components that return immediately, in the event loop.

    `record`: whether a row is inserted before the last packet; False measures a design without it.
    """

    data: str
    workers: int
    null: bool = False
    record: bool = True

    @classmethod
    def given(cls) -> Plan:
        return cls(**json.loads(sys.argv[1]))

    @property
    def folder(self) -> Path:
        return Path(self.data)

    def analysis(self) -> Analysis:
        return declare_nothing() if self.null else components.declare(Settings(data=self.folder))


def warm_worker(null: bool) -> None:
    """Prepares a worker process: one thread, lower priority, models loaded."""
    prepare(NICENESS, memory=0)
    if not null:
        components.warm()


def start_workers(plan: Plan) -> ProcessPoolExecutor:
    """Starts the worker processes; with real components, returns when all are warm."""
    workers = ProcessPoolExecutor(plan.workers, initializer=warm_worker, initargs=(plan.null,))
    if not plan.null:
        for ready in [workers.submit(os.getpid) for _ in range(plan.workers)]:
            ready.result()
    return workers


class PacketLines:
    """Encodes the packets of one session as lines, with time and sequence number."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._count = 0

    def line(self, packet: Packet) -> bytes:
        packet.session_id, packet.sequence, packet.timestamp = self._session_id, self._count, timestamp()
        self._count += 1
        return packet.encode() + b"\n"

    def opening(self) -> bytes:
        """The first two packets, without a stream id: a peer's session cannot be resumed, so that a phone
        that was cut off uploads again."""
        opened = ConnectionEstablished(message="Connected", stream_id="", deadline_ms=90_000)
        line = self.line(opened).replace(b'"streamId":"",', b"")
        return line + self.line(ProcessingStarted(message="Analysis started"))

    def complete(self, record: int, milliseconds: int, missing: list[str]) -> bytes:
        return self.line(
            AnalysisComplete(
                id=record,
                message="Analysis complete",
                processing_time=milliseconds,
                degraded=[],
                missing=missing,
            )
        )

    def failed(self, error: BaseException) -> bytes:
        return self.line(
            ErrorPacket(
                message="Analysis failed", error=repr(error)[:500], error_code=ErrorCode.PROCESSING_ERROR
            )
        )


def inputs(photographs: dict[str, str]) -> dict[str, StoredImage | None]:
    """The graph's inputs from the stored files by view. The peers compute no content hash; the path is used
    instead."""
    found: dict[str, StoredImage | None] = {}
    for view in View:
        path = photographs.get(view)
        found[INPUTS[view]] = None if path is None else StoredImage(path, path, Path(path).stat().st_size)
    return found


def shared_values(
    analysis: Analysis,
    photographs: dict[str, str],
    compute: Callable[[SharedStep, list[Any]], Any],
) -> dict[str, Any]:
    """Computes the shared steps one after the other; returns the graph's inputs and the steps' values by
    name. `compute` runs one step with the values it needs."""
    values: dict[str, Any] = {**inputs(photographs)}
    for step in analysis.shared_steps:
        first = values.get(step.decided_by or "")
        needs = [values[name] for name in step.needs]
        if getattr(first, "decided", False):
            values[step.name] = first
        elif all(value is None for value in needs):
            values[step.name] = None
        else:
            values[step.name] = compute(step, needs)
    return values


def analyse(plan: Plan, photographs: dict[str, str]) -> tuple[list[Packet], list[str]]:
    """Runs the whole graph, one function after the other; returns the packets and the components that failed.

    Raises what the required component raises.
    """
    analysis = _analysis(plan)
    values = shared_values(analysis, photographs, lambda step, needs: step.function(analysis.context, *needs))
    packets: list[Packet] = []
    missing: list[str] = []
    for component in analysis.components:
        try:
            packets.append(component.full(analysis.context, *[values[name] for name in component.needs]))
        except Exception:
            if component.required:
                raise
            missing.append(component.name)
    return packets, missing


@cache
def _analysis(plan: Plan) -> Analysis:
    return plan.analysis()


class Rows:
    """The peers' database: one table, WAL, one commit per session. To be used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._database = sqlite3.connect(folder / "peer.db", check_same_thread=False)
        with (folder / "peer.lock").open("w") as lock:  # the mode's change waits for no other process
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=normal")
        self._database.execute("create table if not exists analyses (id integer primary key, packets blob)")

    def insert(self, packets: bytes) -> int:
        with self._database:
            row = self._database.execute("insert into analyses (packets) values (?)", (packets,))
        return int(row.lastrowid or 0)

    async def inserted(self, packets: bytes) -> int:
        """The same in its own thread, for an event loop of asyncio."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.insert, packets)
