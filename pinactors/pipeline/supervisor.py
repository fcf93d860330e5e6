"""One component in one session: full analysis, then basic, then the admission that there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from pinactors.compute import Compute
from pinactors.pipeline.assembly import Result
from pinactors.pipeline.attempts import Restarts, produce
from pinactors.pipeline.breaker import Breaker
from pinactors.pipeline.component import Component
from pinactors.pipeline.course import Outcome
from pinactors.pipeline.deadline import Deadline
from pinactors.pipeline.findings import FindingFailed, Findings
from pinactors.pipeline.metrics import Metrics
from pinactors.protocol import BASIC_NOTE, ErrorCode, Packet, PinactorsError


class Supervisor:
    """The actor of one component; sends exactly one `Result` unless the session ends before it has one.

    A worker that dies is an accident: the attempt is repeated, with backoff, as often as `restarts` allows in
    this session. Any other failure is final, and so is running out of time: then `basic` has its turn, for
    which `deadline` keeps a reserve. A breaker that is open goes straight to `basic`.
    """

    def __init__(
        self,
        component: Component,
        context: Any,
        findings: Findings,
        compute: Compute,
        deadline: Deadline,
        breaker: Breaker,
        restarts: Restarts,
        results: trio.MemorySendChannel[Result],
        fail: Callable[[PinactorsError], None],
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._component = component
        self._context = context
        self._findings = findings
        self._compute = compute
        self._deadline = deadline
        self._breaker = breaker
        self._restarts = restarts
        self._results = results
        self._fail = fail
        self._metrics = metrics
        self._session_log = log

    def __repr__(self) -> str:
        return f"<Supervisor {self._component.name}>"

    @property
    def _log(self) -> structlog.stdlib.BoundLogger:
        """Bound when something is to be said: a waiting session need not hold five of them."""
        return self._session_log.bind(component=self._component.name)

    async def run(self) -> None:
        """Returns when the result is sent."""
        component, started = self._component, trio.current_time()
        with self._findings.holding(component.basic_needs):
            packet, outcome = await self._full(), Outcome.FULL
            if packet is None:
                packet, outcome = await self._basic(), Outcome.BASIC
            if packet is None:
                outcome = Outcome.FAILED
                if component.required:
                    message = f"{component.name.capitalize()} analysis failed"
                    self._fail(PinactorsError(ErrorCode.PROCESSING_ERROR, message))
            self._results.send_nowait(Result(component, outcome, packet))  # has room for every component
        seconds = trio.current_time() - started
        self._metrics.component_seconds.labels(component.name).observe(seconds)
        self._metrics.components.labels(component.name, outcome).inc()
        self._log.info("component ended", outcome=outcome, seconds=round(seconds, 3))

    async def _full(self) -> Packet | None:
        component = self._component
        with self._breaker.attempt() as trial:
            if trial is None:
                self._log.info("full analysis skipped", reason="breaker open")
                return None
            with self._deadline.full() as scope:
                try:
                    values = await self._findings.gather(component.needs)
                    packet = await self._attempt(component.full, values, note="")
                except Exception as error:  # noqa: BLE001 - the actor's boundary: basic analysis follows
                    if not _upload_to_blame(error):
                        trial.failed()
                    self._log.warning("full analysis failed", error=repr(error))
                else:
                    trial.succeeded()
                    return packet
            if scope.cancelled_caught:
                trial.failed()
                self._log.warning("full analysis failed", error="out of time")
            return None

    async def _basic(self) -> Packet | None:
        component = self._component
        if component.basic is None:
            self._log.error("component missing", error="there is no basic analysis")
            return None
        try:
            values = await self._findings.gather(component.basic_needs)
            return await self._attempt(component.basic, values, note=BASIC_NOTE)
        except Exception as error:  # noqa: BLE001 - the actor's boundary: the component is missing
            self._log.error("component missing", error=repr(error))
            return None

    def _attempt(self, function: Callable[..., Packet], values: list[Any], note: str) -> Awaitable[Packet]:
        name, expected = self._component.name, self._component.packet
        run, context = self._compute.run, self._context
        return self._restarts.repeat(name, run, produce, function, expected, note, context, *values)


def _upload_to_blame(error: BaseException | None) -> bool:
    """A refused photograph or a cut upload says nothing about a component: it must not trip breakers."""
    while isinstance(error, FindingFailed):
        error = error.__cause__
    return isinstance(error, PinactorsError)
