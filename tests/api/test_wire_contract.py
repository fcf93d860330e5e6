"""The statements of the protocol that clients rely on, each tested at the master and at the proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import running
from tests.api.proxy.conftest import proxying
from tests.api.uploads.resumable.senders import Draft, Tus, is_whole
from tests.api.wire import JSON, PHONE, Answer, ask, json_body, multipart, part

UPLOAD = "/mobile-upload"
NDJSON = {"Accept": "application/x-ndjson"}
ALLOWED = "Content-Type, Authorization, x-api-key, x-session-id"
FRONT = b"PHOTO"


@pytest.fixture(params=["master", "proxy"])
async def port(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[int]:
    async with running(tmp_path / "data") as server:
        if request.param == "master":
            yield server.port
        else:
            async with proxying(tmp_path / "proxy", [f"http://127.0.0.1:{server.port}"]) as port:
                yield port


async def upload(port: int, path: str = UPLOAD, *, front: bytes = FRONT, **headers: str) -> Answer:
    body = json_body(sessionId="251231120000", frontImageData=front, requireApproval=True, prompts={"a": []})
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(port, "POST", path, body, JSON | fields)


async def test_a_phones_stream(port: int) -> None:
    answer = await upload(port, **{"User-Agent": PHONE["User-Agent"]})
    assert answer.status == 200
    for name, value in (
        ("content-type", "application/json"),
        ("cache-control", "no-cache"),
        ("connection", "keep-alive"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-headers", ALLOWED),
        ("x-accel-buffering", "no"),
    ):
        assert answer.headers[name] == value, name
    lines = answer.body.splitlines(keepends=True)
    assert len(lines[0]) > 512
    assert all(len(line.rstrip(b"\n")) <= 8192 for line in lines)
    first = answer.packets[0]
    stream = f"/streams/{first['streamId']}"
    assert (first["streamUrl"], first["cancelUrl"], first["statusUrl"]) == (
        stream,
        stream,
        f"{stream}?offset=-1",
    )
    assert first["deadlineMs"] == 90_000
    assert {packet["sessionId"] for packet in answer.packets} == {"251231120000"}
    assert [packet["sequence"] for packet in answer.packets] == list(range(8))
    assert answer.types[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert answer.types[-1] == "ANALYSIS_COMPLETE"
    assert all(packet["timestamp"].endswith("Z") for packet in answer.packets)

    status = await ask(port, "GET", first["statusUrl"])
    assert json.loads(status.body) == answer.packets
    assert status.headers["stream-closed"] == "true"
    events = await ask(port, "GET", first["streamUrl"], headers={"Accept": "text/event-stream"})
    for event in filter(None, events.body.split(b"\n\n")):
        data, name = event.split(b"\n")
        assert data.startswith(b"data:")
        assert name.startswith(b"id:"), "an id that comes first would be taken over before its packet"
    for _ in range(2):
        assert (await ask(port, "DELETE", first["cancelUrl"])).status == 204
    for query, refused in (("?offset=77", 400), ("?offset=0000000000000099", 400), ("?live=never", 400)):
        assert (await ask(port, "GET", stream + query)).status == refused, query
    unknown = await ask(port, "GET", "/streams/nobodyknowsthisone")
    assert (unknown.status, unknown.json()["errorCode"]) == (404, "stream_not_found")


async def test_a_desktops_object_and_the_answer_to_who_will_not_wait(port: int) -> None:
    answer = (await upload(port)).json()
    assert answer["id"] == answer["recordNumber"] == answer["recordId"]
    assert (answer["success"], answer["complete"], answer["sessionId"]) == (True, True, "251231120000")
    for name in ("message", "timestamp", "authentic", "authenticityRating", "confidence", "characters"):
        assert answer[name] is not None, name
    for name in (
        "identification",
        "analysis",
        "pricing",
        "frontHtml",
        "backHtml",
        "angledHtml",
        "processingTime",
    ):
        assert name in answer
    again = await upload(port, Prefer="respond-async")
    named = again.json()
    assert again.status == 202
    assert {"streamId", "streamUrl", "cancelUrl", "statusUrl"} <= named.keys()
    assert named["streamId"] in again.headers["location"]
    assert again.headers["location"] == named["streamUrl"]
    assert again.headers["preference-applied"] == "respond-async"
    read = await ask(port, "GET", named["streamUrl"], headers=NDJSON)
    assert read.packets[-1]["id"] == answer["id"], "the same upload joins the session there was"


async def test_what_is_refused(port: int) -> None:
    body = multipart([part("sessionId", b"251231120001"), part("back_image", FRONT, "b.jpg")])
    missing = await ask(
        port, "POST", UPLOAD, body, {"Content-Type": "multipart/form-data; boundary=a-boundary"}
    )
    told = missing.json()
    assert (missing.status, told["errorCode"], told["message"]) == (
        400,
        "missing_image",
        "Front image required",
    )
    assert (told["success"], told["sessionId"]) == (False, "251231120001")
    first = await upload(port, Idempotency_Key="k")
    assert first.status == 200
    other = await upload(port, front=b"PHOTO of another", Idempotency_Key="k")
    assert (other.status, other.json()["errorCode"]) == (422, "session_conflict")
    kind = await ask(port, "POST", UPLOAD, b"x", {"Content-Type": "text/plain"})
    assert (kind.status, kind.json()["errorCode"]) == (415, "invalid_format")
    nowhere = await ask(port, "GET", "/nowhere")
    assert (nowhere.status, nowhere.json()["errorCode"]) == (404, "not_found")
    asked = {"Access-Control-Request-Headers": "content-type, upload-offset"}
    for path in (
        UPLOAD,
        "/uploads/",
        "/uploads/x",
        f"{UPLOAD}/x",
        "/streams/x",
        "/api/records",
        "/tokens",
        "/nowhere",
    ):
        preflight = await ask(port, "OPTIONS", path, headers=asked)
        assert preflight.status == 204, path
        assert preflight.headers["access-control-max-age"] == "86400"
        assert preflight.headers["access-control-allow-headers"].startswith(ALLOWED)
        assert "Upload-Offset" in preflight.headers["access-control-allow-headers"]
        assert "PATCH" in preflight.headers["access-control-allow-methods"]


async def test_an_upload_that_resumes(port: int) -> None:
    client = Draft(port, "8")
    body = multipart([part("sessionId", b"251231120002"), part("front_image", FRONT, "f.jpg")])
    created = await client.create(body[:40])
    url = created.headers["location"]
    assert (created.status, created.headers["upload-offset"]) == (201, "40")
    assert created.headers["upload-complete"] == "?0"
    [(status, told)] = [answer for answer in created.interim if "location" in answer[1]]
    assert (status, told["location"], told["upload-draft-interop-version"]) == (104, url, "8")

    asked = await client.ask(url)
    assert (asked.status, asked.body) == (204, b"")
    for name, value in (
        ("upload-offset", "40"),
        ("upload-complete", "?0"),
        ("cache-control", "no-store"),
    ):
        assert asked.headers[name] == value, name
    assert "max-size=52428800" in asked.headers["upload-limit"]
    assert "max-age=" in asked.headers["upload-limit"]

    wrong = await client.append(url, 7, body[7:], complete=True)
    assert (wrong.status, wrong.headers["upload-offset"]) == (409, "40")
    assert wrong.headers["content-type"] == "application/problem+json"
    problem = wrong.json()
    assert problem["type"].endswith("#mismatching-upload-offset")
    assert (problem["expected-offset"], problem["provided-offset"]) == (40, 7)
    plain = await client.append(url, 40, body[40:], complete=True, **JSON)
    assert plain.status == 415, "from version 6 on it is application/partial-upload"

    done = await client.append(url, 40, body[40:], complete=True)
    assert (done.status, done.headers["content-type"]) == (200, "application/x-ndjson")
    assert done.headers["upload-complete"] == "?1"
    assert is_whole(done.packets)
    assert done.packets[0]["sessionId"] == "251231120002"
    length = (await client.ask(url)).headers
    assert (length["upload-complete"], length["upload-length"]) == ("?1", str(len(body)))

    given_up = (await client.create(body[:9])).headers["location"]
    assert (await client.ask(given_up, "DELETE")).status == 204
    gone = await client.append(given_up, 9, body[9:], complete=True)
    assert (gone.status, gone.json()["errorCode"]) == (404, "not_found")


@pytest.mark.parametrize("version", ["3", "5", "6", "8"])
async def test_one_that_is_completed_is_answered_as_the_plain_upload(port: int, version: str) -> None:
    client = Draft(port, version, headers={"Accept": "*/*"})
    body = multipart([part("sessionId", b"r" + version.encode()), part("front_image", FRONT, "f.jpg")])
    created = await client.create(Accept="*/*")
    assert created.headers["upload-incomplete" if version == "3" else "upload-complete"] in ("?1", "?0")
    answer = await client.append(created.headers["location"], 0, body, complete=True, Accept="*/*")
    assert answer.status == 200
    assert (answer.json()["success"], answer.json()["sessionId"]) == (True, f"r{version}")
    refused = (await client.create(Accept="*/*")).headers["location"]
    broken = multipart([part("front_image", FRONT, "f"), part("back_image", b"<html>", "b")])
    answer = await client.append(refused, 0, broken, complete=True, Accept="*/*")
    told = answer.json()
    assert (answer.status, told["errorCode"], told["field"], told["view"]) == (
        400,
        "invalid_format",
        "back_image",
        "back",
    )


async def test_one_photograph_at_a_time(port: int) -> None:
    client = Tus(port)
    back = await client.create(10, sessionId="251231120003", view="back")
    assert (back.status, back.headers["tus-resumable"]) == (201, "1.0.0")
    assert back.headers["upload-offset"] == "0"
    assert "upload-expires" in back.headers
    stream, url = back.headers["stream-location"], back.headers["location"]
    assert (await ask(port, "GET", stream)).status == 200, "its packets are read while it is sent"
    half = await client.append(url, 0, b"PHOTO")
    assert (half.status, half.headers["upload-offset"]) == (204, "5")
    assert (await client.ask(url)).headers["upload-offset"] == "5"
    assert (await client.append(url, 3, b"TO")).status == 409
    bad = await client.append(url, 5, b" back", **{"Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="})
    assert (bad.status, bad.json()["field"]) == (460, "Upload-Checksum")
    assert (await client.append(url, 5, b" back")).headers["upload-offset"] == "10"
    assert await client.send(FRONT, sessionId="251231120003", view="front", complete="true") == stream
    packets = await client.packets(stream)
    assert is_whole(packets)
    [details] = [packet for packet in packets if packet["packetType"] == "DETAILED_ANALYSIS"]
    assert details["details"]["bytes"] == {"front": len(FRONT), "back": 10, "angled": None}
    taken_back = (await client.create(5, sessionId="251231120004")).headers["location"]
    assert (await client.ask(taken_back, "DELETE")).status == 204
    assert (await client.ask(taken_back)).status == 404
    other = await ask(port, "POST", "/uploads/", headers={"Tus-Resumable": "0.2.2", "Upload-Length": "1"})
    assert (other.status, other.headers["tus-version"]) == (412, "1.0.0")
    capable = (await ask(port, "OPTIONS", "/uploads/")).headers
    assert capable["tus-extension"].split(",") == [
        "creation",
        "creation-with-upload",
        "expiration",
        "checksum",
        "termination",
    ]
    assert capable["tus-max-size"] == "52428800"


async def test_small_sentences(port: int) -> None:
    plain = await ask(port, "GET", "/ws")
    assert (plain.status, plain.headers["upgrade"]) == (426, "websocket")
    for value in ("", "undefined"):
        seen = await upload(port, front=FRONT + b" of " + value.encode(), Idempotency_Key=value)
        assert seen.status == 200, "a header that says nothing is none"
    stream = (await upload(port, Accept="application/x-ndjson")).packets[0]["streamUrl"]
    for end, fields in (("?offset=now", {}), ("", {"Accept": "text/event-stream", "Last-Event-ID": ""})):
        assert (await ask(port, "GET", stream + end, headers=fields)).status == 200
    refused = await ask(port, "GET", stream, headers={"Accept": "text/event-stream", "Last-Event-ID": "x"})
    assert (refused.status, refused.json()["field"]) == (400, "Last-Event-ID")
    tokens = await ask(port, "POST", "/tokens", b"{}", JSON)
    assert (tokens.status, tokens.json()["errorCode"]) == (401, "unauthorized"), "a token is made with a key"
