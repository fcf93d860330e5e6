"""What supervises a component's actor: full analysis, then basic, then the admission that there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import trio

from pinactors.pipeline.actors.breaker import State
from pinactors.pipeline.actors.component_actor import ComponentActor
from pinactors.pipeline.actors.messages import Message, Result
from pinactors.pipeline.actors.shared_steps import SharedSteps
from pinactors.pipeline.services import Services
from pinactors.pipeline.state import Outcome
from pinactors.pipeline.time_limits import TimeLimits
from pinactors.protocol import EncodedPacket, ErrorCode, PinactorsError
from pinactors.tracing import Span


class Supervisor:
    """Sends exactly one `Result`, unless the session ends before it has one.

    A failure of full analysis is final, and so is running out of time: then `basic` is tried, for which the
    time limits keep a reserve. An open breaker goes straight to `basic`. `failed` is called when a
    required component has no packet.
    """

    def __init__(
        self,
        actor: ComponentActor,
        shared_steps: SharedSteps,
        limits: TimeLimits,
        services: Services,
        messages: trio.MemorySendChannel[Message],
        failed: Callable[[PinactorsError], None],
        log: structlog.stdlib.BoundLogger,
        span: Span,
    ) -> None:
        self._actor = actor
        self._shared_steps = shared_steps
        self._limits = limits
        self._breaker = services.breakers[actor.component.name]
        self._messages = messages
        self._failed = failed
        self._metrics = services.metrics
        self._session_log, self._session_span = log, span

    def __repr__(self) -> str:
        return f"<Supervisor {self._actor.component.name}>"

    @property
    def _log(self) -> structlog.stdlib.BoundLogger:
        """Bound when something is to be said: a waiting session need not hold five of them."""
        return self._session_log.bind(component=self._actor.component.name)

    async def run(self) -> None:
        """Returns when the result is sent."""
        component, started = self._actor.component, trio.current_time()
        span = self._session_span.child("component", component=component.name)
        with span, self._shared_steps.wanting(component.basic_needs):
            packet, outcome = await self._full(span), Outcome.FULL
            if packet is None:
                packet, outcome = await self._basic(span), Outcome.BASIC
            if packet is None:
                outcome = Outcome.FAILED
                if component.required:
                    self._failed(failure_of(component.name))
            span.note(outcome=outcome)
            self._messages.send_nowait(Result(component, outcome, packet))  # the channel has room for it
        seconds = trio.current_time() - started
        self._metrics.component_seconds.labels(component.name).observe(seconds)
        self._metrics.components.labels(component.name, outcome).inc()
        said = self._log.debug if outcome is Outcome.FULL else self._log.info
        said("component ended", outcome=outcome, seconds=round(seconds, 3))

    async def _full(self, span: Span) -> EncodedPacket | None:
        """None when there is none. What is not the component's doing says nothing to its breaker: running out
        of time, which may be the queue's or the client's, a refused photograph, a step it only needed."""
        if self._breaker.state is State.OPEN:
            self._log.info("full analysis skipped", reason="breaker open")
            return None
        with self._limits.full_analysis():
            try:
                values = await self._actor.needed()
                return await self._attempt(span, values)
            except Exception as error:  # noqa: BLE001 - the actor's boundary: basic analysis follows
                self._log.warning("full analysis failed", error=repr(error))
                return None
        self._log.warning("full analysis failed", error="out of time")
        return None

    async def _attempt(self, span: Span, values: list[Any]) -> EncodedPacket | None:
        """Begins when all that is needed is there: of a breaker that lets one attempt through, a phone that
        sends slowly must not keep the others waiting."""
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
        except Exception as error:  # noqa: BLE001 - the actor's boundary: the component is missing
            self._log.error("component missing", error=repr(error))
            return None


def failure_of(name: str, detail: str = "") -> PinactorsError:
    """What ends a session whose required component `name` has no packet."""
    return PinactorsError(ErrorCode.PROCESSING_ERROR, f"{name.capitalize()} analysis failed", detail)
