"""One session: an upload from its first photograph to its terminal packet."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog
import trio
from msgspec import UNSET

from pinactors.compute import Compute, SessionCompute, WorkerDied
from pinactors.compute.loop_thread import LoopThread
from pinactors.pipeline.actors.assembly import Assembly
from pinactors.pipeline.actors.breaker import Breaker
from pinactors.pipeline.actors.component_actor import ComponentActor
from pinactors.pipeline.actors.messages import (
    Connected,
    Dropped,
    Failed,
    Finish,
    Flush,
    Message,
    Repeat,
    Result,
    Started,
)
from pinactors.pipeline.actors.restarts import Restarts
from pinactors.pipeline.actors.shared_steps import SharedSteps
from pinactors.pipeline.actors.supervisor import Supervisor, failure_of
from pinactors.pipeline.admission import Work
from pinactors.pipeline.declaration import Analysis
from pinactors.pipeline.duplicates import DuplicateCheck
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.recorder import Recorder, record_of
from pinactors.pipeline.state import Analysed, Arrived, Outcome, Repeats, SessionState, UploadComplete
from pinactors.pipeline.time_limits import TimeLimits
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    AnalysisComplete,
    AuthenticationResult,
    ErrorCode,
    PinactorsError,
    View,
    missing_front,
    timed_out,
    timestamp,
)
from pinactors.settings import Settings
from pinactors.storage.packet_logs import LogTakenOver, StoredLog

GRACE_SECONDS = 4.0
"""What a job that is not needed any more may take to its end before its worker is killed: longer than any
healthy one, and short of the default reserve of basic analysis, which may have to wait for that worker."""

RECORD_GRACE_SECONDS = 5.0
"""What the record gets at least, even when the analysis used up its deadline."""

OTHER_MESSAGES = 8 + len(View)
"""Most messages of a session beside its components' results and repeated packets: `Connected`, `Started`, an
`Arrived` a photograph, `UploadComplete`, two `Flush`, `Analysed` or `Repeats`, and the one that ends it."""

Messages = trio.MemorySendChannel[Message]

_root = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What sessions share. `loops` has a loop for each component and step that runs in one; so have
    `breakers`, and all other components."""

    analysis: Analysis
    compute: Compute
    settings: Settings
    metrics: Metrics
    recorder: Recorder
    breakers: Mapping[str, Breaker]
    loops: Mapping[str, LoopThread]
    work: Work


