"""The proxy in front of one good master: the same bytes, the same refusals, and the small requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from pinactors.client import analyze
from pinactors.protocol import View
from tests.api.conftest import running
from tests.api.drawn import LONG_PHOTO, Gate
from tests.api.proxy.conftest import LIMIT, NDJSON, UPLOAD, assert_whole, proxying, upload
from tests.api.uploads.test_bad_input import CASES
from tests.api.wire import JSON, MULTIPART, PHONE, ask, connected, head, json_body, metric, multipart, part
from tests.conftest import ErrorLogs


@dataclass
class Pair:
    master: int
    proxy: int


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with (
        running(tmp_path / "master", max_request_bytes=1 << 20) as master,
        proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"], max_request_bytes=1 << 20) as port,
    ):
        yield Pair(master.port, port)


async def test_every_framing_has_the_masters_own_bytes(pair: Pair) -> None:
    body = json_body(sessionId="same", frontImageData=b"PHOTO", backImageData=b"PHOTO 2")
    with trio.fail_after(LIMIT):
        assert_whole(await ask(pair.proxy, "POST", UPLOAD, body, JSON | PHONE), "same")
        for headers in (PHONE, {"Accept": "text/event-stream"}, {"Accept": "application/x-ndjson"}, {}):
            through = await ask(pair.proxy, "POST", UPLOAD, body, JSON | headers)
            direct = await ask(pair.master, "POST", UPLOAD, body, JSON | headers)
            assert through.body == direct.body
            assert through.headers["content-type"] == direct.headers["content-type"]
        assert await metric(pair.proxy, "pinactors_proxy_added_seconds_count") >= 8


async def test_ids_of_a_request_reach_the_masters_log(pair: Pair, error_logs: ErrorLogs) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    ids = {"X-Request-ID": "edge-17", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    body = json_body(sessionId="traced", frontImageData=b"PHOTO")
    with trio.fail_after(LIMIT):
        assert (await ask(pair.proxy, "POST", UPLOAD, body, JSON | PHONE | ids)).status == 200
        await ask(pair.proxy, "GET", "/api/records", headers=ids)
        await ask(pair.proxy, "GET", "/livez", headers={"X-Request-ID": "bad id", "traceparent": "00-x"})
    lines = [line for line in error_logs.entries if line["event"] == "request"]
    named = [
        line["path"] for line in lines if line.get("request") == "edge-17" and line.get("trace") == trace
    ]
    assert sorted(named) == ["/api/records", "/api/records", UPLOAD, UPLOAD], "the proxy's and the master's"
    (other,) = [line for line in lines if line["path"] == "/livez"]
    assert not {"request", "trace"} & other.keys()


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/api/proxy/mobile-upload", PHONE, "application/json"),
        ("/api/proxy/mobile-upload", {}, "application/json"),
        (
            "/api/proxy/mobile-upload",
            PHONE | {"Accept": "application/json, text/plain, */*"},
            "application/json",
        ),
        ("/api/proxy/mobile-upload", PHONE | {"Accept": "application/x-ndjson"}, "application/x-ndjson"),
        ("/api/proxy/mobile-upload?response=sse", PHONE, "text/event-stream"),
        ("/api/proxy/mobile-upload?response=json", PHONE, "application/json"),
    ],
)
async def test_the_proxys_own_name_answers_with_one_object(
    pair: Pair, path: str, headers: dict[str, str], kind: str
) -> None:
    """The current web client reads `response.json()` from this path, also on a phone; a client that needs a
    stream must request it."""
    body = json_body(sessionId="web", frontImageData=b"PHOTO")
    answer = await ask(pair.proxy, "POST", path, body, JSON | headers)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    if kind == "application/json":
        assert answer.json()["complete"] is True


async def test_an_object_that_takes_long_begins_before_clients_give_up(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinactors.api.streams.reader.SILENCE_SECONDS", 0.1)
    with trio.fail_after(LIMIT):
        for port in (pair.master, pair.proxy):
            gate = Gate(tmp_path / f"gate-{port}")
            body = json_body(sessionId=f"slow-{port}", frontImageData=gate.photograph())
            async with connected(port) as wire:
                await wire.request("POST", "/mobile-upload", body, JSON)
                await wire.read_until(b"\r\n\r\n", b"\r\n ")  # the first chunk of the body
                gate.open()
                answer = await wire.answer()
            assert answer.status == 200
            assert answer.body.startswith(b" ")
            assert answer.json()["complete"] is True


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


async def test_what_the_master_refuses_is_refused_alike(pair: Pair) -> None:
    cases = [
        (b"{}trailing", JSON, 400),
        (json_body(sessionId="x"), JSON, 400),
        (b"x", {"Content-Type": "text/plain"}, 415),
        (json_body(frontImageData=b"x" * (1 << 20)), JSON, 413),
        (json_body(sessionId="sp ace", frontImageData=b"PHOTO"), JSON, 400),
        (json_body(frontImageData=b"PHOTO"), JSON | {"Idempotency-Key": "sp ace"}, 400),
    ]
    with trio.fail_after(LIMIT):
        for body, headers, status in cases:
            through = await ask(pair.proxy, "POST", UPLOAD, body, headers)
            direct = await ask(pair.master, "POST", UPLOAD, body, headers)
            assert through.status == direct.status == status
            for name in ("message", "error", "errorCode", "field"):
                assert through.json().get(name) == direct.json().get(name), name


async def test_whatever_is_wrong_with_an_upload_is_said_in_the_masters_words(pair: Pair) -> None:
    with trio.fail_after(2 * LIMIT):
        for name, case in CASES.items():
            path = f"{UPLOAD}?response=pdf" if case.field == "response" else UPLOAD
            through = await ask(pair.proxy, "POST", path, case.body, case.headers)
            direct = await ask(pair.master, "POST", path, case.body, case.headers)
            status = case.status if len(case.body) <= 1 << 20 else 413  # the limit in these tests
            assert through.status == direct.status == status, name
            for field in ("message", "error", "errorCode", "field"):
                assert through.json().get(field) == direct.json().get(field), (name, field)


async def test_the_same_key_with_other_images_is_a_conflict(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        key = {"Idempotency-Key": "k"}
        assert_whole(await upload(pair.proxy, "one", b"PHOTO 1", **key))
        other = await ask(
            pair.proxy, "POST", UPLOAD, json_body(sessionId="one", frontImageData=b"PHOTO 2"), JSON | key
        )
        assert (other.status, other.json()["errorCode"]) == (422, "session_conflict")


async def test_small_requests_reach_the_master(pair: Pair) -> None:
    with trio.fail_after(LIMIT):
        answer = await upload(pair.proxy, "fb")
        feedback = {"recordNumber": answer.packets[-1]["id"], "pinId": "fb", "userAgreement": "agree"}
        confirmed = await ask(pair.proxy, "POST", "/api/mobile/confirm-pin", json_body(**feedback), JSON)
        assert confirmed.json()["success"] is True
        wrong = await ask(
            pair.proxy, "POST", "/api/mobile/confirm-pin", json_body(**feedback | {"recordNumber": 99}), JSON
        )
        assert wrong.status == 404
        assert (await ask(pair.proxy, "GET", "/api/mobile/provisional-pins?limit=5")).json()["total"] == 0
        described = (await ask(pair.proxy, "GET", "/openapi.json")).json()
        assert "/api/proxy/mobile-upload" in described["paths"], "the proxy describes itself"
        for path in ("/", "/static/pinactors.js"):
            headers = {"Accept": "text/html"}
            through = await ask(pair.proxy, "GET", path, headers=headers)
            direct = await ask(pair.master, "GET", path, headers=headers)
            assert (through.status, through.body) == (200, direct.body)
            assert through.headers["content-type"] == direct.headers["content-type"]
            assert through.headers.get("content-security-policy") == direct.headers.get(
                "content-security-policy"
            )
        preflight = await ask(pair.proxy, "OPTIONS", "/api/proxy/mobile-upload")
        assert preflight.headers["access-control-max-age"] == "86400"
        assert (await ask(pair.proxy, "GET", "/api/proxy/health")).json()["status"] == "ok"


async def test_header_fields_need_not_be_ascii(pair: Pair) -> None:
    """Some apps send their name as `User-Agent`; HTTP/1.1 allows all bytes from 0x80 to 0xFF in a field."""
    other = {"User-Agent": "Nadelzähler/1.0", "Accept": "*/*;x=ä", "If-None-Match": '"ä"'}
    parameter = {name: f"{value}; charset=ä" for name, value in MULTIPART.items()}
    form = multipart([part("sessionId", b"form"), part("front_image", b"PHOTO", "f")])
    feedback = json_body(recordNumber=99, pinId="x", userAgreement="agree")
    requests: list[tuple[str, str, bytes, dict[str, str], int]] = [
        ("POST", UPLOAD, form, parameter, 200),
        ("POST", UPLOAD, form, MULTIPART | {"Idempotency-Key": "ä"}, 400),
        ("POST", UPLOAD, form, MULTIPART | {"x-session-id": "ä"}, 400),
        ("GET", "/api/records", b"", {}, 200),
        ("GET", "/", b"", {}, 200),
        ("POST", "/api/mobile/confirm-pin", feedback, JSON, 404),
    ]
    with trio.fail_after(LIMIT):
        for method, path, body, headers, status in requests:
            for port in (pair.master, pair.proxy):
                answer = await ask(port, method, path, body, other | headers)
                assert answer.status == status, (path, headers, answer.body)
                if port == pair.proxy and "x-session-id" in headers:
                    assert answer.json()["field"] == "x-session-id"
        refused = await ask(pair.proxy, "GET", "/api/records", headers={"x-api-key": "ä"})
        assert (refused.status, refused.json()["errorCode"]) == (401, "unauthorized")


@pytest.mark.parametrize("transport", ["ndjson", "long-poll", "websocket"])
async def test_the_client_of_this_project_works_through_it(pair: Pair, transport: str) -> None:
    images = {View.FRONT: LONG_PHOTO + bytes(150_000), View.BACK: b"PHOTO"}
    with trio.fail_after(LIMIT):
        async with analyze(
            f"http://127.0.0.1:{pair.proxy}",
            images,
            session_id="c",
            transport=transport,  # type: ignore[arg-type]
        ) as packets:
            received = [packet async for packet in packets]
    assert [packet.fields["sequence"] for packet in received] == list(range(8))
    assert received[-1].kind == "ANALYSIS_COMPLETE"
    details = next(packet for packet in received if packet.kind == "DETAILED_ANALYSIS")
    assert details.fields["details"]["bytes"] == {
        "front": 150_000 + len(LONG_PHOTO),
        "back": 5,
        "angled": None,
    }
