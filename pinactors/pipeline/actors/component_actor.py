"""The actor of one component in one session: it gathers the values its functions need, and runs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import trio

from pinactors.compute import ScratchFull, SessionCompute
from pinactors.compute.loop_thread import LoopThread
from pinactors.pipeline.actors.produce import produce, produce_in_loop
from pinactors.pipeline.actors.restarts import Restarts
from pinactors.pipeline.actors.shared_steps import SharedSteps
from pinactors.pipeline.declaration import Component, Place
from pinactors.protocol import BASIC_NOTE, EncodedPacket
from pinactors.tracing import Span


class ComponentActor:
    """Runs a component's functions: `full` and `basic` return its packet or raise the error that prevented
    it. The supervisor decides when to call them and what a failure means. `span` is the parent of their jobs'
    spans. `loop` runs async functions; None if the component has none.
    """

    def __init__(
        self,
        component: Component,
        context: Any,
        shared_steps: SharedSteps,
        compute: SessionCompute,
        loop: LoopThread | None,
        restarts: Restarts,
    ) -> None:
        self.component = component
        self._context = context
        self._shared_steps = shared_steps
        self._compute = compute
        self._loop = loop
        self._restarts = restarts

    def __repr__(self) -> str:
        return f"<ComponentActor {self.component.name}>"

    async def needed(self, span: Span) -> list[Any]:
        """The values that `full` needs. Raises as `SharedSteps.gather` and `SharedSteps.fetch`."""
        return await self._gather(self.component.needs, self.component.place, span)

    async def full(self, span: Span, values: list[Any]) -> EncodedPacket:
        function, place = self.component.full, self.component.place
        return await self._produce(span, function, place, values, "", self.component.seconds)

    async def basic(self, span: Span) -> EncodedPacket:
        assert self.component.basic is not None
        function, place = self.component.basic, self.component.basic_place
        values = await self._gather(self.component.basic_needs, place, span)
        return await self._produce(span, function, place, values, BASIC_NOTE, None)

    async def _gather(self, needs: Sequence[str], place: Place, span: Span) -> list[Any]:
        values = await self._shared_steps.gather(needs)
        if place is Place.LOOP:
            return await self._shared_steps.fetch(self.component.name, values, span)
        return values

    async def _produce(
        self,
        span: Span,
        function: Callable[..., Any],
        place: Place,
        values: list[Any],
        note: str,
        seconds: float | None,
    ) -> EncodedPacket:
        """Runs `function` and returns its packet. If the worker dies the attempt is repeated, as often as
        `restarts` allows. If a needed value is gone, the session ends."""
        name, expected = self.component.name, self.component.packet
        packet: EncodedPacket
        if place is Place.LOOP:
            assert self._loop is not None
            limit_seconds = seconds if seconds is not None else math.inf
            with span.child("job", work=name), trio.fail_after(limit_seconds):
                packet = await self._loop.run(
                    produce_in_loop, function, expected, note, self._context, *values
                )
        else:
            run, context = self._compute.run, self._context
            try:
                packet = await self._restarts.repeat(
                    name, run, produce, function, expected, note, seconds, context, *values, span=span
                )
            except ScratchFull:
                raise self._shared_steps.storage_failed() from None
        return packet
