"""Declarations of an analysis: its components and shared steps. The pipeline uses components only through
their declarations."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from pinactors.protocol import PACKET_TYPES, TERMINAL, Packet, View, packet_type_of
from pinactors.protocol.merge import ALIASES

INPUTS = {view: f"{view}_image" for view in View}
"""Names of photographs in `needs`; each value is a `StoredImage`, or None if the view was not sent."""

OWNER = "owner"
"""Name in `needs` for the id of the uploading key, which is empty on an open server."""

BUILT_IN = "pinactors"


class Place(StrEnum):
    """Where a function runs: in a worker process or, if it is async, in a trio loop on its own thread."""

    WORKER = "worker"
    LOOP = "loop"


class StepSkipped(Exception):
    """A step was not tried, because it has failed too often or cannot be used at present. Its breaker does
    not count this as a failure."""


@dataclass(frozen=True, slots=True)
class SharedStep:
    """A computation that several components need, done once per session.

    It calls `function(context, *values of needs)`; in a worker this is a module-level function. If every need
    is None the value is None and the function does not run. `decided_by` names another step: if the value of
    that step has a true attribute `decided`, it becomes this step's value too, and the needs are not awaited.
    `early` steps lead to a session's first result and run before steps of other sessions that are not early.
    `seconds` limits one run, unless it is None.
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
    worker they are module-level functions. A need that failed makes the attempt fail. If both fail and the
    component is `required` the session ends with an error. `seconds` limits one run of `full`, unless it is
    None.
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
        """This component with another full analysis; its previous full analysis becomes the basic one."""
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
    function. If `demonstration` is set every packet is marked as a demonstration.

    Raises `ValueError` if a need is unknown, a name is used twice, the needs form a cycle, the name of a
    component or packet type has other characters than letters, digits and `_`, or a packet type has the name
    or a field of another one.
    """

    context: Any
    shared_steps: tuple[SharedStep, ...]
    components: tuple[Component, ...]
    demonstration: bool = False

    def __post_init__(self) -> None:
        known = {*INPUTS.values(), OWNER}
        for step in self.shared_steps:  # each need must be declared before it is used: this excludes cycles
            unknown = {*step.needs, *filter(None, [step.decided_by])} - known
            if unknown or step.name in known:
                raise ValueError(
                    f"shared step {step.name}: unknown or repeated {sorted(unknown) or step.name}"
                )
            known.add(step.name)
        names = {step.name for step in self.shared_steps}
        packets: list[type[Packet]] = []
        for component in self.components:
            unknown = {*component.needs, *component.basic_needs} - known
            if unknown:
                raise ValueError(f"component {component.name}: unknown needs {sorted(unknown)}")
            _check_name(component, names)
            _check_packet(component, packets)
            names.add(component.name)
            packets.append(component.packet)

    def component(self, name: str) -> Component:
        """The component of that name. Raises `KeyError`."""
        return {component.name: component for component in self.components}[name]

    def adding(self, steps: Sequence[SharedStep] = (), components: Sequence[Component] = ()) -> Self:
        """This analysis with further steps and components; a component replaces one of the same name."""
        named = {component.name: component for component in self.components}
        named |= {component.name: component for component in components}
        return replace(self, shared_steps=(*self.shared_steps, *steps), components=tuple(named.values()))


_COMMON_FIELDS = set(Packet.__struct_encode_fields__)
_PIPELINES = TERMINAL | {"CONNECTION_ESTABLISHED", "PROCESSING_STARTED"}

_WORD = re.compile(r"[A-Za-z0-9_]+")
"""Names of components and packet types: stored logs and encoded packets are read back with them."""


def _check_name(component: Component, taken: set[str]) -> None:
    name = component.name
    if not _WORD.fullmatch(name):
        raise ValueError(f"component {name!r}: its name may have only the characters A-Z, a-z, 0-9 and _")
    if name in taken:
        raise ValueError(f"component {name}: another component or a shared step has this name")


def _check_packet(component: Component, others: Sequence[type[Packet]]) -> None:
    """Raises `ValueError` if a component's packet type has a name that cannot be read back, or shares its
    name or fields with another one, such as `others`: clients merge all packets into one object, and a stream
    ends with the first terminal packet."""
    packet, where = component.packet, f"component {component.name}"
    if not issubclass(packet, Packet):
        raise ValueError(f"{where}: {packet.__name__} is not a packet type")
    tag = packet.__struct_config__.tag
    if not isinstance(tag, str) or not _WORD.fullmatch(tag):
        raise ValueError(f"{where}: the packet type {tag!r} may have only the characters A-Z, a-z, 0-9 and _")
    if tag in _PIPELINES or (tag in PACKET_TYPES and not is_own(packet)):
        raise ValueError(f"{where}: the packet type {tag} is not a component's to make")
    if tag in map(packet_type_of, others):
        raise ValueError(f"{where}: another component makes the packet type {tag}")
    if is_own(packet):
        return
    taken = {field for other in (*PACKET_TYPES.values(), *others) for field in other.__struct_encode_fields__}
    if shared := (set(packet.__struct_encode_fields__) - _COMMON_FIELDS) & {*taken, *ALIASES}:
        raise ValueError(f"{where}: fields of other packets: {', '.join(sorted(shared))}")


def is_own(packet: type[Packet]) -> bool:
    """Whether `packet` is a type of the wire contract, not one that a plug-in added."""
    return PACKET_TYPES.get(packet_type_of(packet)) is packet
