"""Makes one iteration of a long-lived task fail."""

from __future__ import annotations

from typing import Any

import pytest
import trio


def fail_once(patch: pytest.MonkeyPatch, owner: type[Any], method: str, at: int = 1) -> trio.Event:
    """Makes the `at`-th call of an async method raise an exception that no code catches by its type. Returns
    an event that is set when a later call has ended."""
    work, went_on = getattr(owner, method), trio.Event()
    calls = 0

    async def fails_once(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        number = calls
        if number == at:
            raise RuntimeError("nobody foresaw this")
        result = await work(self, *arguments)
        if number > at:
            went_on.set()
        return result

    patch.setattr(owner, method, fails_once)
    return went_on
