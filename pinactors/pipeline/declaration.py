"""Declarations: what an analysis consists of. The pipeline knows components by these and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import msgspec

from pinactors.protocol import TERMINAL, AnyPacket, Packet, View

INPUTS = {view: f"{view}_image" for view in View}
"""Names under which the photographs themselves (`StoredImage`, or None when not sent) can be needed."""

OWNER = "owner"
"""Name under which the id of the uploading key (empty on an open server) can be needed."""

BUILT_IN = "pinactors"


class Place(StrEnum):
    """Where a function runs: in a worker process, or, an async one, in a trio loop beside the server's."""

    WORKER = "worker"
    LOOP = "loop"


class StepSkipped(Exception):
    """A step was not tried: it has failed too often, or it is not the time for it. Its breaker does not count
    that."""


@dataclass(frozen=True, slots=True)
class SharedStep:
    """What several components need, computed once a session.

    `function(context, *values of needs)`: in a worker it is a module-level function. When every need is None
    the value is None without running. `decided_by` names another step: once that one's value says `decided`,
    it is this step's value too and nothing else is awaited. `early`: a session's first result needs it, so
    that it goes before other sessions' steps that are not. `seconds` bounds one run, where it is not None.
    """

    name: str
    needs: tuple[str, ...]
    function: Callable[..., Any]
    decided_by: str | None = None
    early: bool = False
    place: Place = Place.WORKER
    seconds: float | None = None
    declared_by: str = BUILT_IN


@dataclass(frozen=True, slots=True)
class Component:
    """One analysis component: it ends in exactly one packet of type `packet`, or is missing.

    `full(context, *values of needs)` and `basic(context, *values of basic_needs)` return that packet; in a
    worker they are module-level functions. A need that failed makes the attempt fail. `required` ends the
    session when both fail. `seconds` bounds one run of `full`, where it is not None.
    """

    name: str
    packet: type[Packet]
    needs: tuple[str, ...]
    full: Callable[..., Any]
    basic_needs: tuple[str, ...]
    basic: Callable[..., Any] | None
    required: bool = False
    place: Place = Place.WORKER
    basic_place: Place = Place.WORKER
    seconds: float | None = None
    declared_by: str = BUILT_IN

    def wrapped(
        self,
        full: Callable[..., Any],
        needs: tuple[str, ...],
        *,
        place: Place = Place.WORKER,
        seconds: float | None = None,
    ) -> Self:
        """This component with another full analysis; what was its own becomes the basic one."""
        return replace(
            self,
            full=full,
            needs=needs,
            place=place,
            seconds=seconds,
            basic=self.full,
            basic_needs=self.needs,
            basic_place=self.place,
        )


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole graph of shared steps and components. `context` is picklable and the first argument of every
    function. `demonstration`: every packet says that it is one.

    Raises `ValueError` where a need is unknown, a name is used twice, the needs run in a circle, or a packet
    type is or says what another one has to say.
    """

    context: Any
    shared_steps: tuple[SharedStep, ...]
    components: tuple[Component, ...]
    demonstration: bool = False

    def __post_init__(self) -> None:
        known = {*INPUTS.values(), OWNER}
        for step in self.shared_steps:  # declared in an order in which each need is known: no circle can form
            unknown = {*step.needs, *filter(None, [step.decided_by])} - known
            if unknown or step.name in known:
                raise ValueError(
                    f"shared step {step.name}: unknown or repeated {sorted(unknown) or step.name}"
                )
            known.add(step.name)
        names = [component.name for component in self.components]
        packets = [_tag(component.packet) for component in self.components]
        if len(set(names)) < len(names) or len(set(packets)) < len(packets):
            raise ValueError("two components share a name or a packet type")
        if set(names) & {step.name for step in self.shared_steps}:
            raise ValueError("a component and a shared step share a name")
        for component in self.components:
            unknown = {*component.needs, *component.basic_needs} - known
            if unknown:
                raise ValueError(f"component {component.name}: unknown needs {sorted(unknown)}")
            _check_packet(component)

    def component(self, name: str) -> Component:
        """Raises `KeyError`."""
        return {component.name: component for component in self.components}[name]

    def adding(self, steps: Sequence[SharedStep] = (), components: Sequence[Component] = ()) -> Self:
        """With further steps and components; a component of a name that is there takes that one's place."""
        named = {component.name: component for component in self.components}
        named |= {component.name: component for component in components}
        return replace(self, shared_steps=(*self.shared_steps, *steps), components=tuple(named.values()))


def _tag(packet: type[Packet]) -> str:
    return str(packet.__struct_config__.tag)


_OWN = {_tag(packet): packet for packet in AnyPacket.__args__}
_TAKEN = {field for packet in _OWN.values() for field in packet.__struct_encode_fields__}
_ENVELOPE = set(Packet.__struct_encode_fields__)
_PIPELINES = TERMINAL | {"CONNECTION_ESTABLISHED", "PROCESSING_STARTED"}


def _check_packet(component: Component) -> None:
    """A client merges all packets into one object, and a stream ends with the first terminal one: a new
    packet type may neither pass for another nor have fields of the same name."""
    packet, tag = component.packet, _tag(component.packet)
    if tag in _PIPELINES or (tag in _OWN and _OWN[tag] is not packet):
        raise ValueError(f"component {component.name}: the packet type {tag} is not a component's to make")
    if tag in _OWN:
        return
    if not issubclass(packet, Packet) or not issubclass(packet, msgspec.Struct):
        raise ValueError(f"component {component.name}: {packet.__name__} is no packet type")
    if taken := (set(packet.__struct_encode_fields__) - _ENVELOPE) & _TAKEN:
        raise ValueError(f"component {component.name}: fields of other packets: {', '.join(sorted(taken))}")


def is_own(packet: type[Packet]) -> bool:
    """Whether it is one of the wire contract's types, not one that a plug-in added."""
    return _OWN.get(_tag(packet)) is packet
