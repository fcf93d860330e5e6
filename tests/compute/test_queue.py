from __future__ import annotations

from pinactors.compute.queue import JobQueue, Sender


def alike() -> tuple[float, ...]:
    return ()


def zero() -> float:
    return 0.0


def test_the_oldest_sender_goes_first_job_by_job() -> None:
    queue = JobQueue()
    first, second = Sender(1, alike, zero), Sender(2, alike, zero)
    late = queue.add(second)
    jobs = [queue.add(first), queue.add(first)]
    assert len(queue) == 3
    assert [queue.pop(), queue.pop(), queue.pop(), queue.pop()] == [*jobs, late, None]
    assert len(queue) == 0


def test_what_can_be_sent_goes_before_what_only_leads_to_it() -> None:
    """Of one sender: another's finding is not held up by it."""
    queue = JobQueue()
    first, second = Sender(1, alike, zero), Sender(2, alike, zero)
    found = [queue.add(first, kept=True), queue.add(first, kept=True)]
    late = queue.add(second)
    sent = [queue.add(first), queue.add(first)]
    assert [queue.pop() for _ in range(5)] == [*sent, *found, late]


def test_priority_is_asked_when_a_job_is_taken() -> None:
    urgency = {"a": 0.0, "b": 0.0}
    queue = JobQueue()
    first, second = Sender(1, lambda: (urgency["a"],), zero), Sender(2, lambda: (urgency["b"],), zero)
    early, late = queue.add(first), queue.add(second)
    urgency["a"] = 1.0
    assert queue.pop() is late
    assert queue.pop() is early


def test_a_job_nobody_waits_for_is_gone() -> None:
    queue = JobQueue()
    sender = Sender(1, alike, zero)
    gone, stays = queue.add(sender), queue.add(sender)
    queue.discard(sender, gone)
    assert len(queue) == 1
    assert queue.pop() is stays
    assert queue.pop() is None
