"""The supervisor of a component's actor: it tries full analysis, then basic, then reports a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import trio

from pinactors.pipeline.actors.breaker import BreakerState
from pinactors.pipeline.actors.component_actor import ComponentActor
from pinactors.pipeline.actors.messages import Message, Result
from pinactors.pipeline.actors.shared_steps import SharedSteps
from pinactors.pipeline.services import PipelineServices
from pinactors.pipeline.state import Outcome
from pinactors.pipeline.time_limits import TimeLimits
from pinactors.protocol import EncodedPacket, ErrorCode, PinactorsError
from pinactors.tracing import Span


class Supervisor:
    """Supervises one component of one session. Sends exactly one `Result`, unless the session ends before.

    Full analysis is not repeated after a failure, nor when its time is over: `basic` follows, for which the
    time limits keep a reserve. If the breaker is open full analysis is skipped. `on_failure` is called if a
    required component has no packet.
    """

    def __init__(
        self,
        actor: ComponentActor,
        shared_steps: SharedSteps,
        limits: TimeLimits,
        services: PipelineServices,
        messages: trio.MemorySendChannel[Message],
        on_failure: Callable[[PinactorsError], None],
        log: structlog.stdlib.BoundLogger,
        span: Span,
    ) -> None:
        self._actor = actor
        self._shared_steps = shared_steps
        self._limits = limits
        self._breaker = services.breakers[actor.component.name]
        self._messages = messages
        self._on_failure = on_failure
        self._metrics = services.metrics
        self._session_log, self._session_span = log, span

    def __repr__(self) -> str:
        return f"<Supervisor {self._actor.component.name}>"

    @property
    def _log(self) -> structlog.stdlib.BoundLogger:
        """A logger bound to the component; made only when needed, which saves memory in waiting sessions."""
        return self._session_log.bind(component=self._actor.component.name)

    async def run(self) -> None:
        """Runs the component and sends its result."""
        component, started = self._actor.component, trio.current_time()
        span = self._session_span.child("component", component=component.name)
        with span, self._shared_steps.in_use(component.basic_needs):
            packet, outcome = await self._full(span), Outcome.FULL
            if packet is None:
                packet, outcome = await self._basic(span), Outcome.BASIC
            if packet is None:
                outcome = Outcome.FAILED
                if component.required:
                    self._on_failure(failure_of(component.name))
            span.note(outcome=outcome)
            self._messages.send_nowait(Result(component, outcome, packet))  # the channel has room for all
        seconds = trio.current_time() - started
        self._metrics.component_seconds.labels(component.name).observe(seconds)
        self._metrics.components.labels(component.name, outcome).inc()
        log_method = self._log.debug if outcome is Outcome.FULL else self._log.info
        log_method("component ended", outcome=outcome, seconds=round(seconds, 3))

    async def _full(self, span: Span) -> EncodedPacket | None:
        """The packet of full analysis; None if it failed or was skipped. The breaker does not count failures
        that the component did not cause: the end of its time (due to the queue or the client), a refused
        photograph, a failed shared step."""
        if self._breaker.state is BreakerState.OPEN:
            self._log.info("full analysis skipped", reason="breaker open")
            return None
        with self._limits.full_analysis():
            try:
                values = await self._actor.needed(span)
                return await self._attempt(span, values)
            except Exception as error:  # noqa: BLE001 - the actor's boundary: basic analysis follows
                self._log.warning("full analysis failed", error=repr(error))
                return None
        self._log.warning("full analysis failed", error="out of time")
        return None

    async def _attempt(self, span: Span, values: list[Any]) -> EncodedPacket | None:
        """One attempt at full analysis, begun only when all its needs are available: while a half-open
        breaker allows a single attempt, a phone that sends slowly must not block other sessions."""
        with self._breaker.attempt() as trial:
            if trial is None:
                self._log.info("full analysis skipped", reason="breaker open")
                return None
            try:
                packet = await self._actor.full(span, values)
            except PinactorsError:
                raise
            except Exception:
                trial.failed()
                raise
            trial.succeeded()
            return packet

    async def _basic(self, span: Span) -> EncodedPacket | None:
        if self._actor.component.basic is None:
            self._log.error("component missing", error="there is no basic analysis")
            return None
        try:
            return await self._actor.basic(span)
        except Exception as error:  # noqa: BLE001 - the actor's boundary: the component then is missing
            self._log.error("component missing", error=repr(error))
            return None


def failure_of(name: str, detail: str = "") -> PinactorsError:
    """The error that ends a session whose required component `name` has no packet."""
    return PinactorsError(ErrorCode.PROCESSING_ERROR, f"{name.capitalize()} analysis failed", detail)
