"""Uploads end to end, over real sockets, and the deadlines that proxies send."""

from __future__ import annotations

import errno
import json
import math
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from quart import Quart, request

from pinactors.api.proxy.masters.requests import Head
from pinactors.api.services import EXTENSION
from pinactors.api.uploads.mobile_upload import DEADLINE_HEADER, SECRET_HEADER, deadline
from pinactors.protocol import PinactorsError
from pinactors.settings import Settings
from pinactors.storage.images import Sink
from tests.api.conftest import Process, Running, running
from tests.api.drawn import LONG_PHOTO, Gate
from tests.api.wire import (
    JSON,
    LIMIT,
    MULTIPART,
    PHONE,
    Answer,
    Wire,
    ask,
    connected,
    head,
    json_body,
    metric,
    multipart,
    part,
    until,
)

UPLOAD = "/mobile-upload"
LONG = LONG_PHOTO + bytes(1000)


async def upload(port: int, body: bytes, headers: dict[str, str]) -> Answer:
    return await ask(port, "POST", UPLOAD, body, headers)


async def test_a_phone_gets_packets_and_a_desktop_their_merge(shared: Process) -> None:
    body = json_body(
        sessionId="260101120000", frontImageData=b"PHOTO 1", backImageData=b"PHOTO 22", prompts={}
    )
    stream = await upload(shared.port, body, JSON | PHONE)
    assert (stream.status, stream.headers["content-type"]) == (200, "application/json")
    assert stream.types[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert stream.types[-1] == "ANALYSIS_COMPLETE"
    assert [packet["sequence"] for packet in stream.packets] == list(range(8))
    desktop = await upload(shared.port, body, JSON)
    assert desktop.status == 200
    assert desktop.json()["id"] == stream.packets[-1]["id"], "the same upload again joins"
    assert desktop.json()["details"] == {"bytes": {"front": 7, "back": 8, "angled": None}}


@pytest.mark.parametrize(
    "body",
    [
        multipart([part("sessionId", b"m"), part("front_image", b"PHOTO m", "a.jpg"), part("x", b"ignored")]),
        multipart([part("front_image", b"PHOTO m", "a.jpg"), part("sessionId", b"m")]),
        multipart([part("sessionId", b"m"), part("frontImageData", b"UEhPVE8gbQ==")]),
    ],
)
async def test_parts_bytes_or_text_are_the_same_upload(shared: Process, body: bytes) -> None:
    as_json = await upload(shared.port, json_body(sessionId="m", frontImageData=b"PHOTO m"), JSON)
    answer = await upload(shared.port, body, MULTIPART)
    assert answer.status == 200
    assert answer.json()["sessionId"] == "m"
    assert answer.json()["id"] == as_json.json()["id"]


async def test_the_address_may_end_with_a_slash(shared: Process) -> None:
    body = json_body(sessionId="s", frontImageData=b"PHOTO s")
    answer = await ask(shared.port, "POST", "/mobile-upload/", body, JSON)
    assert (answer.status, answer.json()["sessionId"]) == (200, "s")


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": ""},
        {"Idempotency-Key": "undefined"},
        {"x-session-id": "null"},
        {"Content-Encoding": ""},
        {"Prefer": ""},
    ],
)
async def test_a_header_that_says_nothing_is_none(shared: Process, headers: dict[str, str]) -> None:
    """Otherwise `undefined` would be the same key for all uploads of a faulty client."""
    [name] = headers
    ids = set()
    for number in range(2):
        body = json_body(frontImageData=f"PHOTO {name} {headers[name]} {number}".encode())
        answer = await upload(shared.port, body, JSON | headers)
        assert answer.status == 200, answer.body
        assert answer.json()["sessionId"].isdigit()
        ids.add(answer.json()["id"])
    assert len(ids) == 2


class TestSessionIds:
    async def test_the_header_names_the_session_when_the_body_does_not(self, shared: Process) -> None:
        headers = JSON | {"X-Session-Id": "by-header"}
        answer = await upload(shared.port, json_body(frontImageData=b"PHOTO h"), headers)
        assert answer.json()["sessionId"] == "by-header"
        answer = await upload(shared.port, json_body(sessionId="body", frontImageData=b"PHOTO h"), headers)
        assert answer.json()["sessionId"] == "body"

    async def test_one_is_made_when_there_is_none(self, shared: Process) -> None:
        answer = await upload(shared.port, json_body(frontImageData=b"PHOTO n"), JSON)
        assert len(answer.json()["sessionId"]) == 12

    async def test_one_behind_all_photographs_is_the_one(self, shared: Process) -> None:
        """By then, work has begun with a generated session id."""
        body = multipart(
            [part("front_image", b"PHOTO late"), part("back_image", b"PHOTO b"), part("sessionId", b"late")]
        )
        answer = await upload(shared.port, body, MULTIPART | PHONE)
        assert answer.types[-1] == "ANALYSIS_COMPLETE"
        assert {packet["sessionId"] for packet in answer.packets} == {"late"}

    async def test_a_refusal_names_it(self, shared: Process) -> None:
        body = json_body(sessionId="mine", frontImageData="!")
        assert (await upload(shared.port, body, JSON)).json()["sessionId"] == "mine"


