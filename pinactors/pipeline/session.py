"""One session: an upload from its first photograph to its terminal packet."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import trio
from msgspec import UNSET

from pinactors.compute import Compute, WorkerDied, view_of
from pinactors.pipeline.admission import Work
from pinactors.pipeline.assembly import Assembly, Result
from pinactors.pipeline.attempts import Restarts
from pinactors.pipeline.breaker import Breaker
from pinactors.pipeline.component import Analysis, Component
from pinactors.pipeline.course import Course, Outcome
from pinactors.pipeline.deadline import Deadline
from pinactors.pipeline.findings import Findings
from pinactors.pipeline.journal import Analysed, Arrived, Began, Journal, Repeats, UploadComplete
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.recorder import Recorder, record_of
from pinactors.pipeline.settlement import Patience, Settlement
from pinactors.pipeline.supervisor import Supervisor
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    AnalysisComplete,
    AuthenticationResult,
    ConnectionEstablished,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    ProcessingStarted,
    View,
    missing_front,
    timed_out,
)
from pinactors.settings import Settings

GRACE = 4.0
"""Seconds a job that is not needed any more may take to its end before its worker is killed: longer than any
healthy one, and short of the default reserve of basic analysis, which may have to wait for that worker."""

RECORD_GRACE = 5.0
"""Seconds the record gets at least, even when the analysis used up its deadline."""

DETAIL_LIMIT = 1000
"""Characters of an error's message and of its detail that a packet carries."""

