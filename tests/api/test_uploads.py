"""Uploads end to end, over real sockets."""

from __future__ import annotations

from tests.api.conftest import Process, Running
from tests.api.wire import JSON, MULTIPART, PHONE, ask, json_body, multipart, part


async def test_a_phone_gets_a_stream_and_a_desktop_one_object(server: Running) -> None:
    body = json_body(sessionId="260101120000", frontImageData=b"PHOTO 1", backImageData=b"PHOTO 22")
    stream = await ask(server.port, "POST", "/mobile-upload", body, JSON | PHONE)
    assert stream.status == 200
    assert stream.types[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert stream.types[-1] == "ANALYSIS_COMPLETE"


async def test_multipart(shared: Process) -> None:
    body = multipart([part("sessionId", b"m1"), part("front_image", b"PHOTO m", "a.jpg")])
    answer = await ask(shared.port, "POST", "/mobile-upload", body, MULTIPART)
    assert answer.status == 200
    assert answer.json()["sessionId"] == "m1"
    assert answer.json()["details"] == {"bytes": {"front": 7, "back": None, "angled": None}}
