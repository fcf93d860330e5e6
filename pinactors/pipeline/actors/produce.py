"""The code that a worker runs for a component: its function, and the check that its packet can be sent.

Workers import this module, which must not import trio: that would delay the first job of each worker by a
third of a second.
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
    """Runs `function` in a worker and returns its packet, encoded, and small enough for the fields that
    packet assembly adds.

    Raises `TimeoutError` if `function` takes longer than `seconds`, and as `checked`.
    """
    return checked(bounded(function, seconds, context, *values), function, expected, note)


def bounded(function: Callable[..., Any], seconds: float | None, *arguments: Any) -> Any:
    """`function(*arguments)`, interrupted by `TimeoutError` after `seconds`, unless that is None. For the
    main thread only. Code that never returns to Python is not interrupted: its worker is killed at the
    session's deadline."""
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


async def produce_in_loop(
    function: Callable[..., Any], expected: type[Packet], note: str, context: Any, *values: Any
) -> EncodedPacket:
    """As `produce`, for an async function in another loop."""
    return checked(await function(context, *values), function, expected, note)


def checked(packet: Any, function: Callable[..., Any], expected: type[Packet], note: str) -> EncodedPacket:
    """Checks and encodes `packet`, which `function` returned.

    `note` is filled in if the packet's type has this field and the function did not set it. Raises
    `TypeError` if the type is not `expected`, and `ValueError` (such as `msgspec.ValidationError`) if the
    packet cannot be sent or would not decode to the same values (a confidence that is NaN).
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
