"""Waiting for what only looking tells: other processes and files do not wake a test."""

from __future__ import annotations

from collections.abc import Callable

import trio


async def until(condition: Callable[[], object]) -> None:
    """Returns once `condition()` is true; the caller's scope says how long there is."""
    while not condition():  # noqa: ASYNC110 - nothing wakes us
        await trio.sleep(0.005)
