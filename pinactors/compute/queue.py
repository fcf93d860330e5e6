"""The queue of jobs that wait for workers: it decides which job runs next. Synchronous, without a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from pinactors.compute import GracePeriod, Priority
from pinactors.compute.workers import Worker


class Sender:
    """A session that submits jobs. `unwanted` has the scopes of its running jobs that are not needed any
    more, `node` is the node of its kept values, `may_keep` whether it can have kept values."""

    def __init__(self, number: int, priority: Priority, grace: GracePeriod) -> None:
        self.number = number
        self.priority = priority
        self.grace = grace
        self.seconds = 0.0
        self.node: str | None = None
        self.may_keep = False
        self.unwanted: set[trio.CancelScope] = set()


class Job:
    """A queued job; `granted` is set when it has a `worker`. The value of a `kept` job is for other jobs;
    that of an `early` one is for the jobs of a session's first result."""

    def __init__(self, sender: Sender, kept: bool, early: bool) -> None:
        self.sender = sender
        self.kept = kept
        self.deferrable = kept and not early
        self.worker: Worker | None = None
        self.granted = trio.Event()


class JobQueue:
    """Waiting jobs, ordered by these criteria: the first number of their sender's priority; results and jobs
    for a session's first result before jobs that only lead to later ones; the rest of the priority; the
    order of the senders; the order of submission.

    Under load every session thus has a first result soon. The remaining jobs are done session by session, so
    that some sessions are complete in time; if sessions alternated, all would be incomplete at their
    deadlines.

    The queue needs no limit of its own: admission limits the sessions, and a session has at most one job for
    each of its shared steps and components.
    """

    def __init__(self) -> None:
        self._waiting: dict[Sender, deque[Job]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def senders(self) -> int:
        """Number of senders with waiting jobs."""
        return len(self._waiting)

    def add(self, sender: Sender, *, kept: bool = False, early: bool = False) -> Job:
        self._count += 1
        job = Job(sender, kept, early)
        self._waiting.setdefault(sender, deque()).append(job)
        return job

    def pop(self, preferred: Callable[[Sender], bool] | None = None) -> Job | None:
        """Removes and returns the job that runs next, or None. Only senders that `preferred` accepts are
        considered, unless there is none."""
        if not self._waiting:
            return None
        preferred_senders = [sender for sender in self._waiting if preferred is None or preferred(sender)]
        sender, job = min(map(self._best, preferred_senders or self._waiting), key=_rank)
        self.discard(sender, job)
        return job

    def _best(self, sender: Sender) -> tuple[Sender, Job]:
        return sender, min(self._waiting[sender], key=lambda job: (job.deferrable, job.kept))

    def discard(self, sender: Sender, job: Job) -> None:
        """Removes a job."""
        jobs = self._waiting[sender]
        jobs.remove(job)
        self._count -= 1
        if not jobs:
            del self._waiting[sender]


def _rank(candidate: tuple[Sender, Job]) -> tuple[Any, ...]:
    sender, job = candidate
    priority = sender.priority()
    return priority[:1], job.deferrable, priority[1:], sender.number
