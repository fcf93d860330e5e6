"""The state of a session, as it results from its log."""

from __future__ import annotations

import msgspec
import pytest

from pinactors.pipeline.state import (
    Analysed,
    Arrived,
    Began,
    Ended,
    Opened,
    Outcome,
    Repeats,
    UploadComplete,
    entry_of,
    packet_entry,
    replay,
)
from pinactors.protocol import View
from pinactors.storage.logs.packet_logs import Entry

OPENED = entry_of(Opened("stream-1", "s", "owner", "key"))
OPENING = b'{"packetType":"CONNECTION_ESTABLISHED"}'
OTHER = b'{"packetType":"OPINION","text":"of a plug-in"}'


def test_facts_and_packets_come_back() -> None:
    state = replay(
        [
            OPENED,
            packet_entry(OPENING),
            entry_of(Arrived(View.FRONT, "/images/1", "ab", 7, "front_image")),
            entry_of(Began(5.0)),
            entry_of(UploadComplete(95.0, "https://example.com/")),
            packet_entry(OTHER, "opinion", "full"),
            packet_entry(OTHER, "details", "basic"),
            entry_of(Ended("pricing", Outcome.FAILED)),
            entry_of(Analysed()),
        ]
    )
    assert state is not None
    assert state.opened() == Opened("stream-1", "s", "owner", "key")
    assert (state.packets, state.components) == ([OPENING, OTHER, OTHER], ["", "opinion", "details"])
    assert (state.images[View.FRONT].path, state.images[View.FRONT].size) == ("/images/1", 7)
    assert state.fields == {View.FRONT: "front_image"}
    assert (state.started_at, state.ends_at, state.webhook) == (5.0, 95.0, "https://example.com/")
    assert (state.degraded, state.missing) == (["details"], ["pricing"])
    assert (state.analysed, state.repeats) == (True, False)


def test_a_log_that_names_no_session_has_no_state() -> None:
    assert replay([]) is None
    assert replay([packet_entry(OPENING), entry_of(Repeats())]) is None
    repeating = replay([OPENED, entry_of(Repeats())])
    assert repeating is not None
    assert repeating.repeats


@pytest.mark.parametrize("entry", [Entry("M", b'{"type":"Unknown"}'), Entry("M", b"{"), Entry("P a", b"{}")])
def test_another_format_is_an_error(entry: Entry) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)):
        replay([OPENED, entry])
