"""What runs in a worker for a component: its function, and the check that its packet can be sent.

Imported by workers: no trio, whose import would cost the first job of each of them a third of a second.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from pinactors.pipeline.declaration import is_own
from pinactors.protocol import EncodedPacket, Packet


def produce(
    function: Callable[..., Any],
    expected: type[Packet],
    note: str,
    seconds: float | None,
    context: Any,
    *values: Any,
) -> EncodedPacket:
    """Runs in a worker: a component's packet, encoded, small enough for whatever assembly writes into it.

    Raises `TimeoutError` when `function` takes longer than `seconds`, and as `checked`.
    """
    return checked(bounded(function, seconds, context, *values), function, expected, note)


def bounded(function: Callable[..., Any], seconds: float | None, *arguments: Any) -> Any:
    """`function(*arguments)` within `seconds`, where they are given, of the main thread's time. A function
    that never comes back to Python is ended by its session's deadline, with its worker."""
    if seconds is None:
        return function(*arguments)
    signal.signal(signal.SIGALRM, partial(_time_over, function, seconds))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return function(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _time_over(function: Callable[..., Any], seconds: float, *_: object) -> None:
    raise TimeoutError(f"{name_of(function)} took longer than {seconds:g} s")


async def produce_there(
    function: Callable[..., Any], expected: type[Packet], note: str, context: Any, *values: Any
) -> EncodedPacket:
    """As `produce`, of an async function in another loop."""
    return checked(await function(context, *values), function, expected, note)


def checked(packet: Any, function: Callable[..., Any], expected: type[Packet], note: str) -> EncodedPacket:
    """What `function` returned, as a packet that clients can read.

    `note` is set where the packet's type has one and the function left it open. Raises `TypeError` for
    another type than `expected`, `ValueError` (`msgspec.ValidationError` is one) for what cannot be sent or
    would not be read again as it was meant (a confidence that is no number).
    """
    if type(packet) is not expected:
        raise TypeError(f"{name_of(function)} returned {type(packet).__name__}, not {expected.__name__}")
    if note and getattr(packet, "note", "") is UNSET:
        packet = msgspec.structs.replace(packet, note=note)
    encoded: EncodedPacket = packet.encoded()
    msgspec.json.decode(encoded.stamped(b'""', "", 0), type=expected)
    return encoded if is_own(expected) else replace(encoded, facts={})


def name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))
