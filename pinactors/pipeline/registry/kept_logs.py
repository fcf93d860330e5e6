"""Logs that are not in this process's memory: another master's, a stored one, or one of the records."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry.peers import Peers
from pinactors.pipeline.state import SessionState, replay
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.protocol.merge import ends
from pinactors.records import Records
from pinactors.storage.logs.packet_logs import PacketLogs

RETRY_SECONDS = 2.0
"""What a reader is asked to wait when its stream can only be in a database that is away."""

_root = structlog.get_logger(__name__)


class KeptLogs:
    """Finds logs outside memory. Packets of a session that ended more than `expiry` seconds ago are gone."""

    def __init__(self, records: Records, logs: PacketLogs, peers: Peers | None, expiry: float) -> None:
        self._records = records
        self._logs = logs
        self._peers = peers
        self._expiry = expiry

    async def find(self, stream_id: str, owner: str) -> PacketLog | None:
        """None where there is none. Raises `PinactorsError`: 410 for one of `owner` that has expired, 503
        while only an unavailable database could know."""
        if self._peers is not None:
            with unavailable():
                log = await self._peers.follow(stream_id)
            if log is not None:
                return log
        state = await self._stored_state(stream_id)
        if state is not None and ends(state.packets):
            return log_of(state, closed=True)
        try:
            stored = await self._records.stream(stream_id)
        except Exception as error:
            raise _not_available(error) from error
        if stored is None:
            return None
        age = dt.datetime.now(dt.UTC) - stored.finished_at
        if age.total_seconds() > self._expiry:
            if stored.owner != owner:
                return None
            detail = "Its packets have expired"
            raise PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream gone", detail, status=410)
        return PacketLog(stream_id, stored.session_id, stored.owner, packets=stored.packets, closed=True)

    async def _stored_state(self, stream_id: str) -> SessionState | None:
        entries = await self._logs.load(stream_id)
        try:
            return replay(entries) if entries else None
        except ValueError:  # not as we write it: as good as none
            return None


def log_of(state: SessionState, *, closed: bool = False) -> PacketLog:
    """The log for readers of the session that `state` is of."""
    return PacketLog(
        state.stream_id, state.session_id, state.owner, packets=list(state.packets), closed=closed
    )


@contextmanager
def unavailable() -> Iterator[None]:
    """A database that is away becomes what a client may know."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _not_available(error) from error


def _not_available(error: Exception) -> PinactorsError:
    _root.warning("stream not readable", error=repr(error))
    return PinactorsError(
        ErrorCode.OVERLOADED, "Stream not available now", status=503, retry_after=RETRY_SECONDS
    )