class TestIdempotency:
    async def test_the_same_key_joins_and_other_images_are_refused(self, shared: Process) -> None:
        headers = JSON | {"Idempotency-Key": "k1"}
        first = await upload(shared.port, json_body(sessionId="a", frontImageData=b"PHOTO i"), headers)
        again = await upload(shared.port, json_body(sessionId="b", frontImageData=b"PHOTO i"), headers)
        assert again.json()["id"] == first.json()["id"]
        other = await upload(shared.port, json_body(sessionId="a", frontImageData=b"PHOTO j"), headers)
        assert (other.status, other.json()["errorCode"]) == (422, "session_conflict")
        assert other.json()["field"] == "Idempotency-Key"


class TestOverlap:
    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (json_body(sessionId="o", frontImageData=b"PHOTO f", backImageData=LONG), JSON),
            (
                multipart(
                    [part("sessionId", b"o"), part("front_image", b"PHOTO f"), part("back_image", LONG)]
                ),
                MULTIPART,
            ),
            (multipart([part("front_image", b"PHOTO f"), part("back_image", LONG)]), MULTIPART),
        ],
    )
    async def test_the_front_is_worked_on_while_the_back_is_being_sent(
        self, server: Running, body: bytes, headers: dict[str, str]
    ) -> None:
        half = body.index(b"back") + 300
        async with connected(server.port) as wire:
            await wire.send(head("POST", UPLOAD, headers | {"Content-Length": str(len(body))}) + body[:half])

            async def front_done() -> bool:
                line = 'pinactors_shared_step_seconds_count{step="front"}'
                return await metric(server.port, line) == 1.0

            await until(front_done)
            assert await metric(server.port, 'pinactors_shared_step_seconds_count{step="back"}') == 0.0
            await wire.send(body[half:])
            answer = await wire.answer()
        assert answer.status == 200
        assert answer.json()["details"]["bytes"]["back"] == len(LONG)


class TestBrokenOff:
    async def test_a_phone_that_is_gone_leaves_no_session_behind(self, server: Running) -> None:
        body = json_body(sessionId="g", frontImageData=b"PHOTO f", backImageData=b"PHOTO b")
        async with connected(server.port) as wire:
            await wire.send(head("POST", UPLOAD, JSON | {"Content-Length": str(len(body))}) + body[:-20])

            async def begun() -> bool:
                return await metric(server.port, "pinactors_live_sessions") == 1.0

            await until(begun)
            wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        async def ended() -> bool:
            return await metric(server.port, 'pinactors_sessions_total{outcome="cancelled"}') == 1.0

        async def gone() -> bool:
            return await metric(server.port, "pinactors_live_sessions") == 0.0

        await until(ended)
        await until(gone)
        assert list((server.settings.images_folder / "spool").iterdir()) == []

    async def test_one_that_stops_sending_is_ended_by_the_floor(self, tmp_path: Path) -> None:
        async with running(tmp_path, upload_floor_window=0.4, upload_floor_bytes=100) as server:
            with trio.fail_after(LIMIT):
                async with connected(server.port) as wire:
                    await wire.send(head("POST", UPLOAD, JSON | {"Content-Length": "1000"}) + b'{"session')
                    answer = await wire.answer()
            assert (answer.status, answer.json()["errorCode"]) == (409, "cancelled")
            assert answer.json()["message"] == "Upload stalled"

    async def test_one_that_is_slow_but_goes_on_is_not(self, tmp_path: Path) -> None:
        """The upload takes more than two windows, with more bytes than the floor in each."""
        window, pieces = 3.0, 25
        body = json_body(sessionId="slow", frontImageData=b"PHOTO" + bytes(5000))
        step = len(body) // pieces
        async with running(tmp_path, upload_floor_window=window, upload_floor_bytes=step) as server:
            with trio.fail_after(LIMIT):
                async with connected(server.port) as wire:
                    await wire.send(head("POST", UPLOAD, JSON | {"Content-Length": str(len(body))}))
                    for start in range(0, len(body), step):
                        await wire.send(body[start : start + step])
                        await trio.sleep(2.2 * window / pieces)
                    answer = await wire.answer()
            assert answer.status == 200


