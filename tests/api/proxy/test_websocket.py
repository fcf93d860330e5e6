"""`/ws` through the proxy: full duplex as at the master, also if masters die or restart."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from wsproto.events import BytesMessage, RejectConnection

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import Registry
from pinactors.pipeline.upload import Upload
from pinactors.protocol import View, identifiers
from pinactors.protocol.offsets import to_offset
from pinactors.records import Records
from pinactors.records.tokens import PREFIX as TOKEN_PREFIX
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.drawn import LONG_PHOTO, Gate
from tests.api.proxy.conftest import LIMIT, NDJSON, Fleet, Pair, proxying, wait_for_sessions
from tests.api.proxy.scripted import COMPLETE, OPENING, STARTED, STREAM, chunk, scripted
from tests.api.rawsocket import RawSocket, opened, types
from tests.api.wire import ask

EARLY = {"CHARACTER_IDENTIFICATION", "PRICING_ANALYSIS", "HTML_DISPLAY_DATA"}
BACK = LONG_PHOTO + b" back of the pin" * 1000


async def begin(socket: RawSocket, **opening: Any) -> list[dict[str, Any]]:
    """Sends the front image and half of the back image; returns the packets that need the front only."""
    await socket.send(**{"images": ["front", "back"], **opening})
    packets = [await socket.packet()]  # before any photograph
    await socket.send_photograph(b"PHOTO front", pieces=3)
    await socket.send_photograph(BACK[:9000], pieces=5, last=False)
    packets += [await socket.packet() for _ in range(4)]
    assert types(packets[:2]) == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert set(types(packets[2:])) == EARLY
    return packets


def assert_whole(packets: list[dict[str, Any]], session_id: str) -> None:
    assert [packet["sequence"] for packet in packets] == list(range(8))
    assert len(set(types(packets))) == 8
    assert {packet["sessionId"] for packet in packets} == {session_id}
    assert packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
    details = packets[types(packets).index("DETAILED_ANALYSIS")]["details"]
    assert details["bytes"] == {"front": 11, "back": len(BACK), "angled": None}


async def test_uploads_without_a_session_id_do_not_wait_for_each_other(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if they begin in the same second: the master takes the proxy's ids for the clients'."""
    moment = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    monkeypatch.setattr(
        identifiers, "dt", SimpleNamespace(UTC=dt.UTC, datetime=SimpleNamespace(now=lambda _: moment))
    )
    with trio.fail_after(LIMIT):
        async with opened(pair.proxy) as first, opened(pair.proxy) as second:
            for socket in (first, second):
                await socket.send(images=["front", "back"])
                await socket.send_photograph(b"PHOTO front")
                packets = await socket.until("HTML_DISPLAY_DATA")
                assert packets[0]["sessionId"].startswith("261201000000")
            for socket in (first, second):
                await socket.send_photograph(b"PHOTO back")
                await socket.until("ANALYSIS_COMPLETE")


