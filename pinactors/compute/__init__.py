"""Where CPU work runs: worker processes of this machine (`compute.local.processes`), or of others.

Comes in: module-level functions with picklable arguments; goes out: what they return. Nothing here knows what
the functions do, nor what a session is beside a name, a priority and a grace period.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol


class WorkerDied(Exception):
    """The worker process ended without an answer (killed, crashed): worth another try."""


class OutOfMemory(Exception):
    """A function needed more memory than a worker may have: another try would need as much."""


class ScratchFull(Exception):
    """A value could not be kept for other jobs: the disk is full, or cannot be written."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A value that stays outside the event loop's process: a file the workers map into memory.

    `decided` copies the value's own attribute of that name (False where it has none).
    """

    path: str
    decided: bool = False


GracePeriod = Callable[[], float]
"""Seconds, asked for when a job is cancelled: so long may it still go on to spare its worker, unwanted; the
caller does not wait for it. With 0 it is killed, and the call returns when it is gone."""

Priority = Callable[[], tuple[float, ...]]
"""Asked for whenever a worker is free: lower goes first, by the first number before anything else."""


class SessionCompute(Protocol):
    """Runs the jobs of one session. A `Handle` among the arguments arrives as its value.

    Cancelling a call really stops the work and frees its CPU, at once or after the grace period. The
    function's own exception is raised as it was; `WorkerDied` when the process ended instead, `OutOfMemory`
    when it had not enough memory.
    """

    @property
    def seconds(self) -> float:
        """What its jobs have cost the workers."""
        ...

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any: ...

    async def keep(self, function: Callable[..., Any], *arguments: Any, early: bool = False) -> Any:
        """Like `run`, but the result stays where it is and its handle is returned (None for a None), whose
        `decided` is the value's own. What is to be kept is nobody's answer yet: it waits for what is, of all
        sessions, unless it is `early`, needed for a first answer. Raises `ScratchFull` as well."""
        ...

    async def fetch(self, value: Any) -> Any:
        """`value` itself, or what it is the handle of: for functions that run nowhere near the workers."""
        ...

    def stop(self) -> None:
        """Ends at once what goes on of cancelled jobs."""
        ...


class Compute(Protocol):
    """The workers that all sessions share."""

    def session(
        self, name: str, priority: Priority, grace: GracePeriod
    ) -> AbstractAsyncContextManager[SessionCompute]:
        """Jobs of the session `name` while inside; what they kept is removed behind it."""
        ...

    def statistics(self) -> dict[str, Any]:
        """`workers` ready or busy, `busy`, `queued` jobs, those of `waiting` sessions, `restarts` so far,
        `scratch_full`: whether the last value that was to be kept could not be."""
        ...
