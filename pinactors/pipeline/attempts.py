"""One attempt at a piece of work: what of it runs in the worker, and when it is repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import trio
from msgspec import UNSET

from pinactors.compute import WorkerDied
from pinactors.protocol import SESSION_ID_LIMIT, Packet, decode, timestamp

T = TypeVar("T")

BACKOFF_FACTOR = 2.0

_LONGEST_STAMP = {"session_id": '"' * SESSION_ID_LIMIT, "timestamp": timestamp(), "sequence": 99}
"""What assembly will write into a packet, at its longest: a quote takes two bytes in JSON."""


class Restarts:
    """How often each piece of a session's work is repeated after its worker died, and how long it waits
    before.
    """

    def __init__(self, limit: int, backoff: float, noticed: Callable[[str, WorkerDied], None]) -> None:
        self._limit = limit
        self._backoff = backoff
        self._noticed = noticed
        self._deaths: dict[str, int] = {}

    async def _after(self, name: str, error: WorkerDied) -> None:
        """Waits before the next repeat of the work called `name`. Raises `error` when there is none left."""
        self._noticed(name, error)
        deaths = self._deaths.get(name, 0)
        if deaths >= self._limit:
            raise error
        self._deaths[name] = deaths + 1
        await trio.sleep(self._backoff * BACKOFF_FACTOR**deaths)

    async def repeat(self, name: str, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """`await work(*arguments)`, again after its worker died. What else it raises is final."""
        while True:
            try:
                return await work(*arguments)
            except WorkerDied as error:
                await self._after(name, error)


def produce(
    function: Callable[..., Any], expected: type[Packet], note: str, context: Any, *values: Any
) -> Packet:
    """Runs in a worker: a component's packet, cut to what fits the wire whatever assembly stamps on it.

    `note` is set where the packet's type has one and the function left it open. What comes back went through
    JSON, so that a packet clients could not read is a failure of its component. Raises `TypeError` when the
    function returns another type, `ValueError` (`msgspec.ValidationError` is one) for what cannot be sent.
    """
    packet = function(context, *values)
    if type(packet) is not expected:
        raise TypeError(f"{function.__qualname__} returned {type(packet).__name__}, not {expected.__name__}")
    if note and getattr(packet, "note", "") is UNSET:
        packet = msgspec.structs.replace(packet, note=note)
    return decode(msgspec.structs.replace(packet, **_LONGEST_STAMP).encode())
