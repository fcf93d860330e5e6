"""Tests with slightly malformed uploads: each gets a clear answer, and none kills a worker or grows memory.

The examples are the same in every run; `PINACTORS_FUZZ=5000` tries 5,000 random ones instead.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.api.wire import BOUNDARY, JSON, MULTIPART, multipart, part
from tests.faults.servers import Server
from tests.processes import peak_memory

EXAMPLES = int(os.environ.get("PINACTORS_FUZZ", "120"))
SECONDS = 120
GROWTH = 1.5
"""Largest allowed ratio of the server's peak memory to its peak memory after the first uploads."""

ANSWERS = {200, 400, 409, 413, 415, 422}
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize=not os.environ.get("PINACTORS_FUZZ"),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("fuzz") / "data") as server:
        yield server


def photograph(kind: str) -> bytes:
    """A small picture of noise, the same in every run."""
    pixels = random.Random(kind).randbytes(48 * 48 * 3)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (48, 48), pixels).resize((96, 96)).save(buffer, kind, quality=80)
    return buffer.getvalue()


PHOTOGRAPHS = {kind: photograph(kind) for kind in ("JPEG", "PNG", "WEBP")}


@dataclass(frozen=True)
class Slip:
    """One change to some bytes: `what` is done at `place`, a share (0 to 1) of their number, to `length`
    bytes or with `data`."""

    what: str
    place: float
    length: int
    data: bytes

    def on(self, whole: bytes) -> bytes:
        start = int(self.place * len(whole))
        before, piece, after = whole[:start], whole[start : start + self.length], whole[start + self.length :]
        match self.what:
            case "replace":
                return before + self.data + whole[start + len(self.data) :]
            case "insert":
                return before + self.data + piece + after
            case "remove":
                return before + after
            case "repeat":
                return before + piece * 3 + after
            case "flip":
                return before + bytes(byte ^ 0x10 for byte in piece) + after
            case _:
                return before


TELLING = st.sampled_from(
    [
        b"\r\n",
        b"--" + BOUNDARY.encode(),
        b"--",
        b'"',
        b"\\",
        b"\x00",
        b"\xff\xd9",
        b"{",
        b"]",
        b"=",
        b";",
        b",",
    ]
)
SLIPS = st.lists(
    st.builds(
        Slip,
        st.sampled_from(["replace", "insert", "remove", "repeat", "flip", "end"]),
        st.floats(0, 1),
        st.integers(1, 40),
        TELLING | st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=4,
)


def slipped(whole: bytes, slips: list[Slip]) -> bytes:
    for slip in slips:
        whole = slip.on(whole)
    return whole


class Sender:
    """Sends uploads, checks each answer, and counts the answers by status."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.statuses: dict[int, int] = {}

    def send(self, body: bytes, headers: dict[str, str]) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=SECONDS)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
                connection.request("POST", "/mobile-upload?response=json", body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        assert answer.status in ANSWERS, text
        parsed = json.loads(text)
        assert isinstance(parsed, dict)
        assert parsed["success"] is (answer.status == 200)
        if answer.status != 200:
            assert parsed["errorCode"] != "processing_error"
            assert parsed["message"]
            assert "Traceback" not in text.decode()
        return parsed


@pytest.fixture
def sender(server: Server) -> Iterator[Sender]:
    """A `Sender`; asserts after the test that no worker died, no error was logged, and memory is bounded."""
    sender = Sender(server)
    for data in PHOTOGRAPHS.values():
        sender.send(multipart([part("front_image", data, "a")]), MULTIPART)
    assert sender.statuses == {200: 3}
    died = trio.run(server.restarts)
    logged = len(server.log)
    small = peak_memory(server.pid)
    yield sender
    assert trio.run(server.restarts) == died, "an upload has killed a worker"
    new = server.log[logged:]
    assert "Traceback" not in new
    assert '"level": "error"' not in new
    assert peak_memory(server.pid) < GROWTH * small
    assert len(sender.statuses) > 1, "nothing was refused: the uploads are not malformed"


def json_upload(data: bytes) -> bytes:
    text = base64.b64encode(data).decode()
    fields = {"sessionId": "260101120000", "frontImageData": f"data:image/png;base64,{text}"}
    return json.dumps({**fields, "backImageData": text, "prompts": {"a": [1, None]}}).encode()


def parts_upload(data: bytes) -> bytes:
    return multipart(
        [
            part("sessionId", b"260101120000"),
            part("front_image", data, "front.jpg"),
            part("backImageData", base64.b64encode(data)),
        ]
    )


BODIES: dict[str, tuple[Callable[[bytes], bytes], dict[str, str]]] = {
    "json": (json_upload, JSON),
    "multipart": (parts_upload, MULTIPART),
}


@pytest.mark.parametrize("kind", BODIES)
def test_bodies(sender: Sender, kind: str) -> None:
    """The photograph in the body is short, so that most changes hit names, quotes and boundaries."""
    make, headers = BODIES[kind]
    whole = make(b"PHOTO")

    @fuzzed
    @given(SLIPS)
    def check(slips: list[Slip]) -> None:
        sender.send(slipped(whole, slips), headers)

    check()


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_photographs(sender: Sender, kind: str) -> None:
    """The changed photograph is decoded in a real worker, and analysed or refused with an expected code."""
    whole = PHOTOGRAPHS[kind]

    @fuzzed
    @given(SLIPS, st.booleans())
    def check(slips: list[Slip], at_the_head: bool) -> None:
        split = 64 if at_the_head else 0  # the head has sizes, tables and types
        data = slipped(whole[:split], slips) + whole[split:] if split else slipped(whole, slips)
        answer = sender.send(multipart([part("front_image", data, "a")]), MULTIPART)
        if not answer["success"]:
            assert answer["errorCode"] in ("invalid_format", "too_large", "missing_image"), answer

    check()


def test_base64(sender: Sender) -> None:
    """The photograph is almost base64, with wrong padding, line breaks, other alphabets or prefixes."""
    text = base64.b64encode(b"PHOTO" + bytes(range(200))).decode()
    prefixes = st.sampled_from(
        ["", "data:image/png;base64,", "data:,", "data:;base64,", "DATA:image/x;BASE64,", " "]
    )
    odd = st.text(st.sampled_from("=\n\r\t -_+/.AZaz09é\U0001f600\x00"), min_size=1, max_size=6)

    @fuzzed
    @given(prefixes, st.integers(0, len(text)), odd, st.booleans())
    def check(prefix: str, place: int, piece: str, escaped: bool) -> None:
        value = prefix + text[:place] + piece + text[place:]
        body = json.dumps({"frontImageData": value}, ensure_ascii=escaped).encode()
        sender.send(body, JSON)

    check()


def test_headers(sender: Sender) -> None:
    """A correct body is sent with malformed content types and boundaries."""
    types = st.sampled_from(
        ["multipart/form-data", "application/json", "multipart/mixed", "MULTIPART/form-data", ""]
    )
    latin = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=90)
    body = parts_upload(b"PHOTO")

    @fuzzed
    @given(
        types,
        latin,
        st.sampled_from(["boundary=", "; boundary=", '; boundary="', ";charset=x; boundary*=", ""]),
    )
    def check(kind: str, value: str, joint: str) -> None:
        sender.send(body, {"Content-Type": f"{kind}{joint}{value}", "x-session-id": value or "x"})

    check()
