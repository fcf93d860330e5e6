"""What runs in a worker for a component: its function, and the check that its packet can be sent.

Imported by workers: no trio, whose import would cost the first job of each of them a third of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from pinactors.protocol import EncodedPacket, Packet


def produce(
    function: Callable[..., Any], expected: type[Packet], note: str, context: Any, *values: Any
) -> EncodedPacket:
    """Runs in a worker: a component's packet, encoded, small enough for whatever assembly writes into it."""
    return checked(function(context, *values), function, expected, note)


def checked(packet: Any, function: Callable[..., Any], expected: type[Packet], note: str) -> EncodedPacket:
    """What `function` returned, as a packet that clients can read.

    `note` is set where the packet's type has one and the function left it open. Raises `TypeError` for
    another type than `expected`, `ValueError` (`msgspec.ValidationError` is one) for what cannot be sent or
    would not be read again as it was meant (a confidence that is no number).
    """
    if type(packet) is not expected:
        raise TypeError(f"{function.__qualname__} returned {type(packet).__name__}, not {expected.__name__}")
    if note and getattr(packet, "note", "") is UNSET:
        packet = msgspec.structs.replace(packet, note=note)
    encoded: EncodedPacket = packet.encoded()
    msgspec.json.decode(encoded.stamped(b'""', "", 0), type=expected)
    return encoded
