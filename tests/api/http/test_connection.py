"""Faulty and hostile clients on real sockets: a connection cannot disturb others, and cannot stay forever."""

from __future__ import annotations

import json
import socket

import pytest
import trio
import trio.testing

from pinactors.api import server
from pinactors.api.http import connection
from tests.api.http.small import IDLE, Served, reset, serving, still_takes
from tests.api.wire import JSON, ask, connected, head
from tests.waiting import stopwatch


async def test_a_connection_is_used_again() -> None:
    async with serving() as served, connected(served.port) as wire:
        for _ in range(3):
            await wire.request("GET", "/")
            assert (await wire.answer()).body == b"hello"


async def test_small_pieces_of_a_large_body_are_read_together(served: Served) -> None:
    large, small, count = 2 * connection.RECEIVE_BYTES, 1400, 100
    began = trio.current_time()
    async with connected(served.port) as wire:
        length = {"Content-Length": str(large + count * small)}
        await wire.send(head("POST", "/pieces", length) + bytes(large))
        for _ in range(count):
            await trio.sleep(0.001)  # as from a cellular link
            await wire.send(bytes(small))
        pieces = json.loads((await wire.answer()).body)
    assert sum(pieces) == large + count * small
    assert len(pieces) < 10 + (trio.current_time() - began) / connection.SMALL_READ_PAUSE_SECONDS


class TestNobodyStays:
    async def test_idle_after_an_answer(self, impatient: Served) -> None:
        began = trio.current_time()
        async with connected(impatient.port) as wire:
            await wire.request("GET", "/")
            await wire.answer()
            async with stopwatch() as watch:
                assert await wire.is_closed()
                assert watch.seconds < 3 * IDLE
            assert trio.current_time() - began > IDLE / 2

    async def test_idle_from_the_start(self, impatient: Served) -> None:
        async with connected(impatient.port) as wire:
            assert await wire.is_closed()

    async def test_after_connection_close(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "IDLE_SECONDS", 60)
        async with serving() as served:
            async with connected(served.port) as wire:
                await wire.request("GET", "/", headers={"Connection": "close"})
                assert (await wire.answer()).ended
                assert await wire.is_closed()
            await served.wait_for_connections(0)

    async def test_a_head_that_never_ends(self, impatient: Served) -> None:
        """Slowloris: each byte comes in time, but the head is not complete in time."""
        async with connected(impatient.port) as wire:
            await wire.send(b"GET / HTTP/1.1\r\n")
            while await still_takes(wire, b"x"):  # noqa: ASYNC110 - the pause is the attack
                await trio.sleep(IDLE / 10)

    async def test_who_does_not_read(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server drops the answer when one write has waited for the time allowed to stalled readers. It
        does so itself, because not every kernel does."""
        monkeypatch.setattr(server, "_watch_peer", lambda *_: None)
        async with connected(served.port) as wire:
            wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await wire.request("GET", "/flood")
            await wire.stream.receive_some(10)
            await served.wait_for_connections(0)

    async def test_who_vanishes_while_others_wait_in_line_behind_it(self, served: Served) -> None:
        """The reset is noticed although a second request waits for the first one's answer."""
        async with connected(served.port) as wire:
            await wire.request("GET", "/flood")
            await wire.request("GET", "/")
            await wire.stream.receive_some(10)
            reset(wire)
        await served.wait_for_connections(0)


class TestTimeOuts:
    async def test_an_answer_may_be_silent_longer_than_an_idle_connection(self, impatient: Served) -> None:
        answer = await ask(impatient.port, "GET", "/drip")
        assert answer.ended
        assert len(answer.body) == 50

    async def test_neither_the_answer_nor_the_body_has_a_limit_on_the_whole(self, impatient: Served) -> None:
        async with connected(impatient.port) as wire:
            await wire.send(head("POST", "/read", {"Content-Length": "4"}))
            for _ in range(4):
                await trio.sleep(IDLE / 2)
                await wire.send(b"x")
            assert (await wire.answer()).body == b"4"


class TestHalfClose:
    async def test_the_answer_still_comes(self, served: Served) -> None:
        async with connected(served.port) as wire:
            await wire.request("GET", "/drip")
            await wire.stream.send_eof()
            answer = await wire.answer()
            assert answer.ended
            assert len(answer.body) == 50
            assert await wire.is_closed()

    async def test_in_the_middle_of_a_body_it_is_refused(self, served: Served) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/read", {"Content-Length": "100"}) + b"half")
            await wire.stream.send_eof()
            answer = await wire.answer()
            assert answer.status == 400
            assert answer.json()["errorCode"] == "invalid_format"


class TestNotHttp:
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", 400),
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 431),
            (b"GET / HTTP/3.0\r\n\r\n", 505),
            (b"GET ?a=1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: " + b"a" * 64 + b".de\r\n\r\n", 400),
        ],
    )
    async def test_is_refused_in_our_shape(self, served: Served, sent: bytes, status: int) -> None:
        async with connected(served.port) as wire:
            await wire.send(sent)
            answer = await wire.answer()
            assert answer.status == status
            assert answer.json()["success"] is False
            assert answer.headers["access-control-allow-origin"] == "*"
            assert await wire.is_closed()

    async def test_an_upgrade_to_http2_is_ignored(self, served: Served) -> None:
        headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
        answer = await ask(served.port, "GET", "/", headers=headers)
        assert (answer.status, answer.body) == (200, b"hello")


class TestEarlyRefusal:
    async def test_is_read_by_a_client_that_sends_first(self, served: Served) -> None:
        """Unless the server reads on, the connection is reset while the client sends, and the client loses
        the answer."""
        async with connected(served.port) as wire:
            await wire.send(
                head("POST", "/refuse", JSON | {"Content-Length": str(connection.LINGER_BYTES // 2)})
            )
            for _ in range(8):
                # The refusal is sent by then; the client sends on in spite of it.
                await trio.testing.wait_all_tasks_blocked(0.01)
                await wire.send(bytes(connection.LINGER_BYTES // 16))
            answer = await wire.answer()
            assert answer.status == 401
            assert answer.ended
            assert answer.headers["connection"] == "close"
            assert await wire.is_closed()

    async def test_reads_little_of_what_is_still_coming(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "LINGER_SECONDS", 2.0)  # the client reads no answer
        sent = 0
        async with connected(served.port) as wire:
            wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            await wire.send(head("POST", "/refuse", JSON | {"Content-Length": str(1 << 30)}))
            while await still_takes(wire, bytes(64 * 1024)):
                sent += 64 * 1024
        assert sent < 16 << 20  # what the server reads, and the kernel's buffers
        await served.wait_for_connections(0)

    async def test_costs_nothing_when_the_client_asks_first(self, served: Served) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/refuse", {"Content-Length": "1000", "Expect": "100-continue"}))
            assert (await wire.stream.receive_some(12)).startswith(b"HTTP/1.1 401")

    async def test_who_asks_first_is_invited_by_whoever_reads(self, served: Served) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/read", {"Content-Length": "3", "Expect": "100-continue"}))
            assert (await wire.stream.receive_some(1000)).startswith(b"HTTP/1.1 100")
            await wire.send(b"abc")
            assert (await wire.answer()).body == b"3"

    async def test_a_body_nobody_reads_is_not_collected(self, served: Served) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/ignore", {"Content-Length": str(1 << 30)}))

            async def send() -> None:
                while await still_takes(wire, bytes(64 * 1024)):
                    pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                answer = await wire.answer()
                assert len(answer.body) == 50
        await served.wait_for_connections(0)
