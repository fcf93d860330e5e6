"""Each error in an upload has its own status, code and message, and costs no memory."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from itertools import chain

import pytest
import trio
from PIL import Image

from pinactors.protocol import View
from tests.api.conftest import Process
from tests.api.wire import (
    BOUNDARY,
    JSON,
    LIMIT,
    MULTIPART,
    PHONE,
    Answer,
    ask,
    connected,
    head,
    json_body,
    multipart,
    part,
)
from tests.drawing import chunk
from tests.processes import forget_peak, peak_memory

UPLOAD = "/mobile-upload"


def jpeg(side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A small PNG whose header declares `width` by `height` pixels."""
    pixels = zlib.compress(bytes(60_000), 0)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class Case:
    body: bytes
    status: int
    code: str
    says: str
    field: str | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=lambda: dict(JSON))


FINE = b"PHOTO"

CASES = {
    "no front image": Case(json_body(sessionId="1"), 400, "missing_image", "Front image required", "front"),
    "front image null": Case(
        json_body(frontImageData=None), 400, "missing_image", "Front image required", "front"
    ),
    "front image empty": Case(
        json_body(frontImageData=""), 400, "missing_image", "Front image required", "front"
    ),
    "front image undefined": Case(
        json_body(frontImageData="undefined"), 400, "missing_image", "Front image required", "front"
    ),
    "only a back image": Case(
        json_body(backImageData=FINE), 400, "missing_image", "Front image required", "front"
    ),
    "an empty file input": Case(
        multipart([part("front_image", b"", "")]), 400, "missing_image", "Front image", "front", MULTIPART
    ),
    "a part without a name": Case(
        f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
        400,
        "invalid_format",
        "Content-Disposition",
        headers=MULTIPART,
    ),
    "half a surrogate pair as session id": Case(
        b'{"sessionId": "\\ud800"}', 400, "invalid_format", "printable ASCII", "sessionId"
    ),
    "not base64": Case(
        json_body(frontImageData="!!!!"), 400, "invalid_format", "not base64", "frontImageData"
    ),
    "base64 cut off": Case(
        json_body(frontImageData=FINE, backImageData="YWJjZ"),
        400,
        "invalid_format",
        "not base64",
        "backImageData",
    ),
    "a data URL that is not base64": Case(
        json_body(frontImageData="data:image/png,abc"), 400, "invalid_format", "data: URL", "frontImageData"
    ),
    "a number for an image": Case(
        json_body(frontImageData=7), 400, "invalid_format", "frontImageData must be text", "frontImageData"
    ),
    "a list for an image": Case(
        json_body(frontImageData=["a"]),
        400,
        "invalid_format",
        "frontImageData must be text",
        "frontImageData",
    ),
    "a fraction for the session": Case(
        json_body(sessionId=7.5, frontImageData=FINE),
        400,
        "invalid_format",
        "sessionId must be text",
        "sessionId",
    ),
    "a session id with a line break": Case(
        json_body(sessionId="a\nb", frontImageData=FINE),
        400,
        "invalid_format",
        "printable ASCII",
        "sessionId",
    ),
    "a session id without end": Case(
        json_body(sessionId="x" * 129, frontImageData=FINE), 400, "invalid_format", "1 to 128", "sessionId"
    ),
    "no JSON": Case(b"frontImageData=abc", 400, "invalid_format", "must be a JSON object"),
    "a JSON list": Case(b"[]", 400, "invalid_format", "must be a JSON object"),
    "an empty body": Case(b"", 400, "invalid_format", "the body is empty"),
    "half a JSON": Case(json_body(frontImageData=FINE)[:-1], 400, "invalid_format", "is incomplete"),
    "two JSONs": Case(
        json_body(frontImageData=FINE) * 2, 400, "invalid_format", "more data after the JSON object"
    ),
    "invalid UTF-8 in a value": Case(b'{"x": "\xff"}', 400, "missing_image", "Front image required", "front"),
    "invalid UTF-8 in a name": Case(b'{"\xff": 1}', 400, "missing_image", "Front image required", "front"),
    "invalid UTF-8 in a session id": Case(
        multipart([part("sessionId", b"\xff")]),
        400,
        "invalid_format",
        "not valid UTF-8",
        "sessionId",
        MULTIPART,
    ),
    "nested deeply": Case(
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "invalid_format", "nested more than"
    ),
    "10,000 fields": Case(
        json_body(**{f"f{number}": 1 for number in range(10_000)}),
        400,
        "invalid_format",
        "more than 100 fields",
    ),
    "10,000 parts": Case(
        multipart(part(f"f{number}", b"") for number in range(10_000)),
        400,
        "invalid_format",
        "more than 100 fields",
        headers=MULTIPART,
    ),
    "megabytes of white space": Case(
        b'{"x": 1,' + b" " * 2_000_000 + b'"y": 2}', 400, "invalid_format", "besides the photographs"
    ),
    "a region beyond the picture": Case(
        json_body(backRegion=[0, 0, 2, 2], frontImageData=FINE),
        400,
        "invalid_format",
        "backRegion must be x,y,width,height",
        "backRegion",
    ),
    "an image twice": Case(
        multipart([part("front_image", FINE), part("frontImageData", b"UEhPVE8=")]),
        400,
        "invalid_format",
        "given twice",
        "frontImageData",
        MULTIPART,
    ),
    "a multipart without its end": Case(
        multipart([part("front_image", FINE)])[:-20],
        400,
        "invalid_format",
        "ends before its closing boundary",
        headers=MULTIPART,
    ),
    "a multipart without boundary": Case(
        multipart([part("front_image", FINE)]),
        400,
        "invalid_format",
        "boundary",
        headers={"Content-Type": "multipart/form-data"},
    ),
    "a part's headers without end": Case(
        b"--a-boundary\r\n" + b"x: y\r\n" * 50_000,
        400,
        "invalid_format",
        "headers are too long",
        headers=MULTIPART,
    ),
    "a preamble without end": Case(
        b"x" * 500_000, 400, "invalid_format", "first boundary does not come", headers=MULTIPART
    ),
    "unknown content type": Case(
        json_body(frontImageData=FINE),
        415,
        "invalid_format",
        "Content-Type must be",
        headers={"Content-Type": "text/plain"},
    ),
    "no content type": Case(
        json_body(frontImageData=FINE), 415, "invalid_format", "was not given", headers={}
    ),
    "a compressed body": Case(
        b"\x1f\x8b", 415, "invalid_format", "identity", headers=JSON | {"Content-Encoding": "gzip"}
    ),
    "an unknown answer asked for": Case(
        json_body(frontImageData=FINE), 400, "invalid_format", "response must be one of", "response"
    ),
    "a session id with spaces in the header": Case(
        json_body(frontImageData=FINE),
        400,
        "invalid_format",
        "x-session-id must be",
        "x-session-id",
        JSON | {"x-session-id": "a b"},
    ),
    "an idempotency key with spaces": Case(
        json_body(frontImageData=FINE),
        400,
        "invalid_format",
        "Idempotency-Key must be",
        "Idempotency-Key",
        JSON | {"Idempotency-Key": "a b"},
    ),
    "not an image": Case(
        json_body(frontImageData=b"<html>"), 400, "invalid_format", "frontImageData: ", "frontImageData"
    ),
    "a truncated image": Case(
        json_body(frontImageData=jpeg(256)[:2000]),
        400,
        "invalid_format",
        "frontImageData: ",
        "frontImageData",
    ),
    "a file that declares 30,000 x 30,000": Case(
        json_body(frontImageData=bomb(30_000, 30_000)), 413, "too_large", "pixels", "frontImageData"
    ),
    "a broken back image": Case(
        json_body(frontImageData=jpeg(), backImageData=b"<html>"),
        400,
        "invalid_format",
        "backImageData: ",
        "backImageData",
    ),
    "a broken back image as a file": Case(
        multipart([part("front_image", jpeg(), "a"), part("back_image", b"<html>", "b")]),
        400,
        "invalid_format",
        "back_image: ",
        "back_image",
        MULTIPART,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_is_refused(shared: Process, name: str) -> None:
    case = CASES[name]
    path = f"{UPLOAD}?response=pdf" if case.field == "response" else UPLOAD
    answer = await ask(shared.port, "POST", path, case.body, case.headers)
    body = answer.json()
    assert (answer.status, body["errorCode"]) == (case.status, case.code), body
    assert body["success"] is False
    assert case.says in f"{body['message']}: {body['error']}"
    assert body.get("field") == case.field
    views = {"front": "front", **{f"{view}ImageData": view for view in View}}
    views |= {f"{view}{kind}": view for view in View for kind in ("_image", "Region")}
    assert body.get("view") == views.get(case.field or "")
    assert body["timestamp"].endswith("Z")
    assert "sessionId" in body
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_phone_hears_of_a_missing_front_image_in_its_stream(shared: Process) -> None:
    answer = await ask(shared.port, "POST", UPLOAD, json_body(sessionId="42"), JSON | PHONE)
    assert answer.status == 200
    assert answer.types == ["CONNECTION_ESTABLISHED", "ERROR"]
    error = answer.packets[-1]
    assert (error["errorCode"], error["message"], error["sessionId"]) == (
        "missing_image",
        "Front image required",
        "42",
    )
    assert (error["field"], error["view"]) == ("front", "front")


async def test_a_decoder_that_dies_costs_its_session_only(shared: Process) -> None:
    """The worker dies at each attempt: the session ends with an error, and the next one finds a worker."""
    answer = await ask(shared.port, "POST", UPLOAD, json_body(frontImageData=b"CRASH"), JSON | PHONE)
    assert answer.status == 200
    assert answer.types[-1] == "ERROR"
    assert answer.packets[-1]["errorCode"] == "invalid_format"
    assert "frontImageData" in answer.packets[-1]["error"]
    after = await ask(shared.port, "POST", UPLOAD, json_body(frontImageData=b"PHOTO next"), JSON)
    assert after.status == 200


class TestTooLarge:
    """The limit is 50 MiB. An upload with a larger `Content-Length` is refused before its body is sent, a
    chunked one while it is sent."""

    async def test_announced(self, shared: Process) -> None:
        with trio.fail_after(LIMIT):
            async with connected(shared.port) as wire:
                length = {"Content-Length": str(60 << 20)}
                await wire.send(head("POST", UPLOAD, JSON | length))
                answer = await wire.answer()
        assert (answer.status, answer.json()["errorCode"]) == (413, "too_large")
        assert answer.headers["connection"] == "close"

    async def test_chunked(self, shared: Process) -> None:
        forget_peak(shared.pid)
        before = peak_memory(shared.pid)
        with trio.fail_after(LIMIT):
            async with connected(shared.port) as wire, trio.open_nursery() as nursery:
                await wire.send(head("POST", UPLOAD, JSON | {"Transfer-Encoding": "chunked"}))

                async def flood() -> None:
                    start = b'{"frontImageData": "'
                    for piece in chain([start], (b"QUFB" * (1 << 16) for _ in range(220))):
                        try:
                            await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                        except trio.BrokenResourceError:
                            return

                nursery.start_soon(flood)
                answer: Answer = await wire.answer()
                nursery.cancel_scope.cancel()
        assert (answer.status, answer.json()["errorCode"]) == (413, "too_large")
        assert peak_memory(shared.pid) - before < 16 << 20

    async def test_memory_is_flat_for_the_largest_upload(self, shared: Process) -> None:
        """A photograph of 36 MiB as JSON and as multipart: the server process grows by a few buffers at
        most."""
        await ask(shared.port, "POST", UPLOAD, json_body(frontImageData=b"PHOTO"), JSON)
        forget_peak(shared.pid)
        before = peak_memory(shared.pid)
        image = b"PHOTO" + bytes(36 << 20)
        answer = await ask(shared.port, "POST", UPLOAD, json_body(frontImageData=image), JSON)
        assert answer.status == 200
        sha256 = hashlib.sha256(image).hexdigest()
        assert (shared.data / "images" / sha256[:2] / sha256).is_file()
        parts = multipart([part("front_image", image, "a.jpg")])
        answer = await ask(shared.port, "POST", UPLOAD, parts, MULTIPART)
        assert answer.status == 200
        assert peak_memory(shared.pid) - before < 16 << 20
