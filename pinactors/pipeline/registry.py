"""The sessions of this process: opened, joined, found, cancelled, drained, and adopted from the last one."""

from __future__ import annotations

import contextvars
import datetime as dt
from collections import OrderedDict
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import structlog
import trio
from prometheus_client import CollectorRegistry

from pinactors.compute import Compute, Measured
from pinactors.compute.scratch_folder import open_scratch
from pinactors.pipeline import journal as journals
from pinactors.pipeline.admission import Admission, Work
from pinactors.pipeline.breaker import Breaker
from pinactors.pipeline.component import Analysis
from pinactors.pipeline.course import Course, completed
from pinactors.pipeline.joins import Joins
from pinactors.pipeline.journal import Journal
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.recorder import Recorder
from pinactors.pipeline.session import Services, Session
from pinactors.pipeline.settlement import Settlement
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    UPLOAD_INTERRUPTED,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    decode,
    new_stream_id,
)
from pinactors.records import Records, RecordsUnavailable
from pinactors.settings import Settings

FINISHED_BYTES = 64 << 20
"""Packets of finished sessions kept in memory; what is beyond, and older than `replay`, is read from the
records.
"""

RETRY_RECORDS = 2.0
"""Seconds a reader is asked to wait when its stream can only be in a database that is away."""

_root = structlog.get_logger(__name__)


