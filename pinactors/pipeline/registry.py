"""The sessions of this process: opened, joined, found, cancelled, drained."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from pinactors.compute import Compute
from pinactors.pipeline.component import INPUTS, Analysis
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    MISSING_FRONT,
    AnalysisComplete,
    ConnectionEstablished,
    ErrorCode,
    ErrorPacket,
    Packet,
    PinactorsError,
    ProcessingStarted,
    View,
    new_stream_id,
    timestamp,
)
from pinactors.settings import Settings

if TYPE_CHECKING:
    from pinactors.records import Records


class Registry:
    """First version: sessions run, unsupervised; joining, the journal and the records come next."""

    def __init__(
        self,
        analysis: Analysis,
        compute: Compute,
        records: Records,
        settings: Settings,
        nursery: trio.Nursery,
    ) -> None:
        self._analysis, self._compute, self._settings = analysis, compute, settings
        self._nursery = nursery
        self._logs: dict[str, PacketLog] = {}

    async def open(self, upload: Upload) -> PacketLog:
        """Starts the session of `upload`, or joins an equal one. Raises `PinactorsError` when refused."""
        await trio.lowlevel.checkpoint()
        log = PacketLog(new_stream_id(), upload.session_id, upload.owner)
        self._logs[log.stream_id] = log
        deadline = int(self._settings.deadline * 1000)
        self._write(
            log,
            ConnectionEstablished(message="Connected", stream_id=log.stream_id, deadline_ms=deadline),
        )
        self._nursery.start_soon(self._run, upload, log)
        return log

    async def settle(self, upload: Upload, log: PacketLog) -> PacketLog:
        """To be called once the upload is complete, before answering; the log to answer from."""
        await upload.wait_complete()
        return log

    async def find(self, stream_id: str, owner: str) -> PacketLog:
        """The log of a live or finished session. Raises `PinactorsError` (`stream_not_found`)."""
        await trio.lowlevel.checkpoint()
        log = self._logs.get(stream_id)
        if log is None or log.owner != owner:
            raise PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found", status=404)
        return log

    async def cancel(self, stream_id: str, owner: str) -> None:
        """Ends the session with `ERROR` (`cancelled`); nothing happens when it has ended already."""
        log = await self.find(stream_id, owner)
        if not log.closed:
            self._write(log, ErrorPacket.of(PinactorsError(ErrorCode.CANCELLED, "Analysis cancelled")))

    def statistics(self) -> dict[str, Any]:
        return {"sessions": sum(not log.closed for log in self._logs.values())}

    async def drain(self) -> None:
        """Stops accepting; returns when every session has ended."""
        for log in list(self._logs.values()):
            await log.wait_closed()

    def _write(self, log: PacketLog, packet: Packet) -> None:
        if not log.closed:
            packet.session_id, packet.timestamp = log.session_id, timestamp()
            packet.sequence = len(log.packets)
            log.append(packet.encode(), terminal=packet.terminal)

    async def _run(self, upload: Upload, log: PacketLog) -> None:
        started = trio.current_time()
        try:
            await upload.wait_complete()
            if View.FRONT not in upload.images:
                raise PinactorsError(ErrorCode.MISSING_IMAGE, MISSING_FRONT)
            self._write(log, ProcessingStarted(message="Analysis started"))
            context = self._analysis.context
            values: dict[str, Any] = {INPUTS[view]: upload.images.get(view) for view in View}
            for finding in self._analysis.findings:
                needs = [values[name] for name in finding.needs]
                values[finding.name] = (
                    await self._compute.keep(
                        str(self._settings.scratch_folder / log.stream_id), finding.function, context, *needs
                    )
                    if any(need is not None for need in needs)
                    else None
                )
            for component in self._analysis.components:
                needs = [values[name] for name in component.needs]
                self._write(log, await self._compute.run(component.full, context, *needs))
            elapsed = int(1000 * (trio.current_time() - started))
            self._write(
                log,
                AnalysisComplete(
                    id=0, message="Analysis complete", processing_time=elapsed, degraded=[], missing=[]
                ),
            )
        except PinactorsError as error:
            self._write(log, ErrorPacket.of(error))


@asynccontextmanager
async def open_registry(
    analysis: Analysis, compute: Compute, records: Records, settings: Settings
) -> AsyncIterator[Registry]:
    """The registry with its nursery; leaving the block ends what still runs."""
    async with trio.open_nursery() as nursery:
        yield Registry(analysis, compute, records, settings, nursery)
        nursery.cancel_scope.cancel()
