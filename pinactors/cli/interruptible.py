"""Runs a command's async function until it ends or Ctrl-C ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import trio
import typer

from pinactors.errors import INTERRUPTED as INTERRUPTED

T = TypeVar("T")


def run(
    function: Callable[..., Awaitable[T]],
    *arguments: Any,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> T | None:
    """Runs the function and returns its result; None if one of the `signals` cancelled it.

    A second signal also kills the workers, so that closing them takes no time; a third ends this process
    where it is. The signals are handled until trio has ended: Python's own handler would raise
    `KeyboardInterrupt` while workers are being closed, and those left would never end.
    """
    result: T | None = None
    scope = trio.CancelScope()
    token: trio.lowlevel.TrioToken | None = None
    received = 0

    def handle(number: int, frame: object) -> None:
        nonlocal received
        received += 1
        if received > 2:
            os._exit(INTERRUPTED)
        if token is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(scope.cancel if received == 1 else _kill_workers)

    async def supervised() -> None:
        nonlocal result, token
        token = trio.lowlevel.current_trio_token()
        with scope:
            if received:
                scope.cancel()
            result = await function(*arguments)

    before = {one: signal.signal(one, handle) for one in signals}
    try:
        trio.run(supervised)
    except (Exception, BaseExceptionGroup) as error:
        if (end := _end_in(error)) is not None:
            raise end from None
        if received < 2 or not isinstance(error, Exception):  # else perhaps of work that lost its worker
            raise
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return result


def _end_in(error: BaseException) -> SystemExit | None:
    """The end of the program if nurseries have made a group of it. Rich ends the program where it prints,
    if nobody reads what it prints any more, as behind `| head`."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, SystemExit) else None


def _kill_workers() -> None:
    for process in multiprocessing.active_children():
        process.kill()


def run_server(function: Callable[[], Awaitable[None]]) -> None:
    """Runs a server, which handles signals by itself while it serves. Ends the program if Ctrl-C ends the
    server before that, or again while it closes."""

    async def served() -> bool:
        await function()
        return True

    if not run(served, signals=[signal.SIGINT]):
        raise typer.Exit(INTERRUPTED)
