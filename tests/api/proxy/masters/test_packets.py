"""Packets of masters: what is believed, and what is changed for the phone."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinactors.api.proxy.masters.packets import read, restamped
from pinactors.client.connecting import NotPinactors
from pinactors.protocol import PACKET_LIMIT
from tests.api.proxy.scripted import OPENING, STARTED


def test_an_undisturbed_packet_is_not_touched() -> None:
    line = read(STARTED)
    assert restamped(STARTED, line, 1, "s") is STARTED


@given(
    st.integers(0, 99),
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_a_moved_packet_differs_in_its_number_and_session_only(
    sequence: int, session_id: str, extra: dict[str, float]
) -> None:
    fields = {"extra": extra, "packetType": "NEW_KIND", "sessionId": "s", "timestamp": "t", "sequence": 3}
    raw = msgspec.json.encode(fields)
    moved = restamped(raw, read(raw), sequence, session_id)
    assert json.loads(moved) == fields | {"sequence": sequence, "sessionId": session_id}
    assert b"\n" not in moved


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b'{"packetType":1,"sequence":0,"sessionId":"s"}',
        b'{"packetType":"lower","sequence":0,"sessionId":"s"}',
        b'{"packetType":"PROCESSING_STARTED","sequence":"0","sessionId":"s","message":"m"}',
        b'{"packetType":"ERROR","sequence":0,"sessionId":"s","message":"m","error":"e","errorCode":"new"}',
        b'{"packetType":"X","sequence":0,"sessionId":"s","deep":' + b"[" * 5000 + b"]" * 5000 + b"}",
        OPENING.replace(b'"streamId":"a', b'"streamId":"../'),
        STARTED[:-1] + b" " * PACKET_LIMIT + b"}",
    ],
)
def test_what_is_no_packet_is_not_believed(raw: bytes) -> None:
    with pytest.raises(NotPinactors):
        read(raw)
