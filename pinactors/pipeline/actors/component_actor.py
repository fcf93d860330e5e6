"""The actor of one component in one session: gathers what its functions need, and runs them."""

from __future__ import annotations

from typing import Any

from pinactors.compute import SessionCompute
from pinactors.pipeline.actors.produce import produce
from pinactors.pipeline.actors.restarts import Restarts
from pinactors.pipeline.actors.shared_steps import SharedSteps
from pinactors.pipeline.declaration import Component
from pinactors.protocol import BASIC_NOTE, EncodedPacket


class ComponentActor:
    """`full` and `basic` return the component's packet or raise whatever kept them from it. When they are
    tried, and what a failure means, is its supervisor's to say."""

    def __init__(
        self,
        component: Component,
        context: Any,
        shared_steps: SharedSteps,
        compute: SessionCompute,
        restarts: Restarts,
    ) -> None:
        self.component = component
        self._context = context
        self._shared_steps = shared_steps
        self._compute = compute
        self._restarts = restarts

    def __repr__(self) -> str:
        return f"<ComponentActor {self.component.name}>"

    async def full(self) -> EncodedPacket:
        values = await self._shared_steps.gather(self.component.needs)
        return await self._produce(self.component.full, values, "")

    async def basic(self) -> EncodedPacket:
        assert self.component.basic is not None
        values = await self._shared_steps.gather(self.component.basic_needs)
        return await self._produce(self.component.basic, values, BASIC_NOTE)

    async def _produce(self, function: Any, values: list[Any], note: str) -> EncodedPacket:
        """A worker that dies is an accident: the attempt is repeated, as often as `restarts` allows."""
        packet: EncodedPacket = await self._restarts.repeat(
            self.component.name,
            self._compute.run,
            produce,
            function,
            self.component.packet,
            note,
            self._context,
            *values,
        )
        return packet
