"""Who runs next: jobs in front of the workers. Synchronous state, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from pinactors.compute import GracePeriod, Priority
from pinactors.compute.workers import Worker


class Sender:
    """A session that sends jobs; `unwanted` are its jobs that run for nobody, `node` is where its values
    are, `keeps` whether there can be any."""

    def __init__(self, number: int, priority: Priority, grace: GracePeriod) -> None:
        self.number = number
        self.priority = priority
        self.grace = grace
        self.seconds = 0.0
        self.node: str | None = None
        self.keeps = False
        self.unwanted: set[trio.CancelScope] = set()


class Job:
    """A place in the queue; `granted` once it has a `worker`. `kept`: its value is for other jobs; `early`:
    for those of a session's first result."""

    def __init__(self, sender: Sender, kept: bool, early: bool) -> None:
        self.sender = sender
        self.kept = kept
        self.later = kept and not early
        self.worker: Worker | None = None
        self.granted = trio.Event()


class JobQueue:
    """Waiting jobs. The lowest first number of their sender's priority goes first; then answers and what
    leads to a session's first one, before what only leads to later ones; then the rest of the priority, the
    sender that came first, and the order in which they came.

    Under load everybody so has a first result soon. The rest is done one session after the other: some are
    then complete in time, where taking turns would have all of them half done at their deadlines.

    It has no bound of its own: admission bounds the sessions, and a session has at most one job for each of
    its shared steps and components (500 x 11 with the defaults).
    """

    def __init__(self) -> None:
        self._waiting: dict[Sender, deque[Job]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def senders(self) -> int:
        """How many have jobs here."""
        return len(self._waiting)

    def add(self, sender: Sender, *, kept: bool = False, early: bool = False) -> Job:
        self._count += 1
        job = Job(sender, kept, early)
        self._waiting.setdefault(sender, deque()).append(job)
        return job

    def pop(self, suits: Callable[[Sender], bool] | None = None) -> Job | None:
        """The job that runs next, or None: of the senders that `suits` where there is one, else of all."""
        if not self._waiting:
            return None
        suited = [sender for sender in self._waiting if suits is None or suits(sender)]
        sender, job = min(map(self._best, suited or self._waiting), key=_rank)
        self.discard(sender, job)
        return job

    def _best(self, sender: Sender) -> tuple[Sender, Job]:
        return sender, min(self._waiting[sender], key=lambda job: (job.later, job.kept))

    def discard(self, sender: Sender, job: Job) -> None:
        """Takes a job out."""
        jobs = self._waiting[sender]
        jobs.remove(job)
        self._count -= 1
        if not jobs:
            del self._waiting[sender]


def _rank(found: tuple[Sender, Job]) -> tuple[Any, ...]:
    sender, job = found
    priority = sender.priority()
    return priority[:1], job.later, priority[1:], sender.number
