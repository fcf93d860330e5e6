"""Event readers whose connection breaks after any byte resume with `Last-Event-ID` and lose nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import h11
import pytest
import trio

from pinactors.api.streams import polls
from pinactors.api.streams.framings import SSE_TYPE
from pinactors.protocol.offsets import to_offset
from tests.api.conftest import running
from tests.api.site import PACKETS, Site
from tests.api.streams.test_framings import BatchReader, EventReader
from tests.api.wire import JSON, Answer, ask, connected, head, json_body, metric

LIMIT = 120


def body_of(received: bytes) -> bytes:
    """The part of an answer's body that was received before the connection broke."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    body = b""
    if not received:  # h11 takes empty data for the end of the connection
        return body
    parser.receive_data(received)
    while (event := parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        if isinstance(event, h11.EndOfMessage):
            break
        if isinstance(event, h11.Data):
            body += bytes(event.data)
    return body


async def read(port: int, path: str, last_id: bytes | None, length: int | None) -> bytes:
    """The first `length` bytes of an answer, as received; None reads to its end."""
    resumed = {} if last_id is None else {"Last-Event-ID": last_id.decode()}
    received = b""
    async with connected(port) as wire:
        await wire.send(head("GET", path, {"Accept": SSE_TYPE, "Connection": "close", **resumed}))
        while length is None or len(received) < length:
            data = await wire.stream.receive_some(65536 if length is None else length - len(received))
            if not data:
                break
            received += data
    return received


@pytest.mark.parametrize(
    ("path", "reader"), [("/streams/s", EventReader), ("/streams/s?offset=-1&live=sse", BatchReader)]
)
async def test_a_break_at_every_byte_of_an_event_stream(
    tmp_path: Path, path: str, reader: Callable[[], EventReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "READS_AT_ONCE", math.inf)  # the test exceeds the limit
    site = Site(tmp_path)
    site.log(len(PACKETS), closed=True)
    with trio.fail_after(LIMIT):
        async with site.listening() as port:
            whole = await read(port, path, None, None)
            head_ends = whole.index(b"\r\n\r\n")
            for length in [*range(0, head_ends, 20), *range(head_ends, len(whole))]:
                first = reader()
                first.feed(body_of(await read(port, path, None, length)))
                had = first.packets
                # A browser has the id of the last dispatched event, which is the offset after its packet.
                last_id = to_offset(len(had)).encode() if had else None
                again = reader()
                again.feed(body_of(await read(port, path, last_id, None)))
                assert had + again.packets == PACKETS, f"cut after {length} bytes"


async def finished(port: int) -> tuple[str, Answer]:
    """Runs a session to its end; returns the stream id and the answer."""
    body = json_body(sessionId="r1", frontImageData=b"PHOTO of the past")
    answer = await ask(port, "POST", "/mobile-upload?response=stream", body, JSON)
    assert answer.types[-1] == "ANALYSIS_COMPLETE"
    return answer.packets[0]["streamId"], answer


async def test_a_finished_session_can_be_read_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        name, answer = await finished(server.port)
    async with running(tmp_path) as server:
        again = await ask(server.port, "GET", f"/streams/{name}", headers={"Accept": "application/x-ndjson"})
        assert again.body == answer.body.replace(b"\n\n", b"\n")
        poll = await ask(server.port, "GET", f"/streams/{name}?offset={to_offset(8)}&live=long-poll")
        assert (poll.status, poll.headers["stream-closed"]) == (204, "true")


async def test_packets_that_have_expired_are_gone(tmp_path: Path) -> None:
    async with running(tmp_path, replay=0) as server:
        name, _ = await finished(server.port)
        while await metric(server.port, "pinactors_live_sessions"):  # noqa: ASYNC110 - no event to wait for
            await trio.sleep(0.01)
        answer = await ask(server.port, "GET", f"/streams/{name}?offset={to_offset(3)}")
        assert (answer.status, answer.json()["errorCode"]) == (410, "stream_not_found")
        assert (await ask(server.port, "GET", f"/streams/{name}x")).status == 404
