"""Runs CPU work in worker processes of this machine (`compute.local.processes`) or of a Ray cluster
(`compute.ray`).

Input: module-level functions with picklable arguments. Output: their return values. Nothing here depends on
what the functions do; of a session only a name, a priority and a grace period are used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol


class WorkerDied(Exception):
    """The worker process ended without an answer (killed, crashed); the job may be repeated."""


class OutOfMemory(Exception):
    """A function needed more memory than a worker may use; repeating the job would fail again."""


class ScratchFull(Exception):
    """A value could not be kept for other jobs, because the disk is full or cannot be written; or a kept
    value is gone, because somebody removed its file."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Refers to a value outside the event loop's process, in a file that workers map into memory.

    `decided` is a copy of the value's attribute of that name (False if it has none).
    """

    path: str
    decided: bool = False


GracePeriod = Callable[[], float]
"""Returns seconds; called when a job is cancelled. The job may run for so long, so that its worker need not
be killed; the caller does not wait and the result is dropped. With 0 the worker is killed, and the cancelled
call returns when the worker has ended."""

Priority = Callable[[], tuple[float, ...]]
"""Returns a session's priority; called whenever a worker is free. Lower values run first; the first number
takes precedence over all other criteria of the queue."""


class SessionCompute(Protocol):
    """Runs the jobs of one session. The function receives the value of a `Handle` among the arguments.

    Cancelling a call stops the job and frees its CPU, at once or after the grace period. An exception of the
    function is raised unchanged; `WorkerDied` if the process ended, `OutOfMemory` if it lacked memory,
    `ScratchFull` if a kept value is gone.
    """

    @property
    def seconds(self) -> float:
        """Time that workers have spent on the session's jobs."""
        ...

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any: ...

    async def keep(self, function: Callable[..., Any], *arguments: Any, early: bool = False) -> Any:
        """As `run`, but the result stays outside this process, and a handle to it is returned (None if the
        result is None); the handle has the result's `decided`. Such jobs run after all sessions' jobs of
        `run`, unless they are `early`: needed for a session's first result. Also raises `ScratchFull`."""
        ...

    async def fetch(self, value: Any) -> Any:
        """`value`, or the value it is a handle of, for functions that do not run in a worker."""
        ...

    def stop(self) -> None:
        """Ends cancelled jobs that still run in their grace period at once."""
        ...


class Compute(Protocol):
    """The workers that all sessions share."""

    def session(
        self, name: str, priority: Priority, grace: GracePeriod
    ) -> AbstractAsyncContextManager[SessionCompute]:
        """Runs jobs of the session `name` while inside; kept values are removed at the end."""
        ...

    def statistics(self) -> dict[str, Any]:
        """`workers` ready or busy; `busy` ones; `queued` jobs; `waiting` sessions, which have queued jobs;
        `restarts` so far; `scratchFull`: whether a value could not be kept and none has been since."""
        ...
