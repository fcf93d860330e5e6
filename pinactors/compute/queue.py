"""Who runs next: jobs in front of the workers. Synchronous state, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

Priority = Callable[[], float]
"""Asked when a place is free, lower first: it may change while a job waits."""


class Job:
    """A place in the queue; `granted` once a worker is `worker`'s."""

    __slots__ = ("granted", "number", "worker")

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: int | None = None
        self.granted = trio.Event()


class JobQueue:
    """Waiting jobs, by who sent them: lowest priority first, then first come, first served.

    It has no bound of its own: admission bounds the sessions, and a session has at most one job for each of
    its findings and components (500 x 11 with the defaults).
    """

    def __init__(self) -> None:
        self._waiting: dict[Priority, deque[Job]] = {}
        self._count = 0
        self._numbers = 0

    def __len__(self) -> int:
        return self._count

    def add(self, priority: Priority) -> Job:
        self._numbers += 1
        self._count += 1
        job = Job(self._numbers)
        self._waiting.setdefault(priority, deque()).append(job)
        return job

    def pop(self) -> Job | None:
        """The job that runs next, or None."""
        if not self._waiting:
            return None
        priority = min(self._waiting, key=lambda each: (each(), self._waiting[each][0].number))
        job = self._waiting[priority][0]
        self._forget(priority, job)
        return job

    def discard(self, priority: Priority, job: Job) -> None:
        """Takes a job out that nobody waits for any more."""
        self._forget(priority, job)

    def _forget(self, priority: Priority, job: Job) -> None:
        jobs = self._waiting[priority]
        jobs.remove(job)
        self._count -= 1
        if not jobs:
            del self._waiting[priority]
