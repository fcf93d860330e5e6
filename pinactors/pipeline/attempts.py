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
    """How often one piece of work may still be repeated after its worker died, and how long it waits
    before.
    """

    __slots__ = ("_left", "_noticed", "_pause", "_work")

    def __init__(
        self, work: str, limit: int, backoff: float, noticed: Callable[[str, WorkerDied], None]
    ) -> None:
        self._work = work
        self._left = limit
        self._pause = backoff
        self._noticed = noticed

    async def after(self, error: WorkerDied) -> None:
        """Waits before the next repeat. Raises `error` when there is none left."""
        self._noticed(self._work, error)
        if self._left <= 0:
            raise error
        self._left -= 1
        pause, self._pause = self._pause, self._pause * BACKOFF_FACTOR
        await trio.sleep(pause)


async def repeated(restarts: Restarts, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """`await work(*arguments)`, again after its worker died. Whatever else it raises is final: it would do so
    again.
    """
    while True:
        try:
            return await work(*arguments)
        except WorkerDied as error:
            await restarts.after(error)


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
