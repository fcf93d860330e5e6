"""`/ws` on real sockets: full duplex, and the answers to clients that violate the protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, RejectConnection, TextMessage

from pinactors.protocol.offsets import to_offset
from tests.api.conftest import Process, Running, running
from tests.api.drawn import LONG_PHOTO, Gate
from tests.api.http.small import UPGRADE
from tests.api.rawsocket import RawSocket, opened, types
from tests.api.site import PACKETS, Site
from tests.api.wire import ask, metric
from tests.processes import forget_peak, peak_memory
from tests.waiting import until

LIMIT = 120
ANALYSED = {"CHARACTER_IDENTIFICATION", "PRICING_ANALYSIS", "HTML_DISPLAY_DATA"}
"""The packets that the drawn analysis makes from the front image alone."""


async def test_results_come_back_while_the_back_image_is_still_being_sent(shared: Process) -> None:
    back = LONG_PHOTO + b" back of the pin" * 1000
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(sessionId="ws1", images=["front", "back"])
            await socket.send_photograph(b"PHOTO front 1", pieces=3)
            await socket.send_photograph(back[:9000], pieces=5, last=False)
            early = [await socket.packet() for _ in range(5)]  # the back image's message has not ended
            assert types(early[:2]) == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
            assert set(types(early[2:])) == ANALYSED
            await socket.send_photograph(back[9000:])
            late = await socket.until("ANALYSIS_COMPLETE")
            assert await socket.close_code() == 1000
    packets = early + late
    assert [packet["sequence"] for packet in packets] == list(range(8))
    assert {packet["sessionId"] for packet in packets} == {"ws1"}
    sizes = next(
        packet["details"]["bytes"] for packet in packets if packet["packetType"] == "DETAILED_ANALYSIS"
    )
    assert sizes == {"front": 13, "back": len(back), "angled": None}


async def test_a_session_is_resumed_behind_what_was_had(shared: Process) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(sessionId="ws2", images=["front"])
            await socket.send_photograph(b"PHOTO front 2")
            first = [await socket.packet() for _ in range(3)]
        async with opened(shared.port) as socket:
            await socket.send(streamId=first[0]["streamId"], offset=to_offset(3))
            rest = await socket.until("ANALYSIS_COMPLETE")
            assert await socket.close_code() == 1000
    assert [packet["sequence"] for packet in first + rest] == list(range(8))


async def test_the_same_upload_again_joins_and_gets_every_packet_from_the_first(shared: Process) -> None:
    conversations = []
    with trio.fail_after(LIMIT):
        for _ in range(2):
            async with opened(shared.port) as socket:
                await socket.send(sessionId="ws3", images=["front", "back"])
                await socket.send_photograph(b"PHOTO front 3")
                await socket.send_photograph(b"PHOTO back 3")
                conversations.append(await socket.until("ANALYSIS_COMPLETE"))
                assert await socket.close_code() == 1000
    first, second = conversations
    assert second == first


async def test_of_two_at_the_same_time_the_second_waits_for_its_comparison(shared: Process) -> None:
    """The second upload's photographs may differ from the first's; it then gets its own session."""
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as first, opened(shared.port) as second:
            await first.send(sessionId="ws10", images=["front"])
            packet = await first.packet()  # else the server may receive the second one's opening first
            await second.send(sessionId="ws10", images=["front"])
            await second.send_photograph(b"PHOTO of another pin")
            others = await second.until("ANALYSIS_COMPLETE")
            await first.send_photograph(b"PHOTO of a pin")
            packets = [packet, *await first.until("ANALYSIS_COMPLETE")]
    for had in (packets, others):
        assert [packet["sequence"] for packet in had] == list(range(8))
    assert packets[-1]["id"] != others[-1]["id"]


@pytest.mark.parametrize("keys", [(None, None), ("apart-1", "apart-2")])
async def test_uploads_without_a_session_id_do_not_wait_for_each_other(
    shared: Process, keys: tuple[str | None, str | None]
) -> None:
    """A server's own ids name different sessions, however many begin in one second: no upload looks like a
    duplicate of another, and each gets packets before its last photograph is sent."""
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as first, opened(shared.port) as second:
            for socket, key in zip((first, second), keys, strict=True):
                await socket.send(images=["front", "back"], idempotencyKey=key)
                await socket.send_photograph(b"PHOTO front")
                await socket.until("HTML_DISPLAY_DATA")
            for socket in (first, second):
                await socket.send_photograph(b"PHOTO back")
                await socket.until("ANALYSIS_COMPLETE")


async def overtaken(
    first: RawSocket, second: RawSocket, session_id: str, back: bytes
) -> list[dict[str, Any]]:
    """Sends the same upload on both sockets. The second one is complete before the first, which has received
    packets by then; returns these packets."""
    had: list[dict[str, Any]] = []
    for socket in (first, second):
        await socket.send(sessionId=session_id, images=["front", "back"])
        await socket.send_photograph(b"PHOTO front")
        if not had:  # the session of the first one has begun
            had += await first.until("CONNECTION_ESTABLISHED")
    had += await first.until("HTML_DISPLAY_DATA")
    await second.send_photograph(back)
    return had


async def test_one_that_is_overtaken_goes_on_with_the_others_packets(tmp_path: Path) -> None:
    """The client gets each packet once, in the stream whose id it has. That stream can be read again, also
    after a restart."""
    with trio.fail_after(LIMIT):
        async with running(tmp_path) as server:
            async with opened(server.port) as first, opened(server.port) as second:
                one = await overtaken(first, second, "ws8", b"PHOTO back")
                two = await second.until("ANALYSIS_COMPLETE")
                await first.send_photograph(b"PHOTO back")
                one += await first.until("ANALYSIS_COMPLETE")
                assert await first.close_code() == 1000
            assert one[0]["streamId"] != two[0]["streamId"]
            assert one[-1]["id"] == two[-1]["id"], "one analysis"
            for packets in (one, two):
                assert [packet["sequence"] for packet in packets] == list(range(8))
                assert len(set(types(packets))) == 8
            headers = {"Accept": "application/x-ndjson"}
            again = await ask(server.port, "GET", f"/streams/{one[0]['streamId']}", headers=headers)
            assert again.packets == one
        async with running(tmp_path) as server, opened(server.port) as socket:
            await socket.send(streamId=one[0]["streamId"])
            assert await socket.until("ANALYSIS_COMPLETE") == one


async def test_cancelling_one_that_was_overtaken_ends_the_one_analysis_there_is(
    server: Running, gate: Gate
) -> None:
    with trio.fail_after(LIMIT):
        async with opened(server.port) as first, opened(server.port) as second:
            one = await overtaken(first, second, "ws9", gate.photograph())
            two = await second.until("PROCESSING_STARTED")
            await first.send_photograph(gate.photograph())
            while await metric(server.port, "pinactors_joined_total") < 1:  # noqa: ASYNC110 - no event
                await trio.sleep(0.02)
            assert (await ask(server.port, "DELETE", f"/streams/{one[0]['streamId']}")).status == 204
            for socket, packets in ((first, one), (second, two)):
                packets += await socket.until("ERROR")
                assert packets[-1]["errorCode"] == "cancelled"
                assert [packet["sequence"] for packet in packets] == list(range(len(packets)))
                assert len(set(types(packets))) == len(packets)


async def test_a_photograph_is_not_held_in_memory(shared: Process) -> None:
    """A message of 30 MiB is passed on in pieces: neither the protocol nor the handler collects it."""
    photograph = b"PHOTO" + bytes(30 << 20)
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(images=["front"])
            await socket.send_photograph(photograph[:1000], last=False)
            forget_peak(shared.pid)
            before = peak_memory(shared.pid)
            await socket.send_photograph(photograph[1000:])
            packets = await socket.until("ANALYSIS_COMPLETE")
    assert packets[-1]["success"] is True
    assert peak_memory(shared.pid) - before < 8 << 20


async def end(socket: RawSocket) -> tuple[str, int]:
    """Reads to the end; returns the error code of the terminal packet, and the close code."""
    packets = await socket.until("ERROR")
    return str(packets[-1]["errorCode"]), await socket.close_code()


async def test_text_where_a_photograph_was_promised(shared: Process) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(images=["front"])
            await socket.send(images=["front"])
            assert await end(socket) == ("invalid_format", 1003)


@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_photograph_as_base64_text_is_refused_by_its_kind(shared: Process, pieces: int) -> None:
    """Some libraries can send text only. A real photograph is longer than a text message may be."""
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(images=["front"])
            for number in range(pieces):
                last = number == pieces - 1
                await socket.send_event(TextMessage(data="A" * 100_000, message_finished=last))
            assert await end(socket) == ("invalid_format", 1003)


async def test_an_empty_photograph(shared: Process) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(images=["front"])
            await socket.send_event(BytesMessage(data=b""))
            assert await end(socket) == ("invalid_format", 1007)


async def test_a_text_without_end_is_cut_off(shared: Process) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            for _ in range(40):
                await socket.send_event(TextMessage(data="x" * 4096, message_finished=False))
            assert await end(socket) == ("invalid_format", 1007)


async def test_frames_nobody_announced_are_ignored(shared: Process) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(images=["front"])
            await socket.send_photograph(b"PHOTO front 4")
            await socket.send_photograph(b"and another")
            await socket.send(images=["angled"])
            packets = await socket.until("ANALYSIS_COMPLETE")
            assert await socket.close_code() == 1000
    assert len(packets) == 8


async def test_a_violation_of_the_protocol_is_answered_and_hurts_nobody_else(shared: Process) -> None:
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as other:
            await other.send(images=["front"])
            async with opened(shared.port) as socket:
                await socket.stream.send_all(b"\xff\xff junk that is no frame")
                assert await socket.close_code() == 1002
            await other.send_photograph(b"PHOTO front 5")
            assert (await other.until("ANALYSIS_COMPLETE"))[-1]["success"] is True


async def test_more_than_an_upload_may_have(tmp_path: Path) -> None:
    async with running(tmp_path, max_request_bytes=200_000) as server:
        with trio.fail_after(LIMIT):
            async with opened(server.port) as socket:
                await socket.send(images=["front", "back"])
                await socket.send_photograph(b"PHOTO" * 20_000)
                await socket.send_photograph(b"PHOTO" * 20_001, pieces=20)
                assert await end(socket) == ("too_large", 1009)
            assert not list((tmp_path / "images" / "spool").iterdir())


async def test_a_slow_upload_is_fine_and_a_stopped_one_is_ended(tmp_path: Path) -> None:
    window = 3.0
    async with running(tmp_path, upload_floor_window=window, upload_floor_bytes=100) as server:
        with trio.fail_after(LIMIT):
            async with opened(server.port) as slow, opened(server.port) as stopped:
                await slow.send(images=["front"])
                await stopped.send(images=["front"])
                await stopped.send_photograph(b"PHOTO" + bytes(500), last=False)
                began = trio.current_time()
                while trio.current_time() - began <= 2 * window:
                    await trio.sleep(0.1)
                    await slow.send_photograph(b"PHOTO" * 20, last=False)
                await slow.send_photograph(b"PHOTO")
                assert (await slow.until("ANALYSIS_COMPLETE"))[-1]["success"] is True
                assert await end(stopped) == ("cancelled", 1008)
        assert not list((tmp_path / "images" / "spool").iterdir())


async def test_an_upload_that_breaks_off_ends_its_session_and_can_be_sent_again(shared: Process) -> None:
    first_frame = {"sessionId": "ws6", "images": ["front", "back"], "idempotencyKey": "ws-broken-off"}
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(**first_frame)
            await socket.send_photograph(b"PHOTO front 6")
            await socket.send_photograph(b"PHOTO half of", last=False)
            stream_id = (await socket.packet())["streamId"]
        log = await ask(
            shared.port, "GET", f"/streams/{stream_id}", headers={"Accept": "application/x-ndjson"}
        )
        assert log.packets[-1]["errorCode"] == "cancelled"
        async with opened(shared.port) as socket:
            await socket.send(**first_frame)
            await socket.send_photograph(b"PHOTO front 6")
            await socket.send_photograph(b"PHOTO half of the back")
            packets = await socket.until("ANALYSIS_COMPLETE")
    assert packets[0]["streamId"] != stream_id
    assert len(packets) == 8


async def test_the_same_key_with_other_photographs_is_a_conflict(shared: Process) -> None:
    first_frame = {"sessionId": "ws7", "images": ["front"], "idempotencyKey": "ws-conflict"}
    with trio.fail_after(LIMIT):
        async with opened(shared.port) as socket:
            await socket.send(**first_frame)
            await socket.send_photograph(b"PHOTO one")
            await socket.until("ANALYSIS_COMPLETE")
        async with opened(shared.port) as socket:
            await socket.send(**first_frame)
            await socket.send_photograph(b"PHOTO other")
            packet = (await socket.until("ERROR"))[-1]
            assert (packet["errorCode"], packet["field"]) == ("session_conflict", "idempotencyKey")
            assert "idempotencyKey" in packet["message"]
            assert await socket.close_code() == 1008


async def test_pings_break_the_silence(tmp_path: Path, gate: Gate) -> None:
    """The analysis ends after four pings."""
    async with running(tmp_path, keepalive=0.2) as server:
        with trio.fail_after(LIMIT):
            async with opened(server.port) as socket, trio.open_nursery() as nursery:
                await socket.send(images=["front"])
                await socket.send_photograph(gate.photograph())
                nursery.start_soon(socket.until, "ANALYSIS_COMPLETE")
                await until(lambda: socket.pings >= 4)
                gate.open()


async def test_cancelling_ends_an_upload_that_is_still_coming(server: Running) -> None:
    with trio.fail_after(LIMIT):
        async with opened(server.port) as socket:
            await socket.send(images=["front", "back"])
            await socket.send_photograph(b"PHOTO front 7")
            stream_id = (await socket.packet())["streamId"]
            for _ in range(2):
                answer = await ask(server.port, "DELETE", f"/streams/{stream_id}")
                assert (answer.status, answer.body) == (204, b"")
            packets = await socket.until("ERROR")
            assert packets[-1]["errorCode"] == "cancelled"
            await socket.close_code()


# -- keys --------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.keys.owners = {"key-a": "a", "key-b": "b"}
    site.log(len(PACKETS), closed=True, owner="a")
    return site


@pytest.mark.parametrize("header", [{"x-api-key": "key-a"}, {"Authorization": "Bearer key-a"}])
async def test_a_key_in_the_header(site: Site, header: dict[str, str]) -> None:
    with trio.fail_after(LIMIT):
        async with site.listening() as port, opened(port, header) as socket:
            await socket.send(streamId="s")
            assert len(await socket.until("ANALYSIS_COMPLETE")) == len(PACKETS)


async def test_who_resumes_behind_the_end_without_pause_is_told_to_wait(site: Site) -> None:
    """As who polls by HTTP: twenty times at once, and then once a second."""
    with trio.fail_after(LIMIT):
        async with site.listening() as port:
            codes = []
            for _ in range(40):
                async with opened(port, {"x-api-key": "key-a"}) as socket:
                    await socket.send(streamId="s", offset=to_offset(len(PACKETS)))
                    event = await socket.event()
                    if isinstance(event, TextMessage):
                        assert json.loads(event.data)["errorCode"] == "overloaded"
                        event = await socket.event()
                    assert isinstance(event, CloseConnection)
                    codes.append(event.code)
    assert set(codes) == {1000, 1013}
    assert 20 <= codes.index(1013) <= 30


async def test_a_log_that_is_closed_before_its_end_is_no_end(site: Site) -> None:
    """The session goes on at another master, which is reached with another connection."""
    log = site.log(2, owner="a")
    with trio.fail_after(LIMIT):
        async with site.listening() as port, opened(port, {"x-api-key": "key-a"}) as socket:
            await socket.send(streamId="s")
            assert types([await socket.packet() for _ in range(2)])[-1] == "PROCESSING_STARTED"
            log.close()
            assert await socket.close_code() == 1013


async def test_a_key_in_the_first_frame(site: Site) -> None:
    """Browsers cannot send headers with a WebSocket."""
    with trio.fail_after(LIMIT):
        async with site.listening() as port, opened(port) as socket:
            await socket.send(streamId="s", apiKey="key-a")
            assert len(await socket.until("ANALYSIS_COMPLETE")) == len(PACKETS)


async def test_a_wrong_key_in_the_header_gets_no_socket(site: Site) -> None:
    with trio.fail_after(LIMIT):
        async with site.listening() as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
            socket = RawSocket(stream)
            refused = await socket.open({"x-api-key": "key-x"})
            assert isinstance(refused, RejectConnection)
            assert refused.status_code == 401
            assert (await socket.rejection())["errorCode"] == "unauthorized"


@pytest.mark.parametrize("fields", [{}, {"apiKey": "key-x"}, {"apiKey": ""}])
async def test_without_a_known_key_nothing_is_told(site: Site, fields: dict[str, str]) -> None:
    with trio.fail_after(LIMIT):
        async with site.listening() as port, opened(port) as socket:
            await socket.send(streamId="s", **fields)
            assert await end(socket) == ("unauthorized", 1008)


async def test_another_owners_session_is_unknown(site: Site) -> None:
    with trio.fail_after(LIMIT):
        async with site.listening() as port, opened(port, {"x-api-key": "key-b"}) as socket:
            await socket.send(streamId="s")
            assert await end(socket) == ("stream_not_found", 1008)


@pytest.mark.parametrize("offset", ["now", "1", to_offset(99), "x" * 100])
async def test_an_offset_nobody_issued(site: Site, offset: str) -> None:
    with trio.fail_after(LIMIT):
        async with site.listening() as port, opened(port, {"x-api-key": "key-a"}) as socket:
            await socket.send(streamId="s", offset=offset)
            assert await end(socket) == ("invalid_format", 1007)


async def test_a_slash_at_the_end_is_no_other_address(shared: Process) -> None:
    socket = RawSocket(await trio.open_tcp_stream("127.0.0.1", shared.port))
    async with socket.stream:
        assert isinstance(await socket.open({}, "/ws/"), AcceptConnection)
    answer = await ask(shared.port, "GET", "/ws/")
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")


async def test_another_address_says_where_the_websocket_is(shared: Process) -> None:
    answer = await ask(shared.port, "GET", "/livez", headers=UPGRADE)
    assert (answer.status, answer.json()["errorCode"]) == (400, "invalid_format")
    assert "/ws" in answer.json()["error"]
