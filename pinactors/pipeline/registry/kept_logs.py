"""Finds logs that are not in this process's memory: another master's, a stored one, or one in the records."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry.peers import Peers
from pinactors.pipeline.state import SessionState, replay
from pinactors.protocol import PinactorsError, stream_expired, stream_unavailable
from pinactors.protocol.merge import ends
from pinactors.records import Records
from pinactors.storage.logs.packet_logs import PacketLogs

RETRY_SECONDS = 2.0
"""Seconds after which a reader may retry if its stream can only be in a database that is unavailable."""

_root = structlog.get_logger(__name__)


class KeptLogs:
    """Finds logs outside memory. Packets of a session that ended more than `expiry` seconds ago count as
    expired."""

    def __init__(self, records: Records, logs: PacketLogs, peers: Peers | None, expiry: float) -> None:
        self._records = records
        self._logs = logs
        self._peers = peers
        self._expiry = expiry

    async def find(self, stream_id: str, owner: str) -> PacketLog | None:
        """The log of a stream; None if there is none. Raises `PinactorsError`: `stream_not_found` if it
        belongs to `owner` and has expired, `overloaded` if its stored log, or a database that may have it,
        cannot be read now."""
        if self._peers is not None:
            with unavailable():
                log = await self._peers.follow(stream_id)
            if log is not None:
                return log
        state = await self._stored_state(stream_id)
        if state is not None and ends(state.packets):
            return PacketLog.of(state, closed=True)
        try:
            stored = await self._records.stream(stream_id)
        except Exception as error:
            raise _not_readable(error) from error
        if stored is None:
            return None
        age = dt.datetime.now(dt.UTC) - stored.finished_at
        if age.total_seconds() > self._expiry:
            if stored.owner != owner:
                return None
            raise stream_expired()
        return PacketLog.of(stored, closed=True)

    async def _stored_state(self, stream_id: str) -> SessionState | None:
        with unavailable():
            entries = await self._logs.load(stream_id)
        try:
            return replay(entries) if entries else None
        except ValueError:  # in another format than this program writes: treated as absent
            return None


@contextmanager
def unavailable() -> Iterator[None]:
    """Turns errors of an unavailable database into a `PinactorsError` for the client."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _not_readable(error) from error


def _not_readable(error: Exception) -> PinactorsError:
    _root.warning("stream not readable", error=repr(error))
    return stream_unavailable(retry_after=RETRY_SECONDS)
