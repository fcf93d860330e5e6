"""Events: what a webhook is told of a session, one event a packet, in the shape of Standard Webhooks."""

from __future__ import annotations

import msgspec

from pinactors.protocol.merge import kind_of

COMPLETED, FAILED = "session.completed", "session.failed"
RESULT = "result.{}"
"""Of a component, by its name."""


class Event(msgspec.Struct, rename="camel"):
    """The body posted to a webhook. `data` is the packet, as readers of the stream get it."""

    type: str
    timestamp: str
    stream_id: str
    data: msgspec.Raw


class _Stamp(msgspec.Struct):
    timestamp: str


_STAMP = msgspec.json.Decoder(_Stamp)


def event_of(packet: bytes, component: str) -> str | None:
    """The type of the event that tells of `packet`, made by `component` (empty where none did). None for the
    packets that nobody is told of: those before the first result."""
    if component:
        return RESULT.format(component)
    return {"ANALYSIS_COMPLETE": COMPLETED, "ERROR": FAILED}.get(kind_of(packet))


def body_of(event: str, stream_id: str, packet: bytes) -> bytes:
    """The event's body as it is signed and posted."""
    at = _STAMP.decode(packet).timestamp
    return msgspec.json.encode(Event(event, at, stream_id, msgspec.Raw(packet)))


def message_id(stream_id: str, sequence: int) -> str:
    """The `webhook-id`: the same however often an event is sent, so that a receiver can tell repetitions."""
    return f"msg_{stream_id}_{sequence}"
