"""The client against the real server, over every transport."""

from __future__ import annotations

import pytest
import trio

from pinactors.client import analyze
from pinactors.client.session import TransportName
from pinactors.protocol import AuthenticationResult, View
from tests.api.conftest import Process

EVERY: list[TransportName] = ["ndjson", "long-poll", "websocket"]
LIMIT = 20


def url(server: Process) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("transport", EVERY)
async def test_every_packet_comes_once_and_in_order(shared: Process, transport: TransportName) -> None:
    images = {View.FRONT: b"PHOTO front " + transport.encode(), View.BACK: b"PHOTO back"}
    with trio.fail_after(LIMIT):
        async with analyze(url(shared), images, session_id="c1", transport=transport) as packets:
            received = [packet async for packet in packets]
    kinds = [packet.kind for packet in received]
    assert kinds[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert kinds[-1] == "ANALYSIS_COMPLETE"
    assert len(kinds) == len(set(kinds)) == 8
    assert [packet.fields["sequence"] for packet in received] == list(range(8))
    assert {packet.fields["sessionId"] for packet in received} == {"c1"}
    result = next(packet for packet in received if packet.kind == "AUTHENTICATION_RESULT").decode()
    assert isinstance(result, AuthenticationResult)
    assert result.authentic
