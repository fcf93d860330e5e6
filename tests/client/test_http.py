"""Tests of the client's HTTP over real sockets, with scripted servers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from pinactors.client.connecting import Broken, NotPinactors
from pinactors.client.http import BODY_LIMIT, Body
from tests.client.playing import CHUNKED, LIMIT, OK, answers, body, connection, head_of, playing


async def test_requests_share_a_connection() -> None:
    with trio.fail_after(LIMIT):
        async with playing(answers(OK, OK)) as url, connection(url) as link:
            for _ in range(2):
                assert await (await link.request("GET", "/", {})).read() == b"ok"


async def test_a_kept_connection_the_server_has_closed_is_opened_again() -> None:
    with trio.fail_after(LIMIT):
        async with playing(answers(OK), answers(OK)) as url, connection(url) as link:
            for _ in range(2):
                assert await (await link.request("GET", "/", {})).read() == b"ok"


async def test_an_answer_left_unread_does_not_leak_into_the_next() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlong!"
    with trio.fail_after(LIMIT):
        async with playing(answers(long), answers(OK)) as url, connection(url) as link:
            await link.request("GET", "/", {})
            assert await (await link.request("GET", "/", {})).read() == b"ok"


async def test_the_sending_side_stays_open_until_the_answer_is_in() -> None:
    """A server treats a half-closed connection as one whose client has left."""
    ended = trio.Event()

    async def play(stream: trio.SocketStream) -> None:
        await head_of(stream)
        with trio.move_on_after(0.3):
            await stream.receive_some(1)
            ended.set()
        await stream.send_all(OK)

    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url) as link:
            answer = await link.request("POST", "/", {}, body(0))
            assert not ended.is_set()
            assert await answer.read() == b"ok"


async def test_an_early_refusal_stops_the_upload() -> None:
    """The server refuses an upload of 50 MB at its first byte: the client must stop before it sent all."""
    received = 0

    async def play(stream: trio.SocketStream) -> None:
        nonlocal received
        await head_of(stream)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        while data := await stream.receive_some(65536):
            received += len(data)
            await trio.sleep(0.001)

    sent: list[int] = []
    with trio.fail_after(LIMIT):
        async with playing(play) as url:
            async with connection(url) as link:
                answer = await link.request("POST", "/", {}, body(50_000_000), sent.append)
                assert (answer.status, await answer.read()) == (413, b"{}")
            assert 0 < sent[-1] < 40_000_000


async def test_a_refusal_behind_a_broken_connection_is_still_read() -> None:
    async def play(stream: trio.SocketStream) -> None:
        await head_of(stream)
        await stream.send_all(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}")
        await stream.send_eof()
        await trio.sleep(0.2)

    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url) as link:
            answer = await link.request("POST", "/", {}, body(50_000_000))
            assert (answer.status, await answer.read()) == (401, b"{}")


async def test_an_answer_that_begins_before_the_upload_is_through() -> None:
    async def play(stream: trio.SocketStream) -> None:
        data = await head_of(stream)
        await stream.send_all(CHUNKED + b"5\r\nearly\r\n")
        left = 3_000_000 - len(data.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(await stream.receive_some(65536))
        await stream.send_all(b"4\r\nlate\r\n0\r\n\r\n")

    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url) as link:
            answer = await link.request("POST", "/", {}, body(3_000_000))
            assert await answer.read() == b"earlylate"


async def test_progress_counts_the_bodys_bytes() -> None:
    async def play(stream: trio.SocketStream) -> None:
        data = await head_of(stream)
        left = 200_000 - len(data.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(await stream.receive_some(65536))
        await stream.send_all(OK)

    sent: list[int] = []
    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url) as link:
            await link.request("POST", "/", {}, body(200_000), sent.append)
    assert sent == [65536, 131072, 196608, 200_000]


@pytest.mark.parametrize("size", [99, 101])
async def test_a_file_that_changes_while_it_is_sent(tmp_path: Path, size: int) -> None:
    file = tmp_path / "front.jpg"
    file.write_bytes(bytes(100))

    async def play(stream: trio.SocketStream) -> None:
        while await stream.receive_some(65536):
            pass

    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url) as link:
            with pytest.raises(OSError, match="changed"):
                await link.request("POST", "/", {}, Body("image/jpeg", size, [file]))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        CHUNKED,
        CHUNKED + b"5\r\nab",
        CHUNKED + b"2\r\nab\r\n",
    ],
)
async def test_an_answer_cut_off_is_never_taken_for_whole(answer: bytes) -> None:
    with trio.fail_after(LIMIT):
        async with playing(answers(answer), answers(answer)) as url, connection(url) as link:
            with pytest.raises(Broken):
                await (await link.request("GET", "/", {})).read()


async def test_silence_is_a_break() -> None:
    async def play(stream: trio.SocketStream) -> None:
        await head_of(stream)
        await stream.send_all(CHUNKED + b"2\r\nab\r\n")
        await trio.sleep_forever()

    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url, silence=3.0) as link:
            answer = await link.request("GET", "/", {})
            assert await answer.chunk() == b"ab"
            with pytest.raises(Broken, match="silent"):
                await answer.chunk()


async def test_a_name_that_no_server_can_have() -> None:
    with trio.fail_after(LIMIT):
        async with connection("http://ä_b:8080") as link:
            with pytest.raises(NotPinactors, match="no server can have the name 'ä_b'"):
                await link.request("GET", "/", {})


async def test_nobody_listens() -> None:
    async with playing() as url:
        pass
    with trio.fail_after(LIMIT):
        async with connection(url) as link:
            with pytest.raises(Broken, match="cannot connect"):
                await link.request("GET", "/", {})


@pytest.mark.parametrize(
    "answer", [b"220 smtp.example ESMTP\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46" * 20 + b"\r\n\r\n"]
)
async def test_another_protocol_answers(answer: bytes) -> None:
    with trio.fail_after(LIMIT):
        async with playing(answers(answer)) as url, connection(url) as link:
            with pytest.raises(NotPinactors):
                await link.request("GET", "/", {})


async def test_an_answer_read_whole_is_bounded() -> None:
    async def play(stream: trio.SocketStream) -> None:
        await head_of(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        for _ in range(2 * BODY_LIMIT // 65536):
            await stream.send_all(bytes(65536))

    with trio.fail_after(LIMIT):
        async with playing(play) as url, connection(url) as link:
            answer = await link.request("GET", "/", {})
            with pytest.raises(NotPinactors, match="too large"):
                await answer.read()