class TestDisk:
    async def test_a_full_disk_is_said_and_the_upload_may_come_again(
        self, server: Running, monkeypatch: pytest.MonkeyPatch, error_logs: Any
    ) -> None:
        def full(sink: Sink, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        body = json_body(sessionId="d", frontImageData=b"PHOTO d")
        with monkeypatch.context() as patched:
            patched.setattr(Sink, "write", full)
            answer = await upload(server.port, body, JSON)
        assert (answer.status, answer.json()["errorCode"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        assert error_logs.take("upload not stored")
        assert list((server.settings.images_folder / "spool").iterdir()) == []
        assert (await upload(server.port, body, JSON)).status == 200


async def test_overload_is_said_at_once(tmp_path: Path, gate: Gate) -> None:
    async with running(tmp_path, max_sessions=1) as server, connected(server.port) as busy:
        held = json_body(sessionId="1", frontImageData=gate.photograph())
        await busy.request("POST", UPLOAD, held, JSON | PHONE)
        assert await first_line(busy)
        refused = await upload(server.port, json_body(sessionId="2", frontImageData=b"PHOTO"), JSON | PHONE)
        assert (refused.status, refused.json()["errorCode"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        gate.open()


async def first_line(wire: Wire) -> bytes:
    return await wire.stream.receive_some(2000)


class TestEarlyAnswers:
    """Packets during the upload, which a proxy requests with `Prefer: respond-early`."""

    HEADERS = MULTIPART | {
        "Accept": "application/x-ndjson",
        "Prefer": "respond-early",
        "x-session-id": "early",
    }

    async def lines(self, wire: Wire, count: int, *, last: bool = False) -> list[dict[str, Any]]:
        """Reads `count` packets, without the HTTP head and chunk lengths; with `last` up to the last
        chunk."""
        received, end = b"", b"\r\n0\r\n\r\n" if last else b"\n\r\n"
        while received.count(b'"sequence"') < count or not received.endswith(end):
            received += await wire.stream.receive_some(65536)
        return [json.loads(line) for line in received.split(b"\n") if line.startswith(b"{")]

    async def test_results_of_the_front_come_while_the_back_is_sent(self, shared: Process) -> None:
        front, back = part("front_image", b"PHOTO early front", "f"), part("back_image", b"PHOTO" * 1000, "b")
        body = multipart([front, back])
        with trio.fail_after(LIMIT):
            async with connected(shared.port) as wire:
                await wire.send(head("POST", UPLOAD, self.HEADERS | {"Content-Length": str(len(body))}))
                packets = await self.lines(wire, 1)
                await wire.send(body[: len(front) + 500])
                packets += await self.lines(wire, 4)
                assert [packet["sequence"] for packet in packets] == list(range(5))
                await wire.send(body[len(front) + 500 :])
                packets += await self.lines(wire, 3, last=True)
        assert [packet["sequence"] for packet in packets] == list(range(8))
        assert packets[-1]["packetType"] == "ANALYSIS_COMPLETE"

    async def test_what_is_wrong_with_a_later_photograph_names_its_own_field(self, shared: Process) -> None:
        body = json_body(frontImageData=b"PHOTO", backImageData="!!!!")
        behind_front = body.index(b"!!!!")
        asking = self.HEADERS | JSON | {"Content-Length": str(len(body)), "x-session-id": "wrong-back"}
        with trio.fail_after(LIMIT):
            async with connected(shared.port) as wire:
                await wire.send(head("POST", UPLOAD, asking) + body[:behind_front])
                packets = await self.lines(wire, 2)
                await wire.send(body[behind_front:])
                answer = packets + await self.lines(wire, 1, last=True)
        error = answer[-1]
        assert (error["field"], error["view"]) == ("backImageData", "back")
        assert error["error"].startswith("backImageData is not base64")

    async def test_one_who_asks_before_the_body_is_told_to_send_it(self, shared: Process) -> None:
        body = multipart([part("front_image", b"PHOTO", "f")])
        asking = self.HEADERS | {"Content-Length": str(len(body)), "Expect": "100-continue"}
        with trio.fail_after(LIMIT):
            async with connected(shared.port) as wire:
                await wire.send(head("POST", UPLOAD, asking | {"x-session-id": "asking"}))
                await wire.stream_id()  # the early answer's first packet
                await wire.send(body)
                answer = await wire.answer()
        assert answer.interim == [(100, {})]
        assert (answer.status, answer.types[-1]) == (200, "ANALYSIS_COMPLETE")

    @pytest.mark.parametrize(
        ("rest", "code"),
        [(b"--a-boundary\r\nnonsense\r\n\r\n--a-boundary--\r\n", "invalid_format"), (None, "cancelled")],
    )
    async def test_what_goes_wrong_behind_the_head_is_in_the_stream(
        self, tmp_path: Path, rest: bytes | None, code: str
    ) -> None:
        async with running(tmp_path, upload_floor_window=3.0) as server:
            with trio.fail_after(LIMIT):
                async with connected(server.port) as wire:
                    front = part("front_image", b"PHOTO", "f")
                    size = len(front) + len(rest or b"xxx")
                    await wire.send(
                        head("POST", UPLOAD, self.HEADERS | {"Content-Length": str(size)}) + front
                    )
                    await wire.send(rest or b"")
                    answer = await wire.answer()
                    assert (answer.status, answer.ended) == (200, True)
                    assert answer.packets[-1]["errorCode"] == code
                    assert [packet["sequence"] for packet in answer.packets] == list(
                        range(len(answer.packets))
                    )
                await until_sessions(server, 0)

    async def test_one_that_hangs_up_ends_its_session(self, server: Running) -> None:
        with trio.fail_after(LIMIT):
            async with connected(server.port) as wire:
                await wire.send(head("POST", UPLOAD, self.HEADERS | {"Content-Length": "1000"}))
                [packet] = await self.lines(wire, 1)
            await until_sessions(server, 0)
            log = await ask(server.port, "GET", f"/streams/{packet['streamId']}")
        assert json.loads(log.body)[-1]["errorCode"] == "cancelled"

    async def test_without_a_name_or_for_one_object_it_is_answered_as_ever(self, shared: Process) -> None:
        body = multipart([part("sessionId", b"named"), part("front_image", b"PHOTO unnamed", "f")])
        for without in ("Accept", "x-session-id"):
            headers = {name: value for name, value in self.HEADERS.items() if name != without}
            answer = await upload(shared.port, body, headers)
            assert (answer.status, answer.ended) == (200, True)


async def until_sessions(server: Running, count: float) -> None:
    async def so_many() -> bool:
        return await metric(server.port, "pinactors_live_sessions") == count

    await until(so_many)


async def test_a_key_that_came_with_a_duplicate_stands_for_its_photographs(server: Running) -> None:
    """This holds also if the first upload of the photographs had no key, or another one."""
    same = json_body(sessionId="dup", frontImageData=b"PHOTO once")
    first = await ask(server.port, "POST", "/mobile-upload", same, JSON)
    joined = await ask(server.port, "POST", "/mobile-upload", same, JSON | {"Idempotency-Key": "k"})
    assert joined.json()["id"] == first.json()["id"]
    other = json_body(sessionId="other", frontImageData=b"PHOTO twice")
    refused = await ask(server.port, "POST", "/mobile-upload", other, JSON | {"Idempotency-Key": "k"})
    assert (refused.status, refused.json()["errorCode"]) == (422, "session_conflict")


async def believed(headers: dict[str, str], secret: str) -> float:
    app = Quart("test")
    app.extensions[EXTENSION] = SimpleNamespace(settings=Settings(proxy_secret=secret))
    async with app.test_request_context("/mobile-upload", method="POST", headers=headers):
        return deadline(request)  # type: ignore[arg-type]


async def test_a_proxy_that_knows_the_secret_is_believed() -> None:
    sent = Head("image/png", 1, None, "key", None).headers(5.0, "a secret")
    assert await believed(sent, "a secret") == 5.0


@pytest.mark.parametrize(
    ("given", "secret"), [("", "a secret"), ("a wrong one", "a secret"), ("", ""), ("anything", "")]
)
async def test_nobody_else_is(given: str, secret: str) -> None:
    for value in ("5000", "nonsense"):
        assert await believed({DEADLINE_HEADER: value, SECRET_HEADER: given}, secret) == math.inf


async def test_nonsense_of_a_proxy_is_refused() -> None:
    with pytest.raises(PinactorsError, match=DEADLINE_HEADER):
        await believed({DEADLINE_HEADER: "5 s", SECRET_HEADER: "a secret"}, "a secret")
