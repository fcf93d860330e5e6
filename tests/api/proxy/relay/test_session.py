"""A session whose phone hangs up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from tests.api.conftest import running
from tests.api.drawn import Gate
from tests.api.proxy.conftest import LIMIT, UPLOAD, assert_whole, proxying, upload, wait_for_sessions
from tests.api.proxy.scripted import OPENING, STARTED, STREAM, chunk, says, scripted
from tests.api.rawsocket import opened
from tests.api.wire import JSON, PHONE, ask, connected, json_body

KEPT = ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]


async def test_a_phone_that_hangs_up_in_its_upload_leaves_nothing(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with scripted(says(STREAM, then_silent=True)) as master:
            async with proxying(tmp_path, [master.url]) as port:
                body = json_body(frontImageData=b"PHOTO" * 100_000)
                async with connected(port) as wire:
                    await wire.request("POST", UPLOAD, body, JSON | PHONE | {"Content-Length": "900000"})
                    await wait_for_sessions(port, 1)
                await wait_for_sessions(port, 0)
            assert list((tmp_path / "proxy").iterdir()) == []


async def test_a_phone_that_hangs_up_later_finds_everything(tmp_path: Path) -> None:
    """The session continues, and the next proxy process takes over streams that have not ended."""
    script = says(STREAM, chunk(OPENING + b"\n" + STARTED + b"\n"), then_silent=True)
    with trio.fail_after(LIMIT):
        async with scripted(script) as master:
            async with proxying(tmp_path, [master.url], graceful_shutdown=0.1) as port:
                async with connected(port) as wire:
                    await wire.request("POST", UPLOAD, json_body(frontImageData=b"PHOTO"), JSON | PHONE)
                    await wire.stream_id()
                assert (await ask(port, "GET", "/health")).json()["sessions"] == 1
            async with proxying(tmp_path, [master.url], graceful_shutdown=0.1) as port:
                again = await ask(port, "GET", "/streams/aaaaaaaaaaaaaaaaaaaaaaaa", headers={})
                assert [packet["packetType"] for packet in json.loads(again.body)] == KEPT


async def until_cancelled(port: int, path: str) -> None:
    while True:
        packets = (await ask(port, "GET", f"{path}?offset=-1")).body
        if b'"cancelled"' in packets:
            return
        await trio.sleep(0.02)


@pytest.mark.parametrize("how", ["stream", "websocket"])
async def test_with_the_policy_cancel_a_phone_that_hangs_up_ends_its_session(
    tmp_path: Path, gate: Gate, how: str
) -> None:
    """The session ends at the proxy and also at the master, so that the CPU is free for others, although the
    master's own policy is to continue."""
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"], disconnect="cancel") as port,
        ):
            if how == "stream":
                async with connected(port) as wire:
                    body = json_body(frontImageData=gate.photograph())
                    await wire.request("POST", UPLOAD, body, JSON | PHONE)
                    path = f"/streams/{await wire.stream_id()}"
            else:
                async with opened(port) as socket:
                    await socket.send(images=["front"])
                    await socket.send_photograph(gate.photograph())
                    path = f"/streams/{(await socket.until('PROCESSING_STARTED'))[0]['streamId']}"
            await wait_for_sessions(port, 0)
            await until_cancelled(port, path)
            await until_cancelled(master.port, path)
            again = await upload(port, "next")
            assert_whole(again, "next")


async def test_with_the_policy_cancel_who_polls_has_not_left_between_two_polls(
    tmp_path: Path, gate: Gate
) -> None:
    """The analysis ends after three polls without packets."""
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master", disconnect="cancel") as master,
            proxying(
                tmp_path / "proxy",
                [f"http://127.0.0.1:{master.port}"],
                disconnect="cancel",
                keepalive=0.3,
            ) as port,
        ):
            body = json_body(sessionId="poll", frontImageData=gate.photograph())
            accepted = await ask(port, "POST", UPLOAD, body, JSON | {"Prefer": "respond-async"})
            assert accepted.status == 202
            packets, headers, empty = [], {"stream-next-offset": "-1"}, 0
            while "stream-closed" not in headers:
                query = f"?offset={headers['stream-next-offset']}&live=long-poll"
                answer = await ask(port, "GET", accepted.headers["location"] + query)
                assert answer.status in (200, 204)
                packets += json.loads(answer.body or b"[]")
                headers = answer.headers
                empty += answer.status == 204
                if empty == 3:
                    gate.open()
            assert [packet["sequence"] for packet in packets] == list(range(8))
            assert packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