class Registry:
    """The only way in. Sessions run in a nursery of the application's that never sees their exceptions."""

    def __init__(self, services: Services, joins: Joins, records: Records, nursery: trio.Nursery) -> None:
        self._services = services
        self._settings = services.settings
        self._measured = services.compute if isinstance(services.compute, Measured) else None
        self._joins = joins
        self._records = records
        self._nursery = nursery
        self._admission = Admission(services.settings)
        self._live: dict[str, Session] = {}
        self._settlements: WeakKeyDictionary[Upload, Settlement] = WeakKeyDictionary()
        self._unfinished: dict[tuple[str, str], tuple[Upload, PacketLog]] = {}
        self._finished: OrderedDict[str, tuple[float, PacketLog]] = OrderedDict()
        self._finished_bytes = 0
        self._repeated: OrderedDict[str, float] = OrderedDict()
        self._ended = trio.lowlevel.ParkingLot()
        self._context = contextvars.copy_context()

    @property
    def metrics(self) -> Metrics:
        return self._services.metrics

    async def open(self, upload: Upload) -> PacketLog:
        """Starts the session of `upload`; its log has its first packet already.

        An upload that is complete is joined to an equal one at once, as `settle` does later for the others.
        Raises `PinactorsError`: `overloaded` (429, 503) with `retry_after`, or `session_conflict` (422).
        """
        await trio.lowlevel.checkpoint()
        self._prune()
        course = Course(new_stream_id(), upload.session_id, upload.owner, upload.idempotency_key)
        log = _log_of(course)
        with self._counting_refusals():
            self._admission.check_rate(upload.owner)
            if upload.complete and upload.error is None:
                answer = await self._joins.settle(upload, log)
                if answer is not log:
                    self._services.metrics.joined.inc()
                    return answer
            try:
                self._admission.check_load(upload.owner, self._wait())
            except PinactorsError:
                self._joins.forget(log.stream_id)
                raise
        journal = Journal.create(self._settings.journal_folder, course, self._journal_failed)
        self._start(upload, course, log, journal)
        return log

    async def may_join(self, upload: Upload) -> bool:
        """Whether a session, under way or ended well, has the same name or `Idempotency-Key`: `upload` may
        turn out to equal its upload, and is better not announced.
        """
        for session in self._live.values():
            course, key = session.course, upload.idempotency_key
            same = course.session_id == upload.session_id or (key and course.idempotency_key == key)
            if same and course.owner == upload.owner:
                await trio.lowlevel.checkpoint()
                return True
        try:
            return await self._records.has_named(upload.owner, upload.session_id, upload.idempotency_key)
        except RecordsUnavailable:
            return False

    async def settle(self, upload: Upload, log: PacketLog) -> PacketLog:
        """The log to answer from; waits until `upload` is complete and has been compared with earlier ones.

        The session of an upload that joins another one is dropped, and its log closed without a terminal
        packet; an announced one goes on with the other's packets, and answers. Raises `PinactorsError`
        (`session_conflict`, 422) for an `Idempotency-Key` that came with other images.
        """
        settlement = self._settlements.get(upload)
        if settlement is None:
            await trio.lowlevel.checkpoint()
            return log
        answer = await settlement.wait()
        return log if upload.announced else answer

    async def find(self, stream_id: str, owner: str) -> PacketLog:
        """The log of a live or finished session.

        Raises `PinactorsError`: `stream_not_found` (404), also for one of another owner, and with 410 for one
        that ended longer ago than `replay`; `processing_error` (503) while only an unavailable database could
        know.
        """
        self._prune()
        log = self._in_memory(stream_id) or await self._kept(stream_id, owner)
        await trio.lowlevel.checkpoint()
        if log is None or log.owner != owner:
            raise PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found", status=404)
        return log

    async def cancel(self, stream_id: str, owner: str) -> None:
        """Ends the session; its readers get `ERROR` (`cancelled`), which is in the log when this returns.

        Where it repeats an equal one, both end. One that has ended already is left as it is. Raises
        `PinactorsError` as `find` does.
        """
        log = await self.find(stream_id, owner)
        session = self._live.get(stream_id)
        if session is not None and session.equal is not None:
            session = self._live.get(session.equal.stream_id)
        if session is not None:
            session.cancel(PinactorsError(ErrorCode.CANCELLED, "Analysis cancelled"))
        await log.wait_closed()

    def photographs(self) -> set[str]:
        """Hashes of those that sessions under way, or waiting in memory to be recorded, refer to."""
        used = {image.sha256 for session in self._live.values() for image in session.upload.images.values()}
        return used | self._services.recorder.photographs()

    def statistics(self) -> dict[str, Any]:
        """Numbers for health and metrics; `breakers` names those that are not closed."""
        return {
            "accepting": self._admission.accepting,
            "sessions": len(self._live),
            "finished": len(self._finished),
            "outbox": self._services.recorder.waiting,
            "breakers": {
                name: str(breaker.state)
                for name, breaker in self._services.breakers.items()
                if breaker.state != "closed"
            },
            "compute": self._compute_statistics(),
        }

    async def drain(self) -> None:
        """Stops accepting; returns when every session has ended, but those that wait for a resumable upload:
        the next process goes on with them."""
        self._admission.accepting = False
        _root.info("draining", sessions=len(self._live))
        await trio.lowlevel.checkpoint()
        while any(not s.upload.resumable or s.upload.complete for s in self._live.values()):
            await self._ended.park()

    def unfinished(self, owner: str, idempotency_key: str) -> tuple[Upload, PacketLog] | None:
        """The session that waits for the rest of an upload an earlier process began to receive; once."""
        return self._unfinished.pop((owner, idempotency_key), None)

    def adopt(self, resumed: Container[tuple[str, str]] = ()) -> None:
        """Goes on where a killed process was: unfinished sessions run, finished ones reach the records.

        `resumed` has owner and `Idempotency-Key` of those whose uploads go on as well (see `unfinished`).
        """
        for journal, course in journals.adopt(self._settings.journal_folder, self._journal_failed):
            last = decode(course.packets[-1]) if course.packets else None
            if last is not None and last.terminal:
                if course.repeats and journal.age < self._settings.replay:
                    self._repeated[course.stream_id] = trio.current_time() - journal.age
                    journal.release()
                elif not course.repeats and isinstance(last, ErrorPacket) and course.started_at is not None:
                    self._services.recorder.later(course, journal)
                else:  # stored before its last packet was written, or too old
                    journal.remove()
            else:
                self._resume(journal, course, resumed)

    def _resume(self, journal: Journal, course: Course, resumed: Container[tuple[str, str]]) -> None:
        upload = Upload(course.session_id, course.owner, course.idempotency_key, announced=course.repeats)
        name = (course.owner, course.idempotency_key or "")
        upload.resumable = course.ends_at is None and name in resumed
        for view, image in course.images.items():
            upload.put(view, image)
        if upload.resumable:
            pass  # its photographs go on arriving
        elif course.ends_at is None:
            upload.fail(
                PinactorsError(
                    ErrorCode.PROCESSING_ERROR,
                    UPLOAD_INTERRUPTED,
                    "The server was restarted before all photographs were in",
                )
            )
        else:
            upload.close()
        log = _log_of(course)
        if upload.resumable:
            self._unfinished[name] = (upload, log)
        elif upload.error is None and not course.repeats:
            self._joins.adopt(upload, log)
        self._start(upload, course, log, journal)
        _root.info("session adopted", session=course.session_id, packets=len(log.packets))

    def _start(self, upload: Upload, course: Course, log: PacketLog, journal: Journal) -> None:
        session = Session(upload, course, log, journal, self._services)
        if self._settings.disconnect == "cancel":
            error = PinactorsError(ErrorCode.CANCELLED, "Analysis cancelled", "Its last reader left")
            log.on_abandoned(partial(session.cancel, error))
        if upload.complete and not course.repeats:  # compared with earlier ones already
            session.settlement.reach(log)
        self._live[course.stream_id] = session
        self._settlements[upload] = session.settlement
        self._admission.enter(course.owner)
        # Not in the context of the request that opened it, which would be kept as long as the session.
        self._context.run(partial(self._nursery.start_soon, self._supervise, session, name=repr(session)))

    async def _supervise(self, session: Session) -> None:
        """Nothing a session raises gets further than here; a cancellation leaves its journal for adoption."""
        try:
            await session.run()
        except* Exception as group:  # noqa: BLE001 - the boundary of the session
            _root.exception("session failed", session=session.course.session_id, exc_info=group)
            session.end_with(PinactorsError(ErrorCode.PROCESSING_ERROR, "Analysis failed"))
        finally:
            session.release()
            self._retire(session)
        await session.clear()

    def _retire(self, session: Session) -> None:
        log = session.log
        session.settlement.reach(log)
        log.on_abandoned(None)
        del self._live[log.stream_id]
        self._admission.leave(log.owner)
        if log.closed and (session.equal is None or session.upload.announced):
            if session.course.repeats and session.error is None:
                self._repeated[log.stream_id] = trio.current_time()
            if not completed(log.packets):
                self._joins.forget(log.stream_id)
            self._finished[log.stream_id] = (trio.current_time(), log)
            self._finished_bytes += sum(map(len, log.packets))
            self._prune()
        self._ended.unpark_all()

    def _prune(self) -> None:
        """Lets go of finished sessions that are too old to be read again, or too many to keep here."""
        oldest_kept = trio.current_time() - self._settings.replay
        while self._repeated and next(iter(self._repeated.values())) < oldest_kept:
            journals.remove(self._settings.journal_folder, self._repeated.popitem(last=False)[0])
        while self._finished:
            stream_id, (ended, log) = next(iter(self._finished.items()))
            if ended >= oldest_kept and self._finished_bytes <= FINISHED_BYTES:
                return
            del self._finished[stream_id]
            self._finished_bytes -= sum(map(len, log.packets))
            self._joins.forget(stream_id)

    def _in_memory(self, stream_id: str) -> PacketLog | None:
        if stream_id in self._live:
            return self._live[stream_id].log
        if stream_id in self._finished:
            return self._finished[stream_id][1]
        return None

    async def _kept(self, stream_id: str, owner: str) -> PacketLog | None:
        """From the records, or from a journal that waits for them."""
        course = journals.find(self._settings.journal_folder, stream_id)
        if course is not None and course.packets and decode(course.packets[-1]).terminal:
            return _log_of(course, closed=True)
        try:
            stored = await self._records.stream(stream_id)
        except Exception as error:
            _root.warning("stream not readable", error=repr(error))
            raise PinactorsError(
                ErrorCode.PROCESSING_ERROR, "Stream not available now", status=503, retry_after=RETRY_RECORDS
            ) from error
        if stored is None:
            return None
        age = dt.datetime.now(dt.UTC) - stored.finished_at
        if age.total_seconds() > self._settings.replay:
            if stored.owner != owner:
                return None
            detail = "Its packets have expired"
            raise PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream gone", detail, status=410)
        return PacketLog(stream_id, stored.session_id, stored.owner, packets=stored.packets, closed=True)

    def _wait(self) -> float:
        """Seconds until the workers could have done a new session's work, if sessions stay what they were."""
        workers = self._compute_statistics().get("workers") or 1
        return len(self._live) * self._services.work.mean / workers

    @contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except PinactorsError as error:
            self._services.metrics.refused.labels(str(error.status)).inc()
            raise

    def _compute_statistics(self) -> dict[str, Any]:
        return self._measured.statistics() if self._measured is not None else {}

    def _journal_failed(self, error: OSError) -> None:
        self._services.metrics.journal_failures.inc()
        _root.error("session goes on without journal", error=repr(error))


