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
        """Like `run`, but the result stays in `folder` and its handle is returned (None for a None). Of what
        one sender has waiting, what is to be kept runs last: it is nobody's answer yet."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A compute that can say how it is doing."""

    def statistics(self) -> dict[str, Any]:
        """`workers`, `busy`, `queued`, `restarts`."""
        ...


class ComputeView(Compute, Protocol):
    """A compute as one sender of jobs sees it; `seconds` is what its jobs have cost the workers."""

    @property
    def seconds(self) -> float: ...

    def stop(self) -> None:
        """Ends at once what goes on of cancelled jobs."""
        ...


Number = Callable[[], float]
Priority = Callable[[], tuple[float, ...]]


@runtime_checkable
class SharedCompute(Protocol):
    """A compute that knows its senders apart."""

    def view(self, priority: Priority, grace: Number) -> ComputeView:
        """For one sender. `priority` is asked whenever a worker is free: lower first.

        `grace` is asked when a job is cancelled: so many seconds it may still go on to spare its worker,
        unwanted; the caller does not wait for it. With 0 it is killed, and the call returns when it is
        gone.
        """
        ...


class PlainView:
    """The view of a compute that does not know its senders apart."""

    seconds = 0.0

    def __init__(self, compute: Compute) -> None:
        self.run = compute.run
        self.keep = compute.keep

    def stop(self) -> None:
        """Cancelled jobs are gone already."""


def view_of(compute: Compute, priority: Priority, grace: Number) -> ComputeView:
    """`compute` for one sender, with what it can do of `SharedCompute.view`."""
    return compute.view(priority, grace) if isinstance(compute, SharedCompute) else PlainView(compute)
