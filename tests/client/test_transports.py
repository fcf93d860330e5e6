"""Tests of what the transports make of answers: refusals, lines of packets, and batches."""

from __future__ import annotations

import pytest
import trio

from pinactors.client.connecting import Broken, NotPinactors
from pinactors.client.transports import MAX_PIECE, MIN_PIECE, PieceSizer, batch, check, pass_lines
from pinactors.protocol import ErrorCode, PinactorsError
from tests.client.playing import CHUNKED, LIMIT, answers, connection, head_of, playing


async def refused(answer: bytes) -> BaseException:
    async with playing(answers(answer)) as url, connection(url) as link:
        with trio.fail_after(LIMIT), pytest.raises((PinactorsError, Broken, NotPinactors)) as caught:
            await check(await link.request("GET", "/", {}))
    return caught.value


def reply(status: int, text: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(text), *headers]
    return b"\r\n".join([*lines, b"", text])


async def test_a_refusal_keeps_its_code_and_its_time() -> None:
    text = b'{"success":false,"message":"Too busy","error":"try later","errorCode":"overloaded"}'
    error = await refused(reply(503, text, b"Retry-After: 7"))
    assert isinstance(error, PinactorsError)
    assert (error.code, error.message, error.detail) == (ErrorCode.OVERLOADED, "Too busy", "try later")
    assert (error.status, error.retry_after) == (503, 7)


async def test_a_refusal_with_a_code_of_the_future() -> None:
    error = await refused(
        reply(418, b'{"errorCode":"teapot","message":"short and stout"}', b"Retry-After: soon")
    )
    assert isinstance(error, PinactorsError)
    assert (error.code, error.message) == (ErrorCode.PROCESSING_ERROR, "short and stout")
    assert (error.status, error.retry_after) == (418, None)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_failure_on_the_way_may_pass(status: int) -> None:
    assert isinstance(await refused(reply(status, b"<html>nginx</html>")), Broken)


@pytest.mark.parametrize("status", [301, 403, 404, 501])
async def test_another_site_will_not_change(status: int) -> None:
    assert isinstance(await refused(reply(status, b"<html>nginx</html>")), NotPinactors)


async def test_a_page_instead_of_packets() -> None:
    async def on_packet(raw: bytes) -> bool:
        raise NotPinactors(f"no packet: {raw!r}")

    with trio.fail_after(LIMIT):
        async with playing(answers(reply(200, b"<html>\n</html>\n"))) as url, connection(url) as link:
            with pytest.raises(NotPinactors):
                await pass_lines(await link.request("GET", "/", {}), on_packet)


async def test_a_line_without_end() -> None:
    async def play(stream: trio.SocketStream) -> None:
        await head_of(stream)
        await stream.send_all(CHUNKED)
        for _ in range(100):
            await stream.send_all(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    async def on_packet(raw: bytes) -> bool:
        raise AssertionError("no line has come")

    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url) as link:
            with pytest.raises(NotPinactors, match="a line of more than"):
                await pass_lines(await link.request("GET", "/", {}), on_packet)


def test_a_batch_keeps_the_packets_bytes() -> None:
    assert batch(b"[]") == batch(b"") == []
    assert batch(b'[{"a": 1}   ,\n{"b":2}]') == [b'{"a": 1}   ', b'{"b":2}']
    with pytest.raises(NotPinactors):
        batch(b"<html>")


def test_a_piece_is_what_the_link_carries_in_two_seconds() -> None:
    sizer = PieceSizer()
    sizer.note_round_trip(0.1)
    for _ in range(5):
        sizer.note_piece(sizer.size, sizer.size / 100_000)
    assert sizer.size == pytest.approx(200_000)
    sizer.note_piece(sizer.size, 1e-9)
    assert sizer.size == pytest.approx(800_000), "it grows fourfold at the most"
    sizer.note_break()
    assert sizer.size == pytest.approx(400_000)
    sizer.note_round_trip(2.0)
    sizer.note_piece(100_000, 1.0)
    assert sizer.size == pytest.approx(800_000), "eight round trips of a second"
    sizer.note_piece(100, 60.0)
    assert sizer.size == MIN_PIECE
    for _ in range(20):
        sizer.note_piece(sizer.size, 1e-9)
    assert sizer.size == MAX_PIECE