_root = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What sessions share. `settle` says which log answers an upload that is complete."""

    analysis: Analysis
    compute: Compute
    settings: Settings
    metrics: Metrics
    recorder: Recorder
    breakers: Mapping[str, Breaker]
    scratch: Path
    work: Work
    settle: Callable[[Upload, PacketLog], Awaitable[PacketLog]]


class Session:
    """`run` returns when the terminal packet is in the log, or the session gave way to an equal one.

    `settlement` says which, once that is known. A session whose stream a client has the name of already does
    not give way: its log goes on, with the equal one's packets.
    """

    def __init__(self, upload: Upload, course: Course, log: PacketLog, journal: Journal, services: Services):
        self.upload = upload
        self.course = course
        self.log = log
        self.error: PinactorsError | None = None
        self._cancelled = False
        self.settlement = Settlement()
        self._journal = journal
        self._services = services
        settings = services.settings
        self._assembly = Assembly(course, log, journal)
        self._deadline = Deadline(min(settings.basic_reserve, settings.deadline / 2))
        if course.ends_at is not None:  # adopted: it keeps the deadline it had
            self._deadline.start(course.ends_at - time.time())
        self._recording = trio.CancelScope()
        self._began_at = trio.current_time()
        self._compute = view_of(services.compute, self._priority, self._grace)
        self._log = _root.bind(session=course.session_id, stream=course.stream_id[:8])
        noticed = partial(_worker_died, services.metrics, self._log)
        self._restarts = Restarts(settings.restarts, settings.restart_backoff, noticed)
        self._assembly.write(
            ConnectionEstablished(
                message="Connected",
                stream_id=course.stream_id,
                deadline_ms=round(1000 * settings.deadline),
            )
        )

    def __repr__(self) -> str:
        return f"<Session {self.course.session_id} {self.course.stream_id[:8]}>"

    @property
    def equal(self) -> PacketLog | None:
        """The log of the equal session that answers this upload, once it is known that there is one."""
        answer = self.settlement.answer
        return answer if answer is not self.log else None

    async def run(self) -> None:
        """The whole life of an upload."""
        await self._analyse()
        equal = self.equal
        if equal is not None and not self.upload.announced:
            self._give_way()
            return
        self.course.repeats = equal is not None
        if equal is not None:
            await self._repeat(equal)
        elif self.error is None:
            self._answer_for_the_undecided()
        if self.error is None and equal is None:
            await self._record()
        if self.error is not None:
            self.end_with(self.error)

    async def _analyse(self) -> None:
        """Returns when every component has ended, the deadline has come, or the session has failed.

        All packets there are have been assembled by then. The channel has room for one result of each
        component (five of at most 8 KB), so that none of them ever waits, and none is lost to a
        cancellation.
        """
        results, received = trio.open_memory_channel[Result](len(self._components))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._assembly.run, received, name=repr(self._assembly))
            with results:
                async with trio.open_nursery() as actors:
                    self._deadline.encloses(actors.cancel_scope)
                    await self._start_actors(actors, results)

    async def _start_actors(self, actors: trio.Nursery, results: trio.MemorySendChannel[Result]) -> None:
        """Once the front image is in."""
        try:
            front = await self.upload.image(View.FRONT)
            if front is None:
                raise missing_front()
            if self.upload.error is not None:
                raise self.upload.error
        except PinactorsError as error:
            self.fail(error)
            return
        self._begin()
        actors.start_soon(self._intake, name="intake")
        findings = self._findings(actors)
        for component in self._components:
            if component.name not in self.course.outcomes:
                actor = self._supervisor(component, findings, results)
                actors.start_soon(actor.run, name=repr(actor))

    async def _intake(self) -> None:
        """Notes what arrives. With the last photograph in, the clock starts and the upload finds its log."""
        try:
            for view in View:
                image = await self.upload.image(view)
                if image is not None and view not in self.course.images:
                    self.course.images[view] = image
                    self._journal.mark(Arrived(view, image.path, image.sha256, image.size))
            await self.upload.wait_complete()
            self._start_clock()
            if self.settlement.known:
                return
            answer = await self._services.settle(self.upload, self.log)
        except PinactorsError as error:
            if error.code is ErrorCode.SESSION_CONFLICT:
                self.settlement.refuse(error)
            self.fail(error)
            return
        if answer is not self.log:
            self._deadline.end()
        self.settlement.reach(answer)

    def fail(self, error: PinactorsError) -> None:
        """Ends the session with `error`; the first one counts, and none once the terminal packet is in.

        A job at work may end: a broken upload, sent again and again, must not cost a worker each time.
        """
        if self.error is None and not self.log.closed:
            self.error = error
            self._deadline.end()
            self._recording.cancel()

    def cancel(self, error: PinactorsError) -> None:
        """As `fail`, and the CPU is free at once: somebody asked for it."""
        self._cancelled = True
        self.fail(error)
        self._compute.stop()

    def end_with(self, error: PinactorsError) -> None:
        """Writes the terminal `ERROR`. A session whose work had begun is recorded all the same."""
        short = PinactorsError(
            error.code,
            error.message[:DETAIL_LIMIT],
            error.detail[:DETAIL_LIMIT],
            field=error.field[:DETAIL_LIMIT],
            view=error.view,
        )
        self._assembly.write(ErrorPacket.of(short))
        if self.course.started_at is None or error.code is ErrorCode.SESSION_CONFLICT:
            self._journal.remove()
        else:
            self._services.recorder.later(self.course, self._journal)
        self._ended(str(error.code))

    def release(self) -> None:
        """Leaves the journal, if it is still there, to whoever comes next."""
        self._journal.release()

    async def clear(self) -> None:
        """Removes what the session kept for its workers."""
        self._services.work.done(self._compute.seconds)
        if self._folder.is_dir():
            await trio.to_thread.run_sync(shutil.rmtree, self._folder, True)

    def _begin(self) -> None:
        if self.course.started_at is None:
            self.course.started_at = time.time()
            self._journal.mark(Began(self.course.started_at))
        self._began_at = trio.current_time() - max(0.0, time.time() - self.course.started_at)
        self._assembly.write(ProcessingStarted(message="Analysis started"))

    def _start_clock(self) -> None:
        if self.course.ends_at is None:
            seconds = min(self._services.settings.deadline, self.upload.deadline)
            self.course.ends_at = time.time() + seconds
            self._journal.mark(UploadComplete(self.course.ends_at))
            self._deadline.start(seconds)

    def _answer_for_the_undecided(self) -> None:
        """The deadline decided: authenticity says so, whatever else is optional is missing."""
        for component in self._components:
            if component.name in self.course.outcomes:
                continue
            packet = timed_out() if component.packet is AuthenticationResult else None
            self._log.warning("component timed out", component=component.name)
            self._services.metrics.components.labels(component.name, Outcome.TIMED_OUT).inc()
            self._assembly.take(Result(component, Outcome.TIMED_OUT, packet))
            if packet is None and component.required:
                message = f"{component.name.capitalize()} analysis failed"
                self.fail(PinactorsError(ErrorCode.PROCESSING_ERROR, message, "it ran out of time"))

    async def _record(self) -> None:
        """The record first, then the packet that names it."""
        self.course.analysed = True
        self._journal.mark(Analysed())
        self._recording.deadline = max(
            self._deadline.at if self._deadline.at < math.inf else 0.0, trio.current_time() + RECORD_GRACE
        )
        elapsed = self._elapsed_ms
        seal = partial(self._seal, elapsed)
        with self._recording:
            try:
                final = await self._services.recorder.save(record_of(self.course, elapsed), seal)
            except Exception as error:  # noqa: BLE001 - the analysis is kept whatever the database thinks
                self._log.error("record not stored", error=repr(error))
                self.error = _not_recorded()
                return
            self._assembly.finish(final)
            self._journal.remove()
            self._ended("complete")
            return
        if self.error is None:
            self.error = _not_recorded()

    def _seal(self, elapsed_ms: int, number: int) -> bytes:
        """Runs on the database's thread, inside the transaction."""
        missing = self.course.missing
        demonstration = any(
            getattr(packet, "demonstration", UNSET) is True for packet in self.course.decoded()
        )
        return self._assembly.seal(
            AnalysisComplete(
                id=number,
                message=f"Analysis complete without {', '.join(missing)}" if missing else "Analysis complete",
                processing_time=elapsed_ms,
                degraded=self.course.degraded,
                missing=missing,
                demonstration=demonstration or UNSET,
            )
        )

    def _give_way(self) -> None:
        self._journal.remove()
        self.log.close()
        self._services.metrics.joined.inc()
        self._log.info("session joined an equal one")

    async def _repeat(self, equal: PacketLog) -> None:
        """What a client has had of this session stays; the equal one's packets follow, each type once.

        The journal is kept when all is said: no record has this stream.
        """
        self._journal.mark(Repeats())
        self._services.metrics.joined.inc()
        self._log.info("session repeats an equal one", other=equal.stream_id[:8])
        position = 0
        with self._recording, equal.watching():
            while position < len(equal.packets) or not equal.closed:
                await equal.wait_beyond(position)
                for packet in equal.packets[position:]:
                    self._assembly.repeat(packet)
                    position += 1

    def _ended(self, outcome: str) -> None:
        self._services.metrics.sessions.labels(outcome).inc()
        if self.course.started_at is not None:
            self._services.metrics.session_seconds.observe(self._elapsed_ms / 1000)
        self._log.info("session ended", outcome=outcome, milliseconds=self._elapsed_ms)

    def _priority(self) -> tuple[float, ...]:
        """What must be ready soon goes first, and whoever is watched or still sending before who is not; then
        by deadline.

        A session without one is still sending: work for it can wait until the link has brought the rest.
        """
        urgent = trio.current_time() >= self._deadline.full_ends_at
        watched = self.log.readers or not self.upload.complete
        return (0.0 if watched else 1.0) - (2.0 if urgent else 0.0), self._deadline.at

    def _grace(self) -> float:
        """A job that is given up may end: a new worker costs more.

        With the session cancelled or its deadline come the CPU is to be free at once.
        """
        left = self._deadline.at - trio.current_time()
        return 0.0 if self._cancelled else min(GRACE, max(0.0, left))

    def _findings(self, nursery: trio.Nursery) -> Findings:
        return Findings(
            self._services.analysis,
            self.upload,
            self._compute,
            str(self._folder),
            nursery,
            Patience(self.upload, self.settlement),
            self._restarts,
            rejected=self.fail,
            finished=self._finding_ended,
        )

    def _supervisor(
        self, component: Component, findings: Findings, results: trio.MemorySendChannel[Result]
    ) -> Supervisor:
        return Supervisor(
            component,
            self._services.analysis.context,
            findings,
            self._compute,
            self._deadline,
            self._services.breakers[component.name],
            self._restarts,
            results,
            self.fail,
            self._services.metrics,
            self._log,
        )

    def _finding_ended(self, name: str, seconds: float, error: Exception | None) -> None:
        self._services.metrics.finding_seconds.labels(name).observe(seconds)
        if error is None:
            self._log.debug("finding ready", finding=name, seconds=round(seconds, 3))
        else:
            self._log.warning("finding failed", finding=name, error=repr(error))

    @property
    def _components(self) -> tuple[Component, ...]:
        return self._services.analysis.components

    @property
    def _folder(self) -> Path:
        return self._services.scratch / self.course.stream_id

    @property
    def _elapsed_ms(self) -> int:
        return round(1000 * (trio.current_time() - self._began_at))


def _worker_died(metrics: Metrics, log: structlog.stdlib.BoundLogger, work: str, error: WorkerDied) -> None:
    metrics.worker_deaths.labels(work).inc()
    log.warning("worker died", work=work, error=str(error))


def _not_recorded() -> PinactorsError:
    """Instead of an `ANALYSIS_COMPLETE`, whose id would have to be invented."""
    return PinactorsError(
        ErrorCode.PROCESSING_ERROR,
        "Results are final but not recorded yet",
        "The database is away. The results above are final and will be stored when it is back",
    )
