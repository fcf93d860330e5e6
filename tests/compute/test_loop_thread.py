"""No function ends the loop that it shares with the functions of other sessions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from pinactors.compute.loop_thread import LoopThread, open_loop_thread
from tests.conftest import ErrorLogs

TIMEOUT = 120


async def test_an_exception_at_the_deadline_ends_no_other_call() -> None:
    """A call is cancelled while it waits for two tasks, and one of them raises as it cleans up."""
    token, begun, raised = trio.lowlevel.current_trio_token(), trio.Event(), trio.Event()

    async def fails_when_cancelled() -> None:
        try:
            token.run_sync_soon(begun.set)
            await trio.sleep_forever()
        finally:
            raised.set()
            raise ValueError("its cleaning up")

    async def two_requests() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fails_when_cancelled)

    async def of_another_session() -> str:
        await raised.wait()
        await trio.testing.wait_all_tasks_blocked()
        return "goes on"

    with trio.fail_after(TIMEOUT):
        async with open_loop_thread("plug-in") as loop:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(loop.run, two_requests)
                await begun.wait()
                nursery.cancel_scope.cancel()
            assert await loop.run(of_another_session) == "goes on"


async def test_an_exception_that_ends_the_loop_ends_no_more(
    monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    run_loop = LoopThread._loop

    async def leaves(self: LoopThread, ready: Callable[[], None]) -> None:
        await run_loop(self, ready)
        raise SystemExit(3)

    monkeypatch.setattr(LoopThread, "_loop", leaves)
    with trio.fail_after(TIMEOUT):
        async with open_loop_thread("plug-in"):
            pass
    assert error_logs.take("loop ended")["error"] == "SystemExit(3)"
