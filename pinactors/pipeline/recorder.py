"""The recorder: an analysis reaches the database, if need be later than its session."""

from __future__ import annotations

import datetime as dt
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

import structlog
import trio

from pinactors.pipeline import journal as journals
from pinactors.pipeline.course import Course
from pinactors.pipeline.journal import Journal
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.upload import fingerprint
from pinactors.protocol import AuthenticationResult, CharacterIdentification, ErrorCode, ErrorPacket
from pinactors.records import AnalysisRecord, Records, RecordsUnavailable

PAUSE, PAUSE_LIMIT = 0.05, 5.0
"""Seconds between attempts to store a record: doubled up to the limit."""

MEMORY_LIMIT = 100
"""Analyses without a journal (its disk is full) that may wait in memory for the database: about 10 KB each.
"""

MILLISECOND = dt.timedelta(milliseconds=1)

log = structlog.get_logger(__name__)


class Recorder:
    """Stores records, again and again while the database is away.

    What a session could not store before its deadline waits in the outbox: its journal, which outlives this
    process. `run` empties it.
    """

    def __init__(self, records: Records, metrics: Metrics) -> None:
        self._records = records
        self._metrics = metrics
        self._outbox: deque[Path | Course] = deque()
        self._filled = trio.Event()

    @property
    def waiting(self) -> int:
        """Analyses in the outbox."""
        return len(self._outbox)

    def photographs(self) -> set[str]:
        """Hashes of those that analyses in memory refer to; the others' are in their journals."""
        courses = [item for item in self._outbox if isinstance(item, Course)]
        return {image.sha256 for course in courses for image in course.images.values()}

    async def save(self, record: AnalysisRecord, seal: Callable[[int], bytes]) -> bytes:
        """The final packet as it is stored. Tries while the database is away: the caller's scope bounds it.

        Whatever else storing raises is final.
        """
        sealed: list[bytes] = []

        def remember(number: int) -> bytes:
            sealed.append(seal(number))
            return sealed[-1]

        pause = PAUSE
        while True:
            try:
                await self._records.save(record, remember)
                stored = None if sealed else await self._records.stream(record.stream_id)
            except RecordsUnavailable as error:
                self._metrics.record_retries.inc()
                log.warning("record not stored yet", session=record.session_id, error=repr(error))
                await trio.sleep(pause)
                pause = min(2 * pause, PAUSE_LIMIT)
            else:
                return stored.packets[-1] if stored else sealed[-1]  # stored by an earlier process, or now

    def later(self, course: Course, journal: Journal) -> None:
        """Stores a session that has ended, by and by; its journal is kept until then."""
        if journal.healthy:
            journal.release()
            self._outbox.append(journal.path)
        elif sum(isinstance(item, Course) for item in self._outbox) < MEMORY_LIMIT:
            self._outbox.append(course)
        else:
            log.error("analysis lost", session=course.session_id, reason="neither journal nor database")
        self._filled.set()

    async def run(self) -> None:
        """Empties the outbox as it fills; never returns."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            while self._outbox:
                await self._store(self._outbox[0])
                self._outbox.popleft()

    async def _store(self, item: Path | Course) -> None:
        """What is refused, not delayed by an absent database, is set aside: it must not block the others."""
        try:
            course = journals.load(item) if isinstance(item, Path) else item
            if course is not None:
                final = course.packets[-1]
                await self.save(record_of(course), lambda number: final)
                log.info("record stored", session=course.session_id)
            if isinstance(item, Path):
                os.unlink(item)
        except Exception as error:  # noqa: BLE001 - the actor's boundary: the next one has its turn
            log.error("record refused", item=str(item), error=repr(error))
            if isinstance(item, Path):
                journals.set_aside(item)


def record_of(course: Course, processing_ms: int | None = None) -> AnalysisRecord:
    """What is kept of a session. Without `processing_ms` its last packet says how long it took."""
    packets = course.decoded()
    last = packets[-1]
    ended = isinstance(last, ErrorPacket)
    started = dt.datetime.fromtimestamp(course.started_at or 0.0, dt.UTC)
    if processing_ms is None:
        processing_ms = max(0, round((dt.datetime.fromisoformat(last.timestamp) - started) / MILLISECOND))
    failed = last.error_code if isinstance(last, ErrorPacket) else None
    if course.analysed and failed is ErrorCode.PROCESSING_ERROR:  # only its record failed, and here it is
        failed = None
    decided = next((packet for packet in packets if isinstance(packet, AuthenticationResult)), None)
    if failed is not None:
        decided = None
    claim = next((packet for packet in packets if isinstance(packet, CharacterIdentification)), None)
    claimed = claim.candidates[0] if claim is not None and claim.identified else None
    return AnalysisRecord(
        stream_id=course.stream_id,
        session_id=course.session_id,
        owner=course.owner,
        idempotency_key=course.idempotency_key,
        fingerprint=fingerprint(course.images),
        images=dict(course.images),
        started_at=started,
        processing_ms=processing_ms,
        verdict=str(decided.verdict) if decided else None,
        authentic=decided.authentic if decided else None,
        rating=decided.authenticity_rating if decided else None,
        confidence=decided.confidence if decided else None,
        pin_id=claimed.pin_id if claimed else None,
        pin_name=claimed.name if claimed else None,
        degraded=course.degraded,
        missing=course.missing,
        packets=course.packets[:-1] if ended else list(course.packets),
        error_code=str(failed) if failed else None,
    )
