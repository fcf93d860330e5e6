"""Waiting by polling, for conditions in other processes and files, which cannot wake a test."""

from __future__ import annotations

from collections.abc import Callable

import trio


async def until(condition: Callable[[], object]) -> None:
    """Returns when `condition()` is true. The caller's cancel scope limits the time."""
    while not condition():  # noqa: ASYNC110 - no event to wait for
        await trio.sleep(0.005)