async def test_results_come_back_while_the_back_image_is_still_being_sent(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        async with opened(pair.proxy) as socket:
            packets = await begin(socket, sessionId="ws1")
            await socket.send_photograph(BACK[9000:])
            packets += await socket.until("ANALYSIS_COMPLETE")
            assert await socket.close_code() == 1000
        assert_whole(packets, "ws1")
        path = f"/streams/{packets[0]['streamId']}"
        for port in (pair.proxy, pair.master):
            assert (await ask(port, "GET", path, headers=NDJSON)).packets == packets
        async with opened(pair.proxy) as socket:
            await socket.send(streamId=packets[0]["streamId"], offset=to_offset(3))
            assert await socket.until("ANALYSIS_COMPLETE") == packets[3:]


async def test_the_same_upload_again_gets_every_packet_from_the_first(pair: Pair) -> None:
    conversations = []
    with trio.fail_after(LIMIT):
        for _ in range(2):
            async with opened(pair.proxy) as socket:
                await socket.send(images=["front", "back"], sessionId="ws2", idempotencyKey="ws2")
                await socket.send_photograph(b"PHOTO front")
                await socket.send_photograph(BACK)
                conversations.append(await socket.until("ANALYSIS_COMPLETE"))
                assert await socket.close_code() == 1000
    assert_whole(conversations[0], "ws2")
    assert conversations[1] == conversations[0]


async def test_the_same_key_with_other_photographs_is_a_conflict(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        for photograph, last in ((b"PHOTO one", "ANALYSIS_COMPLETE"), (b"PHOTO other", "ERROR")):
            async with opened(pair.proxy) as socket:
                await socket.send(images=["front"], idempotencyKey="conflict")
                await socket.send_photograph(photograph)
                packets = await socket.until(last)
        assert packets[-1]["errorCode"] == "session_conflict"


async def test_a_master_dies_while_the_back_image_is_still_being_sent(fleet: Fleet) -> None:
    """Packets that the phone has are not repeated; the second master gets the photographs from their first
    byte."""
    masters = fleet.masters(2, workers=1)
    proxy = fleet.proxy(masters)
    with trio.fail_after(LIMIT):
        async with opened(proxy.port) as socket:
            packets = await begin(socket, sessionId="ws3")
            path = f"/streams/{packets[0]['streamId']}"
            [home] = [m for m in masters if (await ask(m.port, "GET", f"{path}?offset=now")).status == 200]
            home.kill()
            await socket.send_photograph(BACK[9000:])
            packets += await socket.until("ANALYSIS_COMPLETE")
            assert await socket.close_code() == 1000
        assert_whole(packets, "ws3")
        assert (await ask(proxy.port, "GET", path, headers=NDJSON)).packets == packets


async def test_the_only_master_is_restarted_while_the_back_image_is_still_being_sent(fleet: Fleet) -> None:
    """The restarted master ends the session whose upload is incomplete; the phone's stream continues."""
    (master,) = fleet.masters(1, workers=1)
    proxy = fleet.proxy([master])
    with trio.fail_after(LIMIT):
        async with opened(proxy.port) as socket:
            packets = await begin(socket, sessionId="ws4")
            master.kill()
            master.start()
            master.wait_started()
            await socket.send_photograph(BACK[9000:])
            packets += await socket.until("ANALYSIS_COMPLETE")
        assert_whole(packets, "ws4")


async def test_a_proxy_dies_behind_the_upload(fleet: Fleet, gate: Gate) -> None:
    (master,) = fleet.masters(1, workers=2)
    proxy = fleet.proxy([master])
    with trio.fail_after(LIMIT):
        async with opened(proxy.port) as socket:
            await socket.send(images=["front", "back"], sessionId="ws5")
            packets = [await socket.packet()]
            await socket.send_photograph(b"PHOTO front")
            await socket.send_photograph(gate.photograph())
            packets += await socket.until("HTML_DISPLAY_DATA")
            proxy.kill()
            proxy.start()
            proxy.wait_started()
        async with opened(proxy.port) as socket:
            await socket.send(streamId=packets[0]["streamId"], offset=to_offset(len(packets)))
            gate.open()
            packets += await socket.until("ANALYSIS_COMPLETE")
        assert [packet["sequence"] for packet in packets] == list(range(8))
        assert len(set(types(packets))) == 8


async def test_a_master_that_has_lost_part_of_the_upload_gets_it_again(tmp_path: Path) -> None:
    """The whole upload was sent, and the master reports that it did not receive everything."""
    broken_off = (
        b'{"packetType":"ERROR","sessionId":"s","timestamp":"t","sequence":2,"success":false,'
        b'"message":"Upload broken off","error":"","errorCode":"cancelled"}'
    )
    ends = iter([broken_off, COMPLETE])

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(STREAM + chunk(b"\n".join([OPENING, STARTED, next(ends)]) + b"\n"))

    with trio.fail_after(LIMIT):
        async with scripted(script) as master, proxying(tmp_path, [master.url]) as port:
            async with opened(port) as socket:
                await socket.send(images=["front"], sessionId="s")
                await socket.send_photograph(b"PHOTO")
                packets = await socket.until("ANALYSIS_COMPLETE")
            assert master.uploads == 2
    assert [packet["sequence"] for packet in packets] == [0, 1, 2]


async def test_a_phone_that_hangs_up_in_its_upload_ends_its_session_everywhere(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        async with opened(pair.proxy) as socket:
            packets = await begin(socket, sessionId="ws6")
        await wait_for_sessions(pair.proxy, 0)
        path = f"/streams/{packets[0]['streamId']}"
        for port in (pair.proxy, pair.master):
            had = (await ask(port, "GET", path, headers=NDJSON)).packets
            assert had[-1]["errorCode"] == "cancelled"


async def test_cancelling_ends_an_upload_that_is_still_coming(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        async with opened(pair.proxy) as socket:
            packets = await begin(socket)
            path = f"/streams/{packets[0]['streamId']}"
            for _ in range(2):
                assert (await ask(pair.proxy, "DELETE", path)).status == 204
            assert (await socket.until("ERROR"))[-1]["errorCode"] == "cancelled"
            assert await socket.close_code() == 1008
        assert (await ask(pair.master, "GET", path, headers=NDJSON)).packets[-1]["errorCode"] == "cancelled"


async def test_what_is_no_photograph_is_refused_as_at_the_master(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        for port in (pair.master, pair.proxy):
            async with opened(port) as socket:
                await socket.send(images=["front"])
                await socket.send(images=["front"])
                assert (await socket.until("ERROR"))[-1]["errorCode"] == "invalid_format"
                assert await socket.close_code() == 1003
            async with opened(port) as socket:
                await socket.send(images=["front"])
                await socket.send_event(BytesMessage(data=b""))
                empty = (await socket.until("ERROR"))[-1]
                assert (empty["errorCode"], empty["field"]) == ("invalid_format", "front")
                assert await socket.close_code() == 1007
            async with opened(port) as socket:
                # Made-up ids are the same within a second: the upload would wait for its comparison with the
                # one before, which ends a little later than its socket.
                await socket.send(images=["front", "back"], sessionId=f"no-photograph-{port}")
                await socket.send_photograph(b"no photograph")
                last = (await socket.until("ERROR"))[-1]
                assert (last["errorCode"], last["success"]) == ("invalid_format", False)
                assert (last["field"], last["view"]) == ("front", "front"), "as it was named here"


async def test_frames_nobody_announced_are_ignored(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        async with opened(pair.proxy) as socket:
            await socket.send(images=["front"])
            await socket.send_photograph(b"PHOTO front 4")
            await socket.send_photograph(b"and another")
            await socket.send(images=["angled"])
            assert len(await socket.until("ANALYSIS_COMPLETE")) == 8
            assert await socket.close_code() == 1000


async def test_keys_are_the_masters(tmp_path: Path) -> None:
    records = await Records.open(Settings(data=tmp_path / "master"))
    mine, other = await records.add_key("mine"), await records.add_key("other")
    await records.close()
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as port,
        ):
            for key in ("wrong", f"{TOKEN_PREFIX}wrong"):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                async with stream:
                    wrong = RawSocket(stream)
                    rejected = await wrong.open({"x-api-key": key})
                    assert isinstance(rejected, RejectConnection)
                    assert rejected.status_code == 401, "before the upgrade, as the master does"
                    assert (await wrong.rejection())["errorCode"] == "unauthorized"
            async with opened(port, {"x-api-key": mine}) as socket:
                await socket.send(images=["front"])
                await socket.send_photograph(b"PHOTO with the key in the header")
                assert len(await socket.until("ANALYSIS_COMPLETE")) == 8
            async with opened(port) as socket:
                await socket.send(images=["front"], apiKey=mine)
                await socket.send_photograph(b"PHOTO")
                packets = await socket.until("ANALYSIS_COMPLETE")
            for fields, code in (
                ({}, "unauthorized"),
                ({"apiKey": "wrong"}, "unauthorized"),
                ({"apiKey": other}, "stream_not_found"),
            ):
                async with opened(port) as socket:
                    await socket.send(streamId=packets[0]["streamId"], **fields)
                    refused = await socket.packet()
                    assert refused["errorCode"] == code
                if code == "unauthorized":
                    async with opened(port) as socket:
                        await socket.send(images=["front"], **fields)
                        assert (await socket.packet())["errorCode"] == code
            async with opened(port) as socket:
                await socket.send(streamId=packets[0]["streamId"], apiKey=mine)
                assert await socket.until("ANALYSIS_COMPLETE") == packets
            bound = json.dumps({"streamId": packets[0]["streamId"]}).encode()
            token = (await ask(port, "POST", "/tokens", bound, {"x-api-key": mine})).json()["token"]
            async with opened(port, {"x-api-key": token}) as socket:
                await socket.send(streamId=packets[0]["streamId"])
                assert await socket.until("ANALYSIS_COMPLETE") == packets
            async with opened(port, {"x-api-key": token}) as socket:
                await socket.send(images=["front"])
                assert (await socket.packet())["errorCode"] == "unauthorized"
    kept = b"".join(file.read_bytes() for file in (tmp_path / "proxy").rglob("*") if file.is_file())
    assert json.dumps(mine).encode() not in kept


@pytest.mark.parametrize("sent", [[0.1, 0.2, 0.3, 0.4], "0.1,0.2,0.3,0.4"])
async def test_a_region_in_a_websockets_first_frame_counts(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, sent: object
) -> None:
    uploads: list[Upload] = []
    begin_session = Registry.open

    async def noted(self: Registry, upload: Upload) -> PacketLog:
        uploads.append(upload)
        return await begin_session(self, upload)

    monkeypatch.setattr(Registry, "open", noted)
    for port in (pair.master, pair.proxy):
        async with opened(port) as socket:
            await socket.send(images=["front"], frontRegion=sent, backRegion=None, angledRegion="")
            await socket.send_photograph(b"PHOTO front")
            await socket.until("ANALYSIS_COMPLETE")
        assert uploads[-1].images[View.FRONT].region == (0.1, 0.2, 0.3, 0.4)
        for wrong in ("here", 0, []):
            async with opened(port) as socket:
                await socket.send(images=["front"], frontRegion=wrong)
                refusal = await socket.packet()
            assert (refusal["errorCode"], refusal["field"]) == ("invalid_format", "frontRegion")
