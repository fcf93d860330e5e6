from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pinactors.storage.disk import DiskThread
from tests.conftest import ErrorLogs


async def test_operations_run_in_order_on_one_thread_and_share_its_calls() -> None:
    disk = DiskThread()
    ran: list[tuple[int, int]] = []
    begun, gate = trio.Event(), threading.Event()

    def first() -> None:
        trio.from_thread.run_sync(begun.set)
        assert gate.wait(60)

    def note(number: int) -> int:
        ran.append((number, threading.get_ident()))
        return number

    with trio.fail_after(60):
        async with trio.open_nursery() as serving:
            serving.start_soon(disk.serve)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disk.run, first)
                await begun.wait()
                for number in range(5):
                    nursery.start_soon(disk.run, partial(note, number))
                    await wait_all_tasks_blocked()
                assert ran == []  # they wait for the first one; the event loop does not
                gate.set()
            assert await disk.run(partial(note, 5)) == 5
            disk.close()
    assert [number for number, _ in ran] == list(range(6))
    assert len({thread for _, thread in ran[:5]}) == 1
    assert threading.get_ident() not in {thread for _, thread in ran}


async def test_an_operation_that_raises_concerns_its_caller_alone() -> None:
    disk = DiskThread()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disk.serve)

            def fail() -> None:
                raise OSError("no space")

            with pytest.raises(OSError, match="no space"):
                await disk.run(fail)
            assert await disk.run(lambda: 7) == 7
            disk.close()


async def test_what_has_begun_is_not_cancelled_and_what_has_not_does_not_happen() -> None:
    disk = DiskThread()
    begun, gate = trio.Event(), threading.Event()
    done: list[str] = []

    def operation(name: str) -> None:
        if name == "begun":
            trio.from_thread.run_sync(begun.set)
            assert gate.wait(60)
        done.append(name)

    with trio.fail_after(60):
        async with trio.open_nursery() as serving:
            serving.start_soon(disk.serve)
            async with trio.open_nursery() as nursery:

                async def call(name: str) -> None:
                    work: Callable[[], None] = partial(operation, name)
                    await disk.run(work)

                nursery.start_soon(call, "begun")
                await begun.wait()
                nursery.start_soon(call, "waiting")
                await wait_all_tasks_blocked()
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                gate.set()
            disk.close()
    assert done == ["begun"]


async def test_a_thread_that_cannot_be_had_is_its_callers_failure_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    disk = DiskThread()

    async def no_thread(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disk.serve)
            with monkeypatch.context() as patched:
                patched.setattr(trio.to_thread, "run_sync", no_thread)
                with pytest.raises(OSError, match="no thread"):
                    await disk.run(lambda: 7)
            assert await disk.run(lambda: 7) == 7
            disk.close()
    error_logs.take("disk operations not run")
