"""One session: an upload from its first photograph to its terminal packet."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from pinactors import tracing
from pinactors.compute import SessionCompute, WorkerDied
from pinactors.pipeline.actors.assembly import Assembly
from pinactors.pipeline.actors.component_actor import ComponentActor
from pinactors.pipeline.actors.intake import Intake
from pinactors.pipeline.actors.messages import (
    Connected,
    Dropped,
    Failed,
    Finish,
    Flush,
    Message,
    Repeat,
    Started,
)
from pinactors.pipeline.actors.restarts import Restarts
from pinactors.pipeline.actors.shared_steps import SharedSteps
from pinactors.pipeline.actors.supervisor import Supervisor, failure_of
from pinactors.pipeline.completion import final_packet, not_recorded, undecided
from pinactors.pipeline.duplicate_check import DuplicateCheck
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.recorder import record_of
from pinactors.pipeline.services import Services
from pinactors.pipeline.state import Analysed, Repeats, SessionState
from pinactors.pipeline.time_limits import TimeLimits
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.storage.logs.packet_logs import LogTakenOver, StoredLog

OTHER_MESSAGES = 8 + len(View)
"""Most messages of a session beside its components' results and repeated packets: `Connected`, `Started`, an
`Arrived` a photograph, `UploadComplete`, two `Flush`, `Analysed` or `Repeats`, and the one that ends it."""

NOTICEABLE_WAIT = 5.0
"""Seconds of work before a session's own from which it is told: with as many nothing is sent but a
keep-alive."""

Messages = trio.MemorySendChannel[Message]

_root = structlog.get_logger(__name__)


class Session:
    """`run` returns when the terminal packet is in the log, or an earlier session answers the upload. Whoever
    calls it ends `span`."""

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
        self.taken_over = False
        self._stored = stored
        self._services = services
        self._limits = TimeLimits(services.settings)
        self._compute: SessionCompute | None = None
        self._cancelled = self._finished = False
        self._began_at = trio.current_time()
        self.span = upload.span.child("session", session=state.session_id, stream=state.stream_id[:8])
        ids = tracing.ids(upload.span.correlation)
        self._log = _root.bind(session=state.session_id, stream=state.stream_id[:8], **ids)

    def __repr__(self) -> str:
        return f"<Session {self.state.session_id} {self.state.stream_id[:8]}>"

    @property
    def is_kept(self) -> bool:
        """Whether it has a stored log. One whose log has failed goes on without."""
        return self._stored.healthy

    async def run(self) -> None:
        """The whole life of an upload. What fails in here ends this session with an `ERROR` and no other.

        What runs in it ends in this order: the intake and the components' actors, by themselves or at the
        deadline; packet assembly, when all is in the log that anybody sent; jobs that nobody waits for.
        """
        services = self._services
        compute = services.compute.session(self.state.stream_id, self._priority, self._grace)
        try:
            async with compute as self._compute, self._assembly() as messages:
                messages.send_nowait(Connected(round(1000 * services.settings.deadline)))
                intake = Intake(self.upload, self.state, self._limits, self.duplicate, messages, self.fail)
                intake.note()  # kept with the first packet: who has that can rely on the rest
                with self._limits.analysis:  # ends 90 seconds (the deadline) after the last photograph
                    if await intake.front():
                        async with trio.open_nursery() as actors:
                            self._begin(messages)
                            actors.start_soon(intake.run, name="intake")
                            for supervisor in self._supervisors(messages, actors):
                                actors.start_soon(supervisor.run, name=repr(supervisor))
                await self._conclude(messages)
        except* LogTakenOver:
            self._log.warning("session taken over by another server")
            self.taken_over = True
        except* Exception as group:  # noqa: BLE001 - the boundary of the session
            self._log.exception("session failed", exc_info=group)
            self.fail(PinactorsError(ErrorCode.PROCESSING_ERROR, "Analysis failed"))
            async with self._assembly() as messages:
                await self._end(messages)
        await self._leave_log()
        if self._compute is not None:
            services.cost.add(self._compute.seconds)

    @asynccontextmanager
    async def _assembly(self) -> AsyncIterator[Messages]:
        """Packet assembly, and the channel on which it gets all messages: there is room for as many as a
        session can send, so that no sender ever waits, and none is lost to a cancellation."""
        room = len(self._services.analysis.components) + OTHER_MESSAGES
        messages, received = trio.open_memory_channel[Message](room)
        assembly = Assembly(self.state, self.log, self._stored, received)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(assembly.run, name=repr(assembly))
            with messages:
                yield messages

    def _begin(self, messages: Messages) -> None:
        at = self.state.started_at or time.time()
        self._began_at = trio.current_time() - max(0.0, time.time() - at)
        waiting = self._services.compute.statistics()["waiting"]
        long = self._services.seconds_for(waiting) >= NOTICEABLE_WAIT
        messages.send_nowait(Started(at, waiting if long else 0))

    def _supervisors(self, messages: Messages, actors: trio.Nursery) -> Iterator[Supervisor]:
        """One a component that has not ended yet, each with its actor; what they share is computed in
        `actors`."""
        assert self._compute is not None
        services, settings, compute = self._services, self._services.settings, self._compute
        restarts = Restarts(settings.restarts, settings.restart_backoff, self._worker_died)
        steps = SharedSteps(
            services,
            self.upload,
            compute,
            actors,
            self.duplicate,
            restarts,
            self.span,
            refused=self.fail,
            finished=self._step_ended,
        )
        for component in services.analysis.components:
            if component.name not in self.state.outcomes:
                loop = services.loops.get(component.name)
                actor = ComponentActor(component, services.analysis.context, steps, compute, loop, restarts)
                yield Supervisor(
                    actor, steps, self._limits, services, messages, self.fail, self._log, self.span
                )

    async def _conclude(self, messages: Messages) -> None:
        """What follows the analysis: the record and the packet that names it, or an earlier session's
        packets."""
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

    async def _complete(self, messages: Messages) -> None:
        """What the deadline left undecided, then the record, then the packet that names it."""
        await _flushed(messages)
        if self.error is None:
            for result in undecided(self._services.analysis, self.state):
                name = result.component.name
                self._log.warning("component timed out", component=name)
                self._services.metrics.components.labels(name, result.outcome).inc()
                messages.send_nowait(result)
                if result.packet is None and result.component.required:
                    self.fail(failure_of(name, "it ran out of time"))
        if self.error is not None:
            return
        messages.send_nowait(Analysed())
        await _flushed(messages)
        elapsed = self._elapsed_ms
        self._limits.start_recording()
        with self._limits.recording:
            try:
                # The packet is made on the database's thread, inside the transaction that gives it its id.
                with self.span.child("record"):
                    final = await self._services.recorder.save(
                        record_of(self.state, elapsed), partial(final_packet, self.state, elapsed)
                    )
            except Exception as error:  # noqa: BLE001 - the analysis is kept whatever the database says
                self._log.error("record not stored", error=repr(error))
            else:
                self._count("complete")
                messages.send_nowait(Finish(final))
                self._finished = True
                return
        self.fail(not_recorded())

    async def _repeat(self, earlier: PacketLog, messages: Messages) -> None:
        """What a client has had of this session stays; the earlier one's packets follow, each type once."""
        messages.send_nowait(Repeats())
        self._services.metrics.joined.inc()
        self._log.info("session repeats an earlier one", other=earlier.stream_id[:8])
        position = 0
        with self._limits.recording, earlier.watching():
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
            self._limits.stop()

    def cancel(self, error: PinactorsError) -> None:
        """As `fail`, and the CPU is free at once: somebody asked for it."""
        self._cancelled = True
        self.fail(error)
        if self._compute is not None:
            self._compute.stop()

    def _count(self, outcome: str) -> None:
        """Before a reader can know of it."""
        self.span.note(outcome=outcome)
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
        """With the session cancelled the CPU is to be free at once."""
        return 0.0 if self._cancelled else self._limits.job_grace

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
    def _elapsed_ms(self) -> int:
        return round(1000 * (trio.current_time() - self._began_at))


async def _flushed(messages: Messages) -> None:
    """Returns when everything sent so far is in the log."""
    written = trio.Event()
    messages.send_nowait(Flush(written))
    await written.wait()


def _is_conflict(error: PinactorsError) -> bool:
    return error.code is ErrorCode.SESSION_CONFLICT
