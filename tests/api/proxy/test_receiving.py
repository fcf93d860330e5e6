"""Uploads as the proxy receives them: answered while they arrive, or of unknown length."""

from __future__ import annotations

import trio

from tests.api.drawn import LONG_PHOTO
from tests.api.proxy.conftest import LIMIT, NDJSON, UPLOAD, Pair, assert_whole
from tests.api.wire import JSON, MULTIPART, PHONE, ask, connected, head, json_body, multipart, part


async def test_packets_come_while_the_upload_goes_on_for_those_who_ask(pair: Pair) -> None:
    body = json_body(frontImageData=b"PHOTO" * 10, backImageData=b"PHOTO" * 10)
    behind_front = body.index(b"backImageData") + 30
    headers = JSON | PHONE | {"Prefer": "respond-early", "Content-Length": str(len(body))}
    with trio.fail_after(LIMIT):
        for port in (pair.master, pair.proxy):
            async with connected(port) as wire:
                early = headers | {"x-session-id": f"early-{port}"}
                await wire.send(head("POST", UPLOAD, early) + body[:behind_front])
                stream_id = await wire.stream_id()  # from the first packet, during the upload
                await wire.send(body[behind_front:])
                answer = await wire.answer()
            assert_whole(answer, f"early-{port}")
            assert answer.packets[0]["streamId"] == stream_id


async def test_an_early_answer_is_of_a_refusal_what_any_other_is(pair: Pair) -> None:
    headers = JSON | PHONE | {"Prefer": "respond-early", "x-session-id": "e1"}
    answer = await ask(pair.proxy, "POST", UPLOAD, json_body(frontImageData="!!!!"), headers)
    assert answer.status == 200
    assert (answer.packets[-1]["errorCode"], answer.packets[-1]["field"]) == (
        "invalid_format",
        "frontImageData",
    )
    assert answer.ended


async def test_who_polls_does_not_leave_an_early_upload_unread(pair: Pair) -> None:
    """If both preferences are sent, the answer names the stream, and the server still reads the
    photographs."""
    for port in (pair.master, pair.proxy):
        headers = JSON | PHONE | {"Prefer": "respond-early, respond-async", "x-session-id": f"b{port}"}
        answer = await ask(port, "POST", UPLOAD, json_body(frontImageData=b"PHOTO"), headers)
        assert answer.status == 202
        stream = await ask(port, "GET", f"/streams/{answer.json()['streamId']}", headers=NDJSON)
        assert stream.types[-1] == "ANALYSIS_COMPLETE"


async def test_a_multipart_upload_without_a_known_length(pair: Pair) -> None:
    parts = [
        part("sessionId", b"m"),
        part("front_image", LONG_PHOTO + bytes(100_000), "f"),
        part("back_image", b"PHOTO", "b"),
    ]
    body = multipart(parts)
    chunks = [body[start : start + 9000] for start in range(0, len(body), 9000)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in chunks) + b"0\r\n\r\n"
    headers = MULTIPART | PHONE | {"Transfer-Encoding": "chunked"}
    with trio.fail_after(LIMIT):
        async with connected(pair.proxy) as wire:
            await wire.send(head("POST", UPLOAD, headers) + chunked)
            answer = await wire.answer()
    assert_whole(answer, "m")
    details = answer.packets[answer.types.index("DETAILED_ANALYSIS")]["details"]["bytes"]
    assert details == {"front": 100_000 + len(LONG_PHOTO), "back": 5, "angled": None}
