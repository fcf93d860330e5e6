"""Readers of a packet log, on a mock clock and without sockets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
import trio.testing
from quart import Quart, Response, request

from pinactors.api.errors import status_of
from pinactors.api.streams.framings import NDJSON, PHONE, SSE, Framing
from pinactors.api.streams.reader import ASYNC, Follow, MergedWhenClosed, buffered, follow, prefers, respond
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings

KEEPALIVE = 5.0
OPENING = b'{"packetType":"CONNECTION_ESTABLISHED","sequence":0,"streamId":"s1"}'
RESULT = b'{"packetType":"AUTHENTICATION_RESULT","sequence":1,"authentic":true}'
DONE = b'{"packetType":"ANALYSIS_COMPLETE","sequence":2,"success":true,"id":3,"sessionId":"x"}'


def error(code: ErrorCode) -> bytes:
    fields = {
        "success": False,
        "message": "no",
        "error": "why",
        "errorCode": code,
        "sessionId": "x",
        "timestamp": "t",
    }
    return json.dumps({"packetType": "ERROR", "sequence": 0, **fields}).encode()


def open_log(*packets: bytes) -> PacketLog:
    log = PacketLog("s1", "x", "")
    for packet in packets:
        log.append(packet, terminal=False)
    return log


def body(log: PacketLog, framing: Framing = PHONE, position: int = 0) -> Follow:
    return Follow(log, framing, position, KEEPALIVE)


async def test_packets_ready_together_share_one_write() -> None:
    log = open_log(OPENING, RESULT)
    log.append(DONE, terminal=True)
    with trio.fail_after(120):
        async with body(log) as writes:
            assert [write async for write in writes] == [
                b"".join([OPENING, b"\n", RESULT, b"\n", DONE, b"\n"])
            ]


async def test_a_packet_is_written_the_moment_it_exists(autojump_clock: trio.testing.MockClock) -> None:
    log = open_log(OPENING)
    written: list[tuple[float, bytes]] = []

    async def read() -> None:
        async with body(log) as writes:
            async for write in writes:
                written.append((trio.current_time() - began, write))

    began = trio.current_time()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(2)
            log.append(RESULT, terminal=False)
            await trio.sleep(3)
            log.append(DONE, terminal=True)
    assert written == [(0, OPENING + b"\n"), (2, RESULT + b"\n"), (5, DONE + b"\n")]


@pytest.mark.parametrize(("framing", "sign"), [(PHONE, b"\n"), (SSE, b":\n")])
async def test_silence_is_broken_every_five_seconds(
    framing: Framing, sign: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    log = open_log(OPENING)
    with trio.fail_after(60):
        async with body(log, framing) as writes:
            await anext(writes)
            began = trio.current_time()
            assert [await anext(writes) for _ in range(3)] == [sign] * 3
            assert trio.current_time() - began == pytest.approx(3 * KEEPALIVE)


async def test_a_resumed_reader_starts_where_it_was() -> None:
    log = open_log(OPENING, RESULT)
    log.append(DONE, terminal=True)
    with trio.fail_after(120):
        async with body(log, position=2) as writes:
            assert [write async for write in writes] == [DONE + b"\n"]


async def test_a_log_that_closes_without_another_packet_ends_the_body() -> None:
    log = open_log(OPENING)
    with trio.fail_after(120):
        async with body(log) as writes:
            assert await anext(writes) == OPENING + b"\n"
            log.close()
            with pytest.raises(StopAsyncIteration):
                await anext(writes)


async def test_a_slow_reader_holds_nobody_back() -> None:
    log = open_log(OPENING)
    with trio.fail_after(120):
        async with body(log) as slow, body(log) as quick:
            assert await anext(slow) == await anext(quick) == OPENING + b"\n"
            log.append(RESULT, terminal=False)
            assert await anext(quick) == RESULT + b"\n"
            log.append(DONE, terminal=True)
            assert await anext(quick) == DONE + b"\n"
            assert await anext(slow) == RESULT + b"\n" + DONE + b"\n"


async def test_a_reader_is_counted_while_it_reads() -> None:
    log = open_log(OPENING)
    async with body(log), body(log):
        assert log.readers == 2
    assert log.readers == 0


async def answered(log: PacketLog, tmp_path: Path, framing: Framing | None, **headers: str) -> Response:
    async with Quart(__name__).test_request_context("/mobile-upload", method="POST", headers=headers):
        return await respond(request, framing, log, Settings(data=tmp_path))


async def test_the_streams_headers(tmp_path: Path) -> None:
    log = open_log(OPENING)
    response = await answered(log, tmp_path, PHONE)
    assert response.timeout is None
    assert dict(response.headers) == {
        "Content-Type": "application/json",
        "Cache-Control": "no-cache",
        "Connection": "keep-alive",
        "X-Accel-Buffering": "no",
    }
    assert (await answered(log, tmp_path, NDJSON)).headers["Content-Type"] == "application/x-ndjson"
    assert (await answered(log, tmp_path, SSE)).headers["Content-Type"] == "text/event-stream"


async def test_a_connection_header_is_for_http_1_1_only(tmp_path: Path) -> None:
    app = Quart(__name__)
    for version, expected in (("1.1", True), ("1.0", False), ("2", False)):
        async with app.test_request_context("/", scope_base={"http_version": version}):
            request.http_version = version
            response = follow(request, open_log(OPENING), PHONE, Settings(data=tmp_path))
        assert ("Connection" in response.headers) is expected


async def test_a_log_that_ends_without_its_end_asks_for_another_try() -> None:
    """Another master has taken over the session, and the client can continue there."""
    log = open_log(OPENING, RESULT)
    log.close()
    with pytest.raises(PinactorsError, match="send the upload again") as refusal:
        await buffered(log)
    assert (refusal.value.code, status_of(refusal.value)) == (ErrorCode.OVERLOADED, 503)
    async with MergedWhenClosed(log, KEEPALIVE) as pieces:  # the status was sent: the object has the error
        fields = json.loads(b"".join([piece async for piece in pieces]))
    assert (fields["success"], fields["errorCode"], fields["sessionId"]) == (False, "overloaded", "x")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.MISSING_IMAGE, 400),
        (ErrorCode.INVALID_FORMAT, 400),
        (ErrorCode.TOO_LARGE, 413),
        (ErrorCode.SESSION_CONFLICT, 422),
        (ErrorCode.CANCELLED, 409),
        (ErrorCode.OVERLOADED, 503),
        (ErrorCode.PROCESSING_ERROR, 500),
    ],
)
async def test_a_buffered_failure_has_its_status(code: ErrorCode, status: int) -> None:
    log = PacketLog("s1", "x", "")
    log.append(error(code), terminal=True)
    async with Quart(__name__).app_context():
        response = await buffered(log)
        answer = json.loads(await response.get_data())
    assert response.status_code == status
    assert ("Retry-After" in response.headers) is (status == 503)
    assert answer == {
        "success": False,
        "message": "no",
        "error": "why",
        "errorCode": code,
        "sessionId": "x",
        "timestamp": "t",
    }


async def test_a_desktop_gets_its_status_within_eight_seconds(autojump_clock: trio.testing.MockClock) -> None:
    log = open_log(OPENING)
    responses: list[Response] = []

    async def read() -> None:
        responses.append(await buffered(log))

    with trio.fail_after(200):
        async with trio.open_nursery() as nursery, Quart(__name__).app_context():
            nursery.start_soon(read)
            await trio.sleep(7.9)
            assert (responses, log.readers) == ([], 1)
            log.append(RESULT, terminal=False)
            await trio.testing.wait_all_tasks_blocked()
            assert responses == []
            log.append(error(ErrorCode.CANCELLED), terminal=True)
    [response] = responses
    assert response.status_code == 409
    assert log.readers == 0


@pytest.mark.parametrize(("last", "success"), [(DONE, True), (error(ErrorCode.PROCESSING_ERROR), False)])
async def test_a_desktop_that_waits_longer_gets_white_space_and_the_same_object(
    autojump_clock: trio.testing.MockClock, last: bytes, success: bool
) -> None:
    """Status 200 was sent before, so the object reports a failure."""
    log = open_log(OPENING)
    began = trio.current_time()
    written: list[tuple[float, bytes]] = []

    async def read() -> None:
        response = await buffered(log, since=began - 3)  # its upload ended three seconds ago
        assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
        assert response.timeout is None
        assert isinstance(response.response, MergedWhenClosed)
        async with response.response as body:
            assert log.readers == 1
            async for data in body:
                written.append((trio.current_time() - began, data))

    with trio.fail_after(200):
        async with trio.open_nursery() as nursery, Quart(__name__).app_context():
            nursery.start_soon(read)
            await trio.sleep(17)
            log.append(last, terminal=True)
    assert [(round(when, 3), data) for when, data in written[:-1]] == [(5, b" "), (10, b" "), (15, b" ")]
    assert round(written[-1][0], 3) == 17
    answer = json.loads(b"".join(data for _, data in written))
    assert answer["success"] is success
    assert log.readers == 0


async def test_a_client_that_will_poll_is_told_the_name_at_once(tmp_path: Path) -> None:
    response = await answered(open_log(OPENING), tmp_path, PHONE, Prefer="respond-async, wait=5")
    assert response.status_code == 202
    assert response.headers["Location"] == "/streams/s1"
    assert response.headers["Preference-Applied"] == "respond-async"
    async with Quart(__name__).app_context():
        assert json.loads(await response.get_data()) == {
            "success": True,
            "message": "Accepted",
            "sessionId": "x",
            "streamId": "s1",
            "streamUrl": "/streams/s1",
            "cancelUrl": "/streams/s1",
            "statusUrl": "/streams/s1?offset=-1",
        }


@pytest.mark.parametrize(
    ("value", "expected"),
    [("respond-async", True), ("wait=1, Respond-Async;x=1", True), ("return=minimal", False), ("", False)],
)
async def test_prefer(value: str, expected: bool) -> None:
    async with Quart(__name__).test_request_context("/", headers={"Prefer": value}):
        assert prefers(request, ASYNC) is expected
