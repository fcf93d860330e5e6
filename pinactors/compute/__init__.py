"""Where CPU work runs: one small interface, worker processes behind it here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


class WorkerDied(Exception):
    """The worker process ended without an answer (killed, crashed, out of memory): worth another try."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A value that stays outside the event loop's process: a file the workers map into memory.

    `decided` copies the value's own attribute of that name (False where it has none).
    """

    path: str
    decided: bool = False


class Compute(Protocol):
    """Runs module-level functions on picklable arguments; a `Handle` among them arrives as its value.

    Cancelling either call really stops the work and frees its CPU. The function's own exception is raised as
    it was; `WorkerDied` when the process ended instead.
    """

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any: ...

    async def keep(self, folder: str, function: Callable[..., Any], *arguments: Any) -> Handle | None:
        """Like `run`, but the result stays in `folder` and its handle is returned (None for a None)."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A compute that can say how it is doing."""

    def statistics(self) -> dict[str, Any]:
        """`workers`, `busy`, `queued`, `restarts`."""
        ...


@runtime_checkable
class PrioritisedCompute(Protocol):
    """A compute that can ask who sent a job how urgent it is: lower first, whenever a worker is free."""

    def prioritised(self, priority: Callable[[], float]) -> Compute: ...


def for_sender(compute: Compute) -> Callable[[Callable[[], float]], Compute]:
    """Makes, of a sender's priority, its view of `compute`; that itself where it knows no priorities."""
    return compute.prioritised if isinstance(compute, PrioritisedCompute) else lambda priority: compute