class Session:
    """`run` returns when the terminal packet is in the log, or an earlier session answers the upload."""

    def __init__(
        self,
        upload: Upload,
        state: SessionState,
        log: PacketLog,
        stored: StoredLog,
        duplicate: DuplicateCheck,
        services: Services,
    ) -> None:
        self.upload = upload
        self.state = state
        self.log = log
        self.duplicate = duplicate
        self.error: PinactorsError | None = None
        self._stored = stored
        self._services = services
        self._cancelled = False
        self._noted: set[View] = set()
        self._finished = self.taken_over = False
        self._began_at = trio.current_time()
        self._compute: SessionCompute | None = None
        settings = services.settings
        self._limits = TimeLimits(min(settings.basic_reserve, settings.deadline / 2))
        self._recording = trio.CancelScope()
        self._log = _root.bind(session=state.session_id, stream=state.stream_id[:8])

    def __repr__(self) -> str:
        return f"<Session {self.state.session_id} {self.state.stream_id[:8]}>"

    async def run(self) -> None:
        """The whole life of an upload. What fails in here ends this session with an `ERROR` and no other."""
        compute = self._services.compute.session(self.state.stream_id, self._priority, self._grace)
        try:
            async with compute as self._compute:
                await self._assemble(self._live)
        except* LogTakenOver:
            self._log.warning("session taken over by another server")
            self.taken_over = True
        except* Exception as group:  # noqa: BLE001 - the boundary of the session
            self._log.exception("session failed", exc_info=group)
            self.fail(PinactorsError(ErrorCode.PROCESSING_ERROR, "Analysis failed"))
            await self._assemble(self._end)
        await self._leave_log()
        if self._compute is not None:
            self._services.work.done(self._compute.seconds)

    async def _assemble(self, life: Callable[[Messages], Awaitable[None]]) -> None:
        """Runs `life` beside packet assembly, which gets all messages: there is room for as many as a session
        can send, so that no sender ever waits, and none is lost to a cancellation."""
        room = len(self._services.analysis.components) + OTHER_MESSAGES
        messages, received = trio.open_memory_channel[Message](room)
        assembly = Assembly(self.state, self.log, self._stored, received)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(assembly.run, name=repr(assembly))
            with messages:
                await life(messages)

    async def _live(self, messages: Messages) -> None:
        messages.send_nowait(Connected(round(1000 * self._services.settings.deadline)))
        self._note_arrivals(messages)  # kept with the first packet: who has that can rely on the rest
        with self._limits.analysis:  # ends `deadline` seconds (90) after the last photograph
            await self._analyse(messages)
        earlier = self.duplicate.earlier
        if earlier is None:
            await self._complete(messages)
        elif self.upload.announced:
            await self._repeat(earlier, messages)
        else:
            self._services.metrics.joined.inc()
            self._log.info("an earlier session answers the upload")
            messages.send_nowait(Dropped())
        await self._end(messages)

    async def _analyse(self, messages: Messages) -> None:
        """Returns when every component has ended, or the session has failed. At the deadline it is
        cancelled."""
        if self.state.ends_at is not None:  # adopted: it keeps the deadline it had
            self._limits.start(self.state.ends_at - time.time())
        try:
            front = await self.upload.image(View.FRONT)
            if front is None:
                raise missing_front()
            if self.upload.error is not None:
                raise self.upload.error
        except PinactorsError as error:
            self.fail(error)
            return
        async with trio.open_nursery() as actors:
            self._begin(messages)
            actors.start_soon(self._intake, messages, name="intake")
            settings, analysis = self._services.settings, self._services.analysis
            restarts = Restarts(settings.restarts, settings.restart_backoff, self._worker_died)
            steps = SharedSteps(
                analysis,
                self.upload,
                self._jobs,
                actors,
                self.duplicate,
                restarts,
                self._services.loops,
                self._services.breakers,
                refused=self.fail,
                finished=self._step_ended,
            )
            for component in analysis.components:
                if component.name not in self.state.outcomes:
                    loop = self._services.loops.get(component.name)
                    actor = ComponentActor(component, analysis.context, steps, self._jobs, loop, restarts)
                    supervisor = Supervisor(
                        actor,
                        steps,
                        self._limits,
                        self._services.breakers[component.name],
                        messages,
                        self.fail,
                        self._services.metrics,
                        self._log,
                    )
                    actors.start_soon(supervisor.run, name=repr(supervisor))

    def _begin(self, messages: Messages) -> None:
        at = self.state.started_at or time.time()
        self._began_at = trio.current_time() - max(0.0, time.time() - at)
        messages.send_nowait(Started(at))

    async def _intake(self, messages: Messages) -> None:
        """Notes what arrives. With the last photograph in, the clock starts and it is decided which log
        answers."""
        try:
            for view in View:
                await self.upload.image(view)
                self._note_arrivals(messages)
            await self.upload.wait_complete()
            self._note_arrivals(messages)
            await self.duplicate.decide()
        except PinactorsError as error:
            self.fail(error)
            return
        if self.duplicate.earlier is not None:
            self._limits.analysis.cancel()

    def _note_arrivals(self, messages: Messages) -> None:
        """Photographs that are in and not noted yet; with the last one the clock starts."""
        for view, image in self.upload.images.items():
            if view not in self.state.images and view not in self._noted:
                self._noted.add(view)
                field = self.upload.field_of(view)
                messages.send_nowait(Arrived(view, image.path, image.sha256, image.size, field))
        ready = self.upload.complete and self.upload.error is None
        if ready and self.state.ends_at is None and math.isinf(self._limits.ends_at):
            seconds = min(self._services.settings.deadline, self.upload.deadline)
            self._limits.start(seconds)
            messages.send_nowait(UploadComplete(time.time() + seconds))

    async def _complete(self, messages: Messages) -> None:
        """What the deadline left undecided, then the record, then the packet that names it."""
        await _flushed(messages)
        if self.error is None:
            self._answer_for_the_undecided(messages)
        if self.error is not None:
            return
        messages.send_nowait(Analysed())
        await _flushed(messages)
        elapsed = self._elapsed_ms
        self._recording.deadline = trio.current_time() + max(self._limits.seconds_left, RECORD_GRACE_SECONDS)
        with self._recording:
            try:
                final = await self._services.recorder.save(
                    record_of(self.state, elapsed), partial(self._final_packet, elapsed)
                )
            except Exception as error:  # noqa: BLE001 - the analysis is kept whatever the database thinks
                self._log.error("record not stored", error=repr(error))
            else:
                self._count("complete")
                messages.send_nowait(Finish(final))
                self._finished = True
                return
        self.fail(_not_recorded())

    def _answer_for_the_undecided(self, messages: Messages) -> None:
        """Authenticity says that it timed out; whatever else is optional is missing."""
        for component in self._services.analysis.components:
            if component.name in self.state.outcomes:
                continue
            packet = timed_out().encoded() if component.packet is AuthenticationResult else None
            self._log.warning("component timed out", component=component.name)
            self._services.metrics.components.labels(component.name, Outcome.TIMED_OUT).inc()
            messages.send_nowait(Result(component, Outcome.TIMED_OUT, packet))
            if packet is None and component.required:
                self.fail(failure_of(component.name, "it ran out of time"))

    def _final_packet(self, elapsed_ms: int, number: int) -> bytes:
        """Runs on the database's thread, inside the transaction."""
        state = self.state
        missing = state.missing
        packet = AnalysisComplete(
            id=number,
            message=f"Analysis complete without {', '.join(missing)}" if missing else "Analysis complete",
            processing_time=elapsed_ms,
            degraded=state.degraded,
            missing=missing,
            demonstration=state.facts.get("demonstration", UNSET),
        )
        packet.session_id, packet.sequence, packet.timestamp = (
            state.session_id,
            len(state.packets),
            timestamp(),
        )
        return packet.encode()

    async def _repeat(self, earlier: PacketLog, messages: Messages) -> None:
        """What a client has had of this session stays; the earlier one's packets follow, each type once."""
        messages.send_nowait(Repeats())
        self._services.metrics.joined.inc()
        self._log.info("session repeats an earlier one", other=earlier.stream_id[:8])
        position = 0
        with self._recording, earlier.watching():
            while position < len(earlier.packets) or not earlier.closed:
                await earlier.wait_beyond(position)
                for packet in earlier.packets[position:]:
                    await messages.send(Repeat(packet))
                    position += 1

    async def _end(self, messages: Messages) -> None:
        """Returns when everything is in the log; the session's error ends it where there is one."""
        if self.error is not None and not self.log.closed:
            self._count(str(self.error.code))
            messages.send_nowait(Failed(self.error))
        await _flushed(messages)

    async def _leave_log(self) -> None:
        """The stored log, once the session is over: sealed already, or kept for the record, or for who reads
        it again (no record has a repeated stream), or not needed any more."""
        if self._finished:
            return
        if self.taken_over:
            await self._stored.release()
        elif self.state.repeats:
            await self._stored.finish()
        elif self.error is None or self.state.started_at is None or _is_conflict(self.error):
            await self._stored.remove()
        else:
            await self._services.recorder.later(self.state, self._stored)

    def fail(self, error: PinactorsError) -> None:
        """Ends the session with `error`; the first one counts, and none once the terminal packet is in.

        A job at work may end: a broken upload, sent again and again, must not cost a worker each time.
        """
        if self.error is None and not self.log.closed and not self._finished:
            self.error = error
            self._limits.analysis.cancel()
            self._recording.cancel()

    def cancel(self, error: PinactorsError) -> None:
        """As `fail`, and the CPU is free at once: somebody asked for it."""
        self._cancelled = True
        self.fail(error)
        if self._compute is not None:
            self._compute.stop()

    def _count(self, outcome: str) -> None:
        """Before a reader can know of it."""
        self._services.metrics.sessions.labels(outcome).inc()
        if self.state.started_at is not None:
            self._services.metrics.session_seconds.observe(self._elapsed_ms / 1000)
        self._log.info("session ended", outcome=outcome, milliseconds=self._elapsed_ms)

    def _priority(self) -> tuple[float, ...]:
        """What must be ready soon goes first, and whoever is watched or still sending before who is not; then
        by deadline.

        A session without one is still sending: work for it can wait until the link has brought the rest.
        """
        urgent = trio.current_time() >= self._limits.full_ends_at
        watched = self.log.readers or not self.upload.complete
        return (0.0 if watched else 1.0) - (2.0 if urgent else 0.0), self._limits.ends_at

    def _grace(self) -> float:
        """A job that is given up may end: a new worker costs more.

        With the session cancelled or its deadline come the CPU is to be free at once.
        """
        return 0.0 if self._cancelled else min(GRACE_SECONDS, self._limits.seconds_left)

    def _step_ended(self, name: str, seconds: float, error: Exception | None) -> None:
        self._services.metrics.step_seconds.labels(name).observe(seconds)
        if error is None:
            self._log.debug("shared step done", step=name, seconds=round(seconds, 3))
        else:
            self._log.warning("shared step failed", step=name, error=repr(error))

    def _worker_died(self, work: str, error: WorkerDied) -> None:
        self._services.metrics.worker_deaths.labels(work).inc()
        self._log.warning("worker died", work=work, error=str(error))

    @property
    def _jobs(self) -> SessionCompute:
        assert self._compute is not None
        return self._compute

    @property
    def _elapsed_ms(self) -> int:
        return round(1000 * (trio.current_time() - self._began_at))


async def _flushed(messages: Messages) -> None:
    """Returns when everything sent so far is in the log."""
    written = trio.Event()
    messages.send_nowait(Flush(written))
    await written.wait()


def _is_conflict(error: PinactorsError) -> bool:
    return error.code is ErrorCode.SESSION_CONFLICT


def _not_recorded() -> PinactorsError:
    """Instead of an `ANALYSIS_COMPLETE`, whose id would have to be invented."""
    return PinactorsError(
        ErrorCode.PROCESSING_ERROR,
        "Results are final but not recorded yet",
        "The database is away. The results above are final and will be stored when it is back",
    )
