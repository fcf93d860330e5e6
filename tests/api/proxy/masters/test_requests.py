"""Requests to faulty masters: the phone gets an error within the deadline, or another master serves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT, UPLOAD, assert_whole, proxying, upload
from tests.api.proxy.scripted import OPENING, STARTED, STREAM, Script, chunk, repeats, says, scripted
from tests.api.wire import JSON, PHONE, Answer, ask, connected, head, json_body
from tests.waiting import stopwatch

DEADLINE = 2.0
SETTINGS = {"deadline": DEADLINE, "proxy_silence": 0.4, "keepalive": 0.3}

HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"
TEAPOT = b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n"
PREMATURE_END = b'{"packetType":"ANALYSIS_COMPLETE","sessionId":"s","timestamp":"t","sequence":1}'

BAD: dict[str, Script] = {
    "wrong status": says(TEAPOT),
    "redirect": says(MOVED),
    "html": says(HTML),
    "garbage for http": says(b"\x00\xff\x13SSH-2.0 whatever\r\n\r\n"),
    "garbage for packets": says(STREAM, chunk(b"\x80\x81 no packets\n")),
    "not objects": says(STREAM, chunk(b"[1,2]\n")),
    "oversized line": says(STREAM, chunk(OPENING[:-1] + b',"x":"' + b"x" * 9000 + b'"}\n')),
    "line without end": repeats(STREAM, chunk(b"x" * 16_000), 0.001),
    "a name that is a path": says(STREAM, chunk(OPENING.replace(b"aaaa", b"../a") + b"\n")),
    "no opening": says(STREAM, chunk(STARTED.replace(b'"sequence":1', b'"sequence":0') + b"\n")),
    "packets without their fields": says(STREAM, chunk(OPENING + b"\n"), chunk(PREMATURE_END + b"\n")),
    "silence": says(then_silent=True),
    "silence behind the head": says(STREAM, then_silent=True),
    "silence behind packets": says(STREAM, chunk(OPENING + b"\n" + STARTED + b"\n"), then_silent=True),
    "trickle of a head": repeats(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n", 0.1),
    "trickle of a line": repeats(STREAM, chunk(b" "), 0.1),
    "trickle of blank lines": repeats(STREAM, chunk(b"\n"), 0.1),
    "flood of blank lines": repeats(STREAM, chunk(b"\n" * 30_000), 0.001),
    "flood of one packet": repeats(STREAM, chunk((OPENING + b"\n") * 100), 0.001),
    "a gap": says(STREAM, chunk(OPENING + b"\n" + STARTED.replace(b":1,", b":2,") + b"\n"), then_silent=True),
    "early end": says(STREAM, chunk(OPENING + b"\n"), b"0\r\n\r\n"),
}


MENDED = ["html", "garbage for packets", "silence behind packets", "early end", "a gap", "wrong status"]


def assert_failed(answer: Answer) -> None:
    """Asserts that the answer ends with its only `ERROR`, or is a refusal if no packet was sent."""
    if answer.status != 200:
        assert answer.status == 503
        assert answer.json()["errorCode"] == "overloaded"
        return
    assert answer.ended
    assert [packet["sequence"] for packet in answer.packets] == list(range(len(answer.packets)))
    assert answer.types[0] == "CONNECTION_ESTABLISHED"
    assert answer.types.count("ERROR") == 1
    assert answer.types[-1] == "ERROR"
    assert answer.packets[-1]["errorCode"] == "processing_error"


@pytest.mark.parametrize("name", BAD)
async def test_the_phone_is_told_within_the_deadline(tmp_path: Path, name: str) -> None:
    with trio.fail_after(LIMIT):
        async with (
            scripted(BAD[name]) as master,
            proxying(tmp_path, [master.url], **SETTINGS) as port,
            stopwatch() as watch,
        ):
            answer = await upload(port, "s")
            assert watch.seconds < DEADLINE + 1.5
            assert_failed(answer)
            assert master.uploads >= 1


@pytest.mark.parametrize("name", ["html", "silence", "trickle of a line"])
async def test_the_desktop_is_told_with_a_status(tmp_path: Path, name: str) -> None:
    with trio.fail_after(LIMIT):
        async with scripted(BAD[name]) as master, proxying(tmp_path, [master.url], **SETTINGS) as port:
            answer = await ask(port, "POST", UPLOAD, json_body(frontImageData=b"PHOTO"), JSON)
            assert answer.status == 500
            assert answer.json()["errorCode"] == "processing_error"
            assert "packetType" not in answer.json()


async def test_a_master_that_does_not_read_holds_the_phone_back_and_is_left(tmp_path: Path) -> None:
    """Back-pressure: the proxy reads at most `LEAD_BYTES` more from the phone than the master has read."""
    with trio.fail_after(LIMIT):
        async with (
            scripted(says(then_silent=True), reads=False) as master,
            proxying(tmp_path, [master.url], **SETTINGS) as port,
        ):
            sent, answer = await send_slowly(port, json_body(frontImageData=b"PHOTO" * 5_000_000))
            assert answer.status == 503
            assert sent < 24 << 20, "the kernel's buffers and the lead are smaller"
        assert not list((tmp_path / "proxy").glob("*.spool")), "the spool was not removed"


async def send_slowly(port: int, body: bytes) -> tuple[int, Answer]:
    """Sends an upload until an answer comes; returns the number of bytes sent by then, and the answer."""
    sent = 0
    async with connected(port) as wire, trio.open_nursery() as nursery:

        async def send() -> None:
            nonlocal sent
            try:
                await wire.send(head("POST", UPLOAD, JSON | PHONE | {"Content-Length": str(len(body))}))
                for start in range(0, len(body), 65536):
                    await wire.send(body[start : start + 65536])
                    sent = start
            except trio.BrokenResourceError:
                return

        nursery.start_soon(send)
        answer = await wire.answer()
        nursery.cancel_scope.cancel()
    return sent, answer


async def test_another_master_serves_what_bad_ones_do_not(tmp_path: Path) -> None:
    """Packets that the faulty master delivered are kept, and the good master's packets continue the
    stream."""
    with trio.fail_after(LIMIT):
        async with running(tmp_path / "good") as good:
            for name in MENDED:
                async with scripted(BAD[name]) as bad:
                    masters = [f"http://127.0.0.1:{good.port}", f"{bad.url};weight=1000000"]
                    settings = {**SETTINGS, "deadline": 20}
                    async with proxying(tmp_path / name.replace(" ", "-"), masters, **settings) as port:
                        answer = await upload(port, "s", f"PHOTO {name}".encode())
                        assert bad.uploads >= 1, name
                        assert_whole(answer, "s")


async def test_nobody_there_is_a_refusal_with_a_time_to_come_back(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with proxying(tmp_path, ["http://127.0.0.1:9"], **SETTINGS) as port:
            answer = await upload(port, "s")
            assert answer.status == 503
            assert answer.headers["retry-after"] == "5"
            assert answer.json()["errorCode"] == "overloaded"
            health = await ask(port, "GET", "/api/proxy/health")
            assert health.status == 503
            assert health.json()["masters"][0]["state"] == "down"
            assert (await ask(port, "GET", "/streams/none")).status == 404


async def test_a_masters_refusal_is_the_phones(tmp_path: Path) -> None:
    """The phone gets the master's status and texts, also during the upload, which then ends."""
    refusal = b'{"success":false,"message":"No","error":"Why","errorCode":"unauthorized"}'
    head = b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(refusal)
    with trio.fail_after(LIMIT):
        async with (
            scripted(says(head + refusal, then_silent=True), reads=False) as master,
            proxying(tmp_path, [master.url], **SETTINGS) as port,
        ):
            _, answer = await send_slowly(port, json_body(frontImageData=b"PHOTO" * 3_000_000))
            assert answer.status == 401
            assert (answer.json()["message"], answer.json()["error"]) == ("No", "Why")
