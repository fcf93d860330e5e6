"""Tests of the events that webhooks receive."""

from __future__ import annotations

import json

import pytest

from pinactors.protocol.events import body_of, event_of, message_id

PACKET = b'{"packetType":"%b","timestamp":"2026-06-30T12:00:00Z","x":1}'


@pytest.mark.parametrize(
    ("kind", "component", "event"),
    [
        (b"AUTHENTICATION_RESULT", "authenticity", "result.authenticity"),
        (b"ANALYSIS_COMPLETE", "", "session.completed"),
        (b"ERROR", "", "session.failed"),
        (b"CONNECTION_ESTABLISHED", "", None),
        (b"PROCESSING_STARTED", "", None),
    ],
)
def test_results_and_ends_are_events(kind: bytes, component: str, event: str | None) -> None:
    assert event_of(PACKET % kind, component) == event


def test_a_body_has_the_packet_as_it_is_and_its_time() -> None:
    packet = PACKET % b"ERROR"
    body = body_of("session.failed", "stream-1", packet)
    assert json.loads(body) == {
        "type": "session.failed",
        "timestamp": "2026-06-30T12:00:00Z",
        "streamId": "stream-1",
        "data": json.loads(packet),
    }
    assert packet in body


def test_an_event_has_the_same_id_each_time_and_another_than_the_others() -> None:
    assert message_id("a", 1) == message_id("a", 1)
    assert len({message_id("a", 1), message_id("a", 2), message_id("b", 1)}) == 3
