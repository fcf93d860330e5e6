"""What clients rely on, sentence by sentence of the protocol, the same at the master and at the proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import running
from tests.api.proxy.conftest import proxying
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
