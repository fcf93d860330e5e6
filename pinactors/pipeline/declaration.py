"""Declarations: what an analysis consists of. The pipeline knows components by these and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pinactors.protocol import Packet, View

INPUTS = {view: f"{view}_image" for view in View}
"""Names under which the photographs themselves (`StoredImage`, or None when not sent) can be needed."""


@dataclass(frozen=True, slots=True)
class SharedStep:
    """What several components need, computed once a session.

    `function(context, *values of needs)` runs in a worker. It is a module-level function. When every need is
    None the value is None without running. `decided_by` names another step: once that one's value says
    `decided`, it is this step's value too and nothing else is awaited.
    """

    name: str
    needs: tuple[str, ...]
    function: Callable[..., Any]
    decided_by: str | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """One analysis component: it ends in exactly one packet of type `packet`, or is missing.

    `full(context, *values of needs)` and `basic(context, *values of basic_needs)` run in a worker and return
    that packet. A need that failed makes the attempt fail. `required` ends the session when both fail.
    """

    name: str
    packet: type[Packet]
    needs: tuple[str, ...]
    full: Callable[..., Packet]
    basic_needs: tuple[str, ...]
    basic: Callable[..., Packet] | None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole graph of shared steps and components. `context` is picklable and the first argument of every
    function.

    Raises `ValueError` where a need is unknown, a name is used twice, or the needs run in a circle.
    """

    context: Any
    shared_steps: tuple[SharedStep, ...]
    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        known = set(INPUTS.values())
        for step in self.shared_steps:  # declared in an order in which each need is known: no circle can form
            unknown = {*step.needs, *filter(None, [step.decided_by])} - known
            if unknown or step.name in known:
                raise ValueError(
                    f"shared step {step.name}: unknown or repeated {sorted(unknown) or step.name}"
                )
            known.add(step.name)
        names = [component.name for component in self.components]
        packets = [component.packet for component in self.components]
        if len(set(names)) < len(names) or len(set(packets)) < len(packets):
            raise ValueError("two components share a name or a packet type")
        for component in self.components:
            unknown = {*component.needs, *component.basic_needs} - known
            if unknown:
                raise ValueError(f"component {component.name}: unknown needs {sorted(unknown)}")
