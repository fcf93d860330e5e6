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
from pinactors.pipeline.services import PipelineServices
from pinactors.pipeline.state import Analysed, Repeats, SessionState
from pinactors.pipeline.time_limits import TimeLimits
from pinactors.pipeline.upload import Upload
from pinactors.protocol import UPLOAD_INTERRUPTED, ErrorCode, PinactorsError, View, forget_frames
from pinactors.storage.logs.packet_logs import LogTakenOver, StoredLog

OTHER_MESSAGES = 8 + len(View)
"""Largest number of a session's messages besides the results of its components and repeated packets:
`Connected`, `Started`, an `Arrived` per photograph, `UploadComplete`, three `Flush`, `Analysed` or `Repeats`,
and the one that ends it."""

NOTICEABLE_WAIT = 5.0
"""Seconds of earlier sessions' work from which `PROCESSING_STARTED` reports the queue: in such a time nothing
is sent but keep-alives."""

Messages = trio.MemorySendChannel[Message]

_root = structlog.get_logger(__name__)


class Session:
    """The session of one upload. `run` returns when the terminal packet is in the log, or when the session is
    dropped because an earlier one answers the upload. The caller of `run` ends `span`."""

    def __init__(
        self,
        upload: Upload,
        state: SessionState,
        log: PacketLog,
        stored: StoredLog,
        duplicate: DuplicateCheck,
        services: PipelineServices,
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
        """Whether the session has a stored log. A session whose log has failed continues without one."""
        return self._stored.healthy

    @property
    def has_work(self) -> bool:
        """Whether the workers have something to do for this session, or soon will: all photographs are in, or
        the front has been for less than the deadline. They have nothing to do for an upload that stalls."""
        begun = View.FRONT in self.upload.images
        stalled = trio.current_time() - self._began_at >= self._services.settings.deadline
        return self.upload.complete or (begun and not stalled)

    async def run(self) -> None:
        """Runs the whole life of an upload. A failure ends only this session, with an `ERROR`.

        The session's tasks end in this order: the intake and the components' actors, by themselves or at the
        deadline; packet assembly, when all messages are in the log; jobs whose results are not needed.
        """
        services = self._services
        compute = services.compute.session(self.state.stream_id, self._priority, self._grace)
        try:
            async with compute as self._compute, self._assembly() as messages:
                messages.send_nowait(Connected(round(1000 * services.settings.deadline)))
                intake = Intake(self.upload, self.state, self._limits, self.duplicate, messages, self.fail)
                intake.note()  # stored with the first packet: its readers can rely on these photographs
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
        forget_frames(self.error)
        if self._compute is not None:
            services.cost.add(self._compute.seconds)
            self._compute = None  # it refers back to the session

    @asynccontextmanager
    async def _assembly(self) -> AsyncIterator[Messages]:
        """Runs packet assembly and gives the channel to it. The channel has room for all messages of a
        session, so that no sender waits and no message is lost to a cancellation."""
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
        """A supervisor, with its actor, for each component that has not ended yet. Shared steps run in
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
            on_refusal=self.fail,
            on_finished=self._step_ended,
        )
        for component in services.analysis.components:
            if component.name not in self.state.outcomes:
                loop = services.loops.get(component.name)
                actor = ComponentActor(component, services.analysis.context, steps, compute, loop, restarts)
                yield Supervisor(
                    actor, steps, self._limits, services, messages, self.fail, self._log, self.span
                )

    async def _conclude(self, messages: Messages) -> None:
        """The steps after the analysis: the record and the packet that names it, or the packets of an earlier
        session."""
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
        """Sends results for components that have not ended, stores the record, and sends the packet that
        names it."""
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
        """Sends the packets of the earlier session after those that the client has already received; packet
        assembly drops types that were sent before. Fails if the earlier log is closed before its end, because
        its session can no longer be followed."""
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
        if not earlier.ended:
            detail = "The analysis of the same photographs can no longer be followed; send them again"
            self.fail(PinactorsError(ErrorCode.PROCESSING_ERROR, UPLOAD_INTERRUPTED, detail))

    async def _end(self, messages: Messages) -> None:
        """Sends the session's error if there is one, and returns when all messages are in the log."""
        if self.error is not None and not self._finished and not self.log.closed:
            self._count(str(self.error.code))
            messages.send_nowait(Failed(self.error))
        await _flushed(messages)

    async def _leave_log(self) -> None:
        """Decides about the stored log of a session that has ended. It is sealed already, or kept until the
        record is stored, or kept for readers (a repeated stream has no record), or removed."""
        if self._finished:
            return
        refused = self.error is not None and self.error.code is ErrorCode.SESSION_CONFLICT
        if self.taken_over:
            await self._stored.release()
        elif self.state.repeats:
            await self._stored.finish()
        elif self.error is None or self.state.started_at is None or refused:
            await self._stored.remove()
        else:
            await self._services.recorder.later(self.state, self._stored)

    def fail(self, error: PinactorsError) -> None:
        """Ends the session with `error`. Only the first error counts, and none after the terminal packet.

        Running jobs get a grace period, so that a broken upload that is sent repeatedly does not cost a
        worker each time.
        """
        if self.error is None and not self.log.closed and not self._finished:
            self.error = error
            self._limits.stop()

    def cancel(self, error: PinactorsError) -> None:
        """As `fail`, but without a grace period: running jobs are killed, so that the CPU is free at once."""
        self._cancelled = True
        self.fail(error)
        if self._compute is not None:
            self._compute.stop()

    def _count(self, outcome: str) -> None:
        """Counts and logs the end of the session. Called before readers can see the terminal packet."""
        self.span.note(outcome=outcome)
        self._services.metrics.sessions.labels(outcome).inc()
        if self.state.started_at is not None:
            self._services.metrics.session_seconds.observe(self._elapsed_ms / 1000)
        self._log.info("session ended", outcome=outcome, milliseconds=self._elapsed_ms)

    def _priority(self) -> tuple[float, ...]:
        """Sort key of the session's jobs; the smallest runs first. Sessions whose full analysis is out of
        time come first, then those with readers or an incomplete upload, each group by deadline.

        The deadline of an incomplete upload is infinite: its jobs can wait until the rest has arrived.
        """
        urgent = trio.current_time() >= self._limits.full_ends_at
        watched = self.log.readers or not self.upload.complete
        return (0.0 if watched else 1.0) - (2.0 if urgent else 0.0), self._limits.ends_at

    def _grace(self) -> float:
        """Grace period of the session's jobs; 0 after `cancel`, so that the CPU is free immediately."""
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
    """Returns when all messages sent so far are in the log."""
    written = trio.Event()
    messages.send_nowait(Flush(written))
    await written.wait()
