"""Events that a webhook receives about a session, one per packet, in the format of Standard Webhooks."""

from __future__ import annotations

import msgspec

from pinactors.protocol.merge import kind_of

COMPLETED, FAILED = "session.completed", "session.failed"
RESULT = "result.{}"
"""Type of the event for a component's packet; the placeholder is the component's name."""


class Event(msgspec.Struct, rename="camel"):
    """The body posted to a webhook. `data` is the packet as readers of the stream receive it."""

    type: str
    timestamp: str
    stream_id: str
    data: msgspec.Raw


class _Stamp(msgspec.Struct):
    timestamp: str


_STAMP = msgspec.json.Decoder(_Stamp)


def event_of(packet: bytes, component: str) -> str | None:
    """The type of the event for `packet`, made by `component` (empty if none made it). None for packets
    without an event: those before the first result."""
    if component:
        return RESULT.format(component)
    return {"ANALYSIS_COMPLETE": COMPLETED, "ERROR": FAILED}.get(kind_of(packet))


def body_of(event: str, stream_id: str, packet: bytes) -> bytes:
    """The body of an event, as it is signed and posted."""
    at = _STAMP.decode(packet).timestamp
    return msgspec.json.encode(Event(event, at, stream_id, msgspec.Raw(packet)))


def message_id(stream_id: str, sequence: int) -> str:
    """The `webhook-id` of an event: the same each time it is sent, so that a receiver recognises
    repetitions."""
    return f"msg_{stream_id}_{sequence}"