@asynccontextmanager
async def open_registry(
    analysis: Analysis,
    compute: Compute,
    records: Records,
    settings: Settings,
    metrics: Metrics | None = None,
    *,
    resumed: Container[tuple[str, str]] = (),
) -> AsyncIterator[Registry]:
    """The registry with its nursery. Leaving the block stops what still runs; journals keep it for the
    next. `resumed`: see `Registry.adopt`.
    """
    metrics = metrics or Metrics(CollectorRegistry())
    settings.journal_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    recorder = Recorder(records, metrics)
    joins = Joins(records)
    with open_scratch(settings.scratch_folder) as scratch:
        services = Services(
            analysis=analysis,
            compute=compute,
            settings=settings,
            metrics=metrics,
            recorder=recorder,
            breakers={
                component.name: _breaker(component.name, settings, metrics)
                for component in analysis.components
            },
            scratch=scratch,
            work=Work(),
            settle=joins.settle,
        )
        async with trio.open_nursery() as nursery:
            registry = Registry(services, joins, records, nursery)
            metrics.watch(registry.statistics)
            nursery.start_soon(recorder.run, name="recorder")
            registry.adopt(resumed)
            yield registry
            nursery.cancel_scope.cancel()


def _log_of(course: Course, *, closed: bool = False) -> PacketLog:
    return PacketLog(course.stream_id, course.session_id, course.owner, packets=course.packets, closed=closed)


def _breaker(name: str, settings: Settings, metrics: Metrics) -> Breaker:
    def tripped() -> None:
        metrics.breaker_trips.labels(name).inc()
        _root.warning("breaker tripped", component=name, pause=settings.breaker_pause)

    return Breaker(settings.breaker_failures, settings.breaker_pause, tripped)
