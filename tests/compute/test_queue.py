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


def test_answers_and_what_leads_to_a_first_one_go_before_the_rest() -> None:
    """This holds across senders: one sender's first answer does not wait for another's last."""
    queue = JobQueue()
    first, second = Sender(1, alike, zero), Sender(2, alike, zero)
    kept = [queue.add(first, kept=True), queue.add(second, kept=True)]
    early = [queue.add(first, kept=True, early=True), queue.add(second, kept=True, early=True)]
    answer = queue.add(first)
    assert queue.senders == 2
    assert [queue.pop() for _ in range(5)] == [answer, *early, *kept]
    assert queue.senders == 0


def test_what_is_urgent_goes_before_anybodys_first_answer() -> None:
    queue = JobQueue()
    urgent, other = Sender(1, lambda: (-1.0, 9.0), zero), Sender(2, lambda: (0.0, 1.0), zero)
    early, needed = queue.add(other, kept=True, early=True), queue.add(urgent, kept=True)
    assert [queue.pop(), queue.pop()] == [needed, early]


def test_answers_go_by_the_deadline() -> None:
    queue = JobQueue()
    late, soon = Sender(1, lambda: (0.0, 9.0), zero), Sender(2, lambda: (0.0, 1.0), zero)
    jobs = [queue.add(late), queue.add(soon)]
    assert [queue.pop(), queue.pop()] == jobs[::-1]


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
