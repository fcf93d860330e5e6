"""The recorder: stores analyses in the database, if necessary after their sessions have ended."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice

import structlog
import trio

from pinactors.backoff import Backoff
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.state import SessionState, replay
from pinactors.pipeline.upload import fingerprint_of
from pinactors.protocol import ErrorCode, decode
from pinactors.protocol.merge import ends
from pinactors.records import AnalysisRecord, Records, RecordsUnavailable
from pinactors.storage.logs.packet_logs import PacketLogs, StoredLog

PAUSES = Backoff(0.05, 5.0)
"""Pauses between attempts to store a record."""

MEMORY_LIMIT = 100
"""How many analyses may wait in memory for the database because their stored log failed (disk full): about
10 KB each."""

STORED_TOGETHER = 8
"""How many analyses of the outbox are stored at the same time, so that their file operations share calls of
the disk's thread. Stored one by one, they became more and more while 16 clients sent broken uploads."""

MILLISECOND = dt.timedelta(milliseconds=1)

log = structlog.get_logger(__name__)


class LogUnreadable(Exception):
    """A stored log cannot be read at the moment."""


class Recorder:
    """Stores records, with repeated attempts while the database is unavailable.

    An analysis that its session could not store in time waits in the outbox as its stored log, which outlives
    this process. `run` empties the outbox.
    """

    def __init__(self, records: Records, logs: PacketLogs, metrics: Metrics) -> None:
        self._records = records
        self._logs = logs
        self._metrics = metrics
        self._outbox: deque[StoredLog | SessionState] = deque()
        self._filled = trio.Event()
        self._unreadable = 0  # consecutive attempts whose log could not be read

    @property
    def waiting(self) -> int:
        """Number of analyses in the outbox."""
        return len(self._outbox)

    def photographs(self) -> set[str]:
        """Hashes of the photographs that analyses waiting in memory refer to; those of other analyses are in
        stored logs."""
        states = [item for item in self._outbox if isinstance(item, SessionState)]
        return {image.sha256 for state in states for image in state.images.values()}

    async def save(self, record: AnalysisRecord, final_packet: Callable[[int], bytes]) -> bytes:
        """Stores a record and returns its final packet: `final_packet` called with the record's number.
        Repeats the attempt while the database is unavailable; the caller's cancel scope limits this.

        Raises any other error of storing at once.
        """
        sealed: list[bytes] = []

        def remember(number: int) -> bytes:
            sealed.append(final_packet(number))
            return sealed[-1]

        for pause in PAUSES:
            try:
                await self._records.save(record, remember)
                stored = None if sealed else await self._records.stream(record.stream_id)
            except RecordsUnavailable as error:
                self._metrics.record_retries.inc()
                log.warning("record not stored yet", session=record.session_id, error=repr(error))
                await trio.sleep(pause)
            else:
                return stored.packets[-1] if stored else sealed[-1]  # `stored`: by an earlier process
        raise AssertionError("the pauses have no end")

    async def later(self, state: SessionState, stored: StoredLog) -> None:
        """Puts a session that has ended into the outbox; its log is kept until the record is stored."""
        if stored.healthy:
            await stored.park()
            self._outbox.append(stored)
        elif sum(isinstance(item, SessionState) for item in self._outbox) < MEMORY_LIMIT:
            self._outbox.append(state)
        else:
            log.error("analysis lost", session=state.session_id, reason="neither its log nor the database")
        self._filled.set()

    async def run(self) -> None:
        """Stores the analyses in the outbox as they arrive, the first ones first. Never returns."""
        await self._metrics.supervision.repeat("recorder", self._store_first)

    async def _store_first(self) -> None:
        """Stores the first `STORED_TOGETHER` analyses of the outbox; pauses if none of their logs can be
        read."""
        while not self._outbox:
            await self._filled.wait()
            self._filled = trio.Event()
        items = list(islice(self._outbox, STORED_TOGETHER))
        unreadable: list[StoredLog | SessionState] = []

        async def store(item: StoredLog | SessionState) -> None:
            if not await self._store(item):
                unreadable.append(item)

        try:
            async with trio.open_nursery() as nursery:
                for item in items:
                    one = partial(store, item)
                    nursery.start_soon(self._metrics.supervision.once, "recorder", one, name="store a record")
        finally:
            for _ in items:
                self._outbox.popleft()
        self._outbox.extend(unreadable)  # behind the others, so that they do not block them
        if len(unreadable) < len(items):
            self._unreadable = 0
            return
        pause = PAUSES.after(self._unreadable)
        self._unreadable += 1
        await trio.sleep(pause)

    async def _store(self, item: StoredLog | SessionState) -> bool:
        """Stores one analysis; returns False if its log cannot be read. One that the database refuses is set
        aside, so that it does not block the others."""
        try:
            state = item if isinstance(item, SessionState) else await self._load(item)
            if state is not None:
                final = state.packets[-1]
                await self.save(record_of(state), lambda number: final)
                log.info("record stored", session=state.session_id)
            if not isinstance(item, SessionState):
                await item.remove()
        except LogUnreadable as error:  # shared logs are in a database, which may be unavailable
            log.warning("log not readable yet", item=repr(item), error=repr(error.__cause__))
            return False
        except Exception as error:  # noqa: BLE001 - the actor's boundary: the next one is stored
            log.error("record refused", item=repr(item), error=repr(error))
            if not isinstance(item, SessionState):
                await item.set_aside()
        return True

    async def _load(self, stored: StoredLog) -> SessionState | None:
        try:
            entries = await self._logs.load(stored.stream_id)
        except OSError as error:
            raise LogUnreadable from error
        return replay(entries) if entries else None


def record_of(state: SessionState, processing_ms: int | None = None) -> AnalysisRecord:
    """The record of a session. Without `processing_ms` the duration is taken from the timestamp of the last
    packet, an `ERROR`."""
    started = dt.datetime.fromtimestamp(state.started_at or 0.0, dt.UTC)
    failed: str | None = None
    ended = ends(state.packets)
    if ended:
        last = decode(state.packets[-1])
        if processing_ms is None:
            ended_at = dt.datetime.fromisoformat(last.timestamp)
            processing_ms = max(0, round((ended_at - started) / MILLISECOND))
        code = getattr(last, "error_code", None)
        # An ERROR after the analysis means only that the record was not stored, and this is the record.
        if not (state.analysed and code is ErrorCode.PROCESSING_ERROR):
            failed = str(code)
    facts = state.facts
    decided = facts if failed is None else {}
    return AnalysisRecord(
        stream_id=state.stream_id,
        session_id=state.session_id,
        owner=state.owner,
        idempotency_key=state.idempotency_key,
        fingerprint=fingerprint_of(state.images),
        images=dict(state.images),
        started_at=started,
        processing_ms=processing_ms or 0,
        verdict=decided.get("verdict"),
        authentic=decided.get("authentic"),
        rating=decided.get("rating"),
        confidence=decided.get("confidence"),
        pin_id=facts.get("pin_id"),
        pin_name=facts.get("pin_name"),
        degraded=state.degraded,
        missing=state.missing,
        packets=state.packets[:-1] if ended else list(state.packets),
        error_code=failed,
        webhook=state.webhook,
        components=list(state.components),
    )
