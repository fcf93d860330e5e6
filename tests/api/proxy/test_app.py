"""The proxy in front of one good master: the same bytes, the same refusals, and reading streams again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from pinactors.client import analyze
from pinactors.protocol import View
from tests.api.conftest import running
from tests.api.drawn import LONG_PHOTO, Gate
from tests.api.proxy.conftest import LIMIT, UPLOAD, Pair, assert_whole, proxying, upload
from tests.api.uploads.test_bad_input import CASES
from tests.api.wire import JSON, PHONE, ask, connected, json_body, metric
from tests.conftest import ErrorLogs


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


async def test_events_are_resumed_through_the_proxy_as_a_browser_does_it(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as port,
        ):
            body = json_body(sessionId="sse", frontImageData=b"PHOTO")
            whole = await ask(port, "POST", UPLOAD, body, JSON | {"Accept": "text/event-stream"})
            events = [event for event in whole.body.split(b"\n\n") if event.startswith(b"data:")]
            assert len(events) == 8
            opening = events[0].partition(b"\n")[0].removeprefix(b"data:")
            path = f"/streams/{json.loads(opening)['streamId']}"
            for had in range(1, 8):
                last = events[had - 1].rpartition(b"\nid:")[2].decode()
                headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
                for asked in (port, master.port):
                    rest = await ask(asked, "GET", path, headers=headers)
                    assert rest.body.split(b"\n\n")[:-1] == events[had:]
            done = {
                "Accept": "text/event-stream",
                "Last-Event-ID": events[-1].rpartition(b"\nid:")[2].decode(),
            }
            assert (await ask(port, "GET", path, headers=done)).status == 204
