"""Calls that share a thread: together while one is busy, each with its own answer, none left behind."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import outcome
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pinactors.records import Records, analyses
from pinactors.records.sharing import Sharing
from pinactors.settings import Settings
from tests.records.samples import NOW, record

Functions = Sequence[Callable[..., Any]]


class Thread:
    """Runs what it is given once `gate` is open; `batches` says how many at a time."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[int] = []

    def run(self, functions: Functions) -> list[outcome.Outcome[Any]]:
        self.batches.append(len(functions))
        assert self.gate.wait(10)
        return [outcome.capture(function) for function in functions]


async def test_what_waits_at_the_same_moment_goes_together() -> None:
    thread = Thread()
    sharing = Sharing(thread.run, 1)
    answers: dict[int, int] = {}

    async def call(number: int) -> None:
        answers[number] = await sharing.call(lambda: 10 * number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(call, number)
            await wait_all_tasks_blocked()
        thread.gate.set()
    assert thread.batches == [1, 4]
    assert answers == {number: 10 * number for number in range(5)}


async def test_each_gets_its_own_failure() -> None:
    thread = Thread()
    thread.gate.set()
    sharing = Sharing(thread.run, 1)
    with pytest.raises(ZeroDivisionError):
        await sharing.call(lambda: 1 // 0)
    assert await sharing.call(lambda: 1) == 1


async def test_a_cancelled_call_leaves_the_queue_and_one_that_has_begun_is_finished() -> None:
    thread = Thread()
    sharing = Sharing(thread.run, 1)
    done: list[str] = []

    async def call(name: str, scope: trio.CancelScope) -> None:
        with scope:
            await sharing.call(lambda: done.append(name))

    begun, waiting, patient = trio.CancelScope(), trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        for name, scope in (("begun", begun), ("waiting", waiting), ("patient", patient)):
            nursery.start_soon(call, name, scope)
            await wait_all_tasks_blocked()
        begun.cancel()
        waiting.cancel()
        await wait_all_tasks_blocked()
        assert waiting.cancelled_caught
        thread.gate.set()
    assert done == ["begun", "patient"]


async def test_a_run_that_breaks_is_everybodys_failure_and_not_the_end() -> None:
    def broken(functions: Functions) -> list[outcome.Outcome[Any]]:
        raise RuntimeError("no thread")

    sharing = Sharing(broken, 1)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await sharing.call(lambda: None)


async def test_one_bad_record_does_not_take_the_others_of_its_transaction_with_it(settings: Settings) -> None:
    records = await Records.open(settings)
    numbers: list[int] = []
    gate = threading.Event()

    async def save(stream_id: str) -> None:
        numbers.append(await records.save(record(stream_id=stream_id), lambda number: b"{}"))

    async def fail() -> None:
        def work(database: Any) -> None:
            analyses.save(database, record(stream_id="never"), lambda number: b"{}", NOW, settings.data)
            raise KeyError("bad")

        with pytest.raises(KeyError):
            await records._store.write(work)

    async with trio.open_nursery() as nursery:
        for _ in range(4):  # as many as there are writers: the next ones have to share
            nursery.start_soon(records._store.write, lambda database: gate.wait(10))
        await wait_all_tasks_blocked()
        nursery.start_soon(save, "one")
        nursery.start_soon(fail)
        nursery.start_soon(save, "two")
        await wait_all_tasks_blocked()
        gate.set()
    assert len(set(numbers)) == 2
    assert await records.stream("never") is None
    assert await records.stream("one") is not None
    assert await records.stream("two") is not None
    await records.close()
