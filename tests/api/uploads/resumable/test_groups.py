"""Photographs of one session that come in uploads of their own."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest
from trio.testing import MockClock

from pinactors.api.uploads.resumable import groups
from pinactors.api.uploads.resumable.groups import Group
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.storage.images import Lease
from pinactors.storage.partial_uploads import PartialUploadStore
from pinactors.storage.stored_image import StoredImage
from tests.api.conftest import Running, running
from tests.api.uploads.resumable.partial import upload_in
from tests.api.uploads.resumable.senders import BACK, FRONT, Tus, comparable, is_kept, is_whole
from tests.api.wire import LIMIT, ask, has_no_session, multipart, part, until


async def test_a_photograph_does_not_expire_while_another_of_its_session_arrives(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    group = Group("a-group", Upload("s"), PacketLog("stream", "s", ""))
    store = PartialUploadStore(tmp_path)
    front = upload_in(store, "the-front")
    group.add(front)
    mock_clock.jump(50)
    back = upload_in(store, "the-back", "back")
    group.add(back)
    assert front.last_arrival.at == 50
    mock_clock.jump(50)
    await back.write(b"bytes")
    assert front.last_arrival.at == 100


async def test_two_photographs_make_one_session(server: Running) -> None:
    client = Tus(server.port)
    stream = await client.send(FRONT, sessionId="a", view="front")
    assert await client.send(BACK, sessionId="a", view="back", complete="true") == stream
    packets = await client.packets(stream)
    assert is_whole(packets)
    assert packets[0]["sessionId"] == "a"
    body = multipart(
        [part("sessionId", b"b"), part("front_image", FRONT, "f"), part("back_image", BACK, "b")]
    )
    fields = {"Content-Type": "multipart/form-data; boundary=a-boundary", "Accept": "application/x-ndjson"}
    plain = await ask(server.port, "POST", "/mobile-upload", body, fields)
    assert comparable(packets) == comparable(plain.packets)


async def test_they_may_come_in_any_order_and_side_by_side(server: Running) -> None:
    client = Tus(server.port)
    back = await client.create(len(BACK), sessionId="a", view="back", complete="true")
    front = await client.create(len(FRONT), sessionId="a", view="front")
    assert back.headers["stream-location"] == front.headers["stream-location"]
    await client.append(back.headers["location"], 0, BACK)
    await client.append(front.headers["location"], 0, FRONT[:5])
    await client.append(front.headers["location"], 5, FRONT[5:])
    assert is_whole(await client.packets(front.headers["stream-location"]))


async def test_two_phones_with_one_session_id_are_never_mixed(server: Running) -> None:
    client = Tus(server.port)
    one = await client.send(FRONT, sessionId="a", view="front")
    two = await client.send(b"PHOTO other", sessionId="a", view="front")
    assert one != two
    unclear = await client.create(len(BACK), sessionId="a", view="back")
    assert (unclear.status, unclear.json()["errorCode"]) == (409, "session_conflict")
    for stream in (one, two):
        name = stream.rpartition("/")[2]
        await client.send(BACK, sessionId="a", view="back", complete="true", stream=name)
        assert is_whole(await client.packets(stream))


async def test_a_photograph_taken_back_is_not_waited_for(server: Running) -> None:
    client = Tus(server.port)
    front = await client.create(len(FRONT), sessionId="b", view="front", complete="true")
    back = await client.create(len(BACK), sessionId="b", view="back")
    await client.append(front.headers["location"], 0, FRONT)
    assert (await client.ask(back.headers["location"], "DELETE")).status == 204
    assert is_whole(await client.packets(front.headers["stream-location"]))


async def test_the_only_photograph_taken_back_ends_the_session(server: Running) -> None:
    client = Tus(server.port)
    created = await client.create(len(FRONT), sessionId="a")
    await client.ask(created.headers["location"], "DELETE")
    packets = await client.packets(created.headers["stream-location"])
    assert (packets[-1]["packetType"], packets[-1]["errorCode"]) == ("ERROR", "cancelled")


async def test_a_session_ends_if_no_further_photograph_is_announced(tmp_path: Path) -> None:
    """The client leaves between two photographs: it has sent one, which is not the last."""
    async with running(tmp_path, upload_expiry=3.0) as server:
        client = Tus(server.port)
        packets = await client.packets(await client.send(FRONT, sessionId="a", view="front"))
        assert (packets[-1]["packetType"], packets[-1]["message"]) == ("ERROR", "Upload abandoned")
        await until(partial(has_no_session, server.port))


async def test_the_only_photograph_taken_back_after_it_has_arrived_ends_the_session(server: Running) -> None:
    client = Tus(server.port)
    created = await client.create(len(FRONT), sessionId="a")
    await client.append(created.headers["location"], 0, FRONT)
    assert (await client.ask(created.headers["location"], "DELETE")).status == 204
    packets = await client.packets(created.headers["stream-location"])
    assert (packets[-1]["packetType"], packets[-1]["errorCode"]) == ("ERROR", "cancelled")


async def test_a_photograph_taken_back_while_it_is_stored_ends_only_itself(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in = groups._take_in

    def take_in_once_removed(lease: Lease, path: Path) -> StoredImage:
        deadline = time.monotonic() + LIMIT
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return take_in(lease, path)

    client = Tus(server.port)
    front = await client.create(len(FRONT), sessionId="a", view="front", complete="true")
    back = await client.create(len(BACK), sessionId="a", view="back")
    with monkeypatch.context() as patch:
        patch.setattr(groups, "_take_in", take_in_once_removed)
        await client.append(back.headers["location"], 0, BACK)
        assert (await client.ask(back.headers["location"], "DELETE")).status == 204
    await client.append(front.headers["location"], 0, FRONT)
    assert is_whole(await client.packets(front.headers["stream-location"]))


async def test_an_arrived_photograph_taken_back_is_not_replaced(server: Running) -> None:
    """Its session analyses it already; the new one begins another session."""
    client = Tus(server.port)
    front = await client.create(len(FRONT), sessionId="a", view="front")
    await client.append(front.headers["location"], 0, FRONT)
    await until(partial(is_kept, server.settings.data, b"PRICING_ANALYSIS"))
    back = await client.create(len(BACK), sessionId="a", view="back", complete="true")
    await client.ask(front.headers["location"], "DELETE")
    again = await client.create(len(FRONT), sessionId="a", view="front")
    assert again.headers["stream-location"] != back.headers["stream-location"]
    await client.append(back.headers["location"], 0, BACK)
    assert is_whole(await client.packets(back.headers["stream-location"]))
