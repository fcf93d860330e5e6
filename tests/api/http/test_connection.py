"""Faulty and hostile clients on real sockets: a connection cannot disturb others, and cannot stay forever."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from quart import Response, request, websocket
from quart.wrappers.response import ResponseBody

from pinactors.api import server
from pinactors.api.app import Application
from pinactors.api.http import connection
from pinactors.api.http.body import sent_at
from pinactors.api.server import Listener, open_sockets, port_of
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from pinactors.supervision import Supervision
from tests.api.wire import JSON, LIMIT, Wire, ask, connected, head
from tests.waiting import stopwatch, until

QUICK = 0.3
"""Seconds that replace the minute of the real time limits."""

IDLE = 1.0
"""Seconds after which the connections of the fixture `impatient` are idle for too long."""

BUSY = 3.0
"""Seconds after which a handler reads its body: long enough for a client to send it on a busy machine."""

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Drip(ResponseBody):
    """A body of `count` chunks of `size` bytes, one every `pause` seconds; then it ends, or raises if
    `crash`."""

    def __init__(self, count: int, size: int = 10, pause: float = 0, *, crash: bool = False) -> None:
        self._left, self._chunk, self._pause, self._crash = count, b"x" * size, pause, crash

    async def __aenter__(self) -> Drip:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def __aiter__(self) -> Drip:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(self._pause)
        if not self._left:
            if self._crash:
                raise RuntimeError("in the middle")
            raise StopAsyncIteration
        self._left -= 1
        return self._chunk


def application() -> Application:
    app = Application.bare()

    @app.get("/")
    async def hello() -> str:
        return "hello"

    @app.post("/busy")
    async def busy() -> dict[str, float]:
        """Reads the body only after a while."""
        begun = trio.current_time()
        await trio.sleep(BUSY)
        async for _ in request.body:
            pass
        sent = sent_at(request)
        assert sent is not None
        return {"sent": sent - begun, "read": trio.current_time() - begun}

    @app.get("/drip")
    async def drip() -> Response:
        return Response(Drip(5, pause=IDLE / 4))

    @app.get("/flood")
    async def flood() -> Response:
        return Response(Drip(2000, size=64 * 1024))

    @app.get("/broken")
    async def broken() -> Response:
        return Response(Drip(2, crash=True))

    @app.get("/boom")
    async def boom() -> str:
        raise RuntimeError("a secret")

    @app.get("/group")
    async def group() -> str:
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - a group is what is tested
            nursery.start_soon(fail)
        return ""

    async def fail() -> None:
        raise PinactorsError(ErrorCode.SESSION_CONFLICT, "Conflict")

    @app.post("/refuse")
    async def refuse() -> str:
        raise PinactorsError(ErrorCode.UNAUTHORIZED, "Unauthorized")

    @app.post("/read")
    async def read() -> str:
        return str(sum([len(piece) async for piece in request.body]))

    @app.post("/pieces")
    async def pieces() -> list[int]:
        return [len(piece) async for piece in request.body]

    @app.post("/wait")
    async def wait() -> Response:
        return Response(Drip(1, pause=10 * LIMIT))

    @app.post("/stuck")
    async def stuck() -> str:
        await anext(aiter(request.body))
        await trio.sleep_forever()
        return ""

    @app.post("/ignore")
    async def ignore() -> Response:
        return Response(Drip(5, pause=QUICK / 4))

    @app.websocket("/ws")
    async def talk() -> None:
        await websocket.accept()
        await websocket.receive()

    return app


class Served:
    def __init__(self, port: int, listener: Listener) -> None:
        self.port, self.listener = port, listener

    async def wait_for_connections(self, count: int) -> None:
        await until(lambda: len(self.listener) == count)

    async def assert_unhurt(self) -> None:
        self.listener._config.keep_alive_timeout = LIMIT
        assert (await ask(self.port, "GET", "/")).body == b"hello", "the server is hurt"


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Served]:
    chosen = Settings(**{"port": 0, "data": Path("unused"), "stalled_reader": QUICK, **settings})
    listener = Listener(application(), chosen, Supervision())
    async with trio.open_nursery() as nursery:
        sockets = await open_sockets(chosen)
        nursery.start_soon(listener.accept, sockets, nursery)
        with trio.fail_after(LIMIT):  # noqa: ASYNC100 - around the test
            yield Served(port_of(sockets), listener)
        listener.abort()
        nursery.cancel_scope.cancel()


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 10.0)
    async with serving() as served:
        yield served
        await served.assert_unhurt()


@pytest.fixture
async def impatient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """A server that closes a connection which is idle for `IDLE` seconds. A busy machine may need longer
    between two steps of a test, so that only tests of this limit use it."""
    monkeypatch.setattr(server, "IDLE_SECONDS", IDLE)
    async with serving() as served:
        yield served
        await served.assert_unhurt()


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


async def test_the_time_until_a_body_is_sent_is_the_clients_alone(served: Served) -> None:
    body = bytes(1 << 20)
    answer = await ask(served.port, "POST", "/busy", body)
    assert answer.json()["sent"] < BUSY <= answer.json()["read"]
    async with connected(served.port) as wire:
        await wire.send(head("POST", "/busy", {"Content-Length": str(len(body))}) + body[:-1])
        await trio.sleep(3 * BUSY)
        await wire.send(body[-1:])
        assert (await wire.answer()).json()["sent"] > BUSY


async def still_takes(wire: Wire, data: bytes) -> bool:
    try:
        await wire.send(data)
    except trio.BrokenResourceError:
        return False
    return True


async def send_until_full(wire: Wire) -> int:
    """Sends until the server takes no bytes for `2 * QUICK` seconds, at most 32 MiB; returns the number of
    bytes."""
    sent = 0
    while sent < 32 << 20:
        with trio.move_on_after(2 * QUICK) as patience:
            await wire.send(bytes(64 * 1024))
        if patience.cancelled_caught:
            break
        sent += 64 * 1024
    return sent


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


def reset(wire: Wire) -> None:
    wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


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


class TestCrashes:
    async def test_a_handler_answers_500_and_says_nothing(self, served: Served, error_logs: Any) -> None:
        answer = await ask(served.port, "GET", "/boom")
        assert answer.status == 500
        assert answer.json()["errorCode"] == "processing_error"
        assert b"secret" not in answer.body
        assert answer.headers["access-control-allow-origin"] == "*"
        assert error_logs.take("request failed")

    async def test_a_group_of_errors_is_one_domain_error(self, served: Served) -> None:
        answer = await ask(served.port, "GET", "/group")
        assert (answer.status, answer.json()["errorCode"]) == (422, "session_conflict")

    async def test_in_the_middle_of_an_answer_it_stays_without_end(
        self, served: Served, error_logs: Any
    ) -> None:
        answer = await ask(served.port, "GET", "/broken")
        assert answer.body == b"x" * 20
        assert not answer.ended
        assert error_logs.take("request crashed")


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

    @pytest.mark.parametrize(
        "junk", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x88\x00" * 9]
    )
    @pytest.mark.parametrize("early", [True, False])
    async def test_junk_behind_a_websocket_upgrade(self, served: Served, junk: bytes, early: bool) -> None:
        """In plain Hypercorn such bytes end the server, or leave the connection open forever."""
        async with connected(served.port) as wire:
            await wire.send(head("GET", "/ws", UPGRADE) + (junk if early else b""))
            await wire.stream.receive_some(1000)
            with suppress(trio.BrokenResourceError):
                await wire.send(junk)
            while not await wire.is_closed():
                pass
        await served.wait_for_connections(0)

    @pytest.mark.parametrize("absent", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
    async def test_half_a_websocket_upgrade_is_refused_and_closed(self, served: Served, absent: str) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("GET", "/ws", {key: UPGRADE[key] for key in UPGRADE if key != absent}))
            assert (await wire.answer()).status == 400
            assert await wire.is_closed()
        await served.wait_for_connections(0)


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


class TestBodies:
    async def test_one_is_fetched_no_faster_than_it_is_read(self, served: Served) -> None:
        """Quart collects bodies in memory, so without a limit a client could fill it while its handler is
        busy."""
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/stuck", {"Content-Length": str(1 << 30)}))
            assert await send_until_full(wire) < 16 << 20  # in memory and in the kernel's buffers
            reset(wire)

    async def test_who_vanishes_behind_an_unread_one_is_noticed(self, served: Served) -> None:
        async with connected(served.port) as wire:
            await wire.send(head("POST", "/wait", {"Content-Length": str(1 << 30)}))
            await wire.stream.receive_some(100)
            await send_until_full(wire)
            reset(wire)
        await served.wait_for_connections(0)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError(23, "Too many open files in system"), "connection not accepted"),
        (RuntimeError("nobody foresaw this"), "iteration failed"),
    ],
)
async def test_accepting_goes_on_when_it_fails_once(
    failure: Exception, said: str, monkeypatch: pytest.MonkeyPatch, error_logs: Any
) -> None:
    accept, calls = trio.SocketListener.accept, []

    async def fails_once(self: trio.SocketListener) -> trio.SocketStream:
        calls.append(1)
        if len(calls) == 1:
            await trio.lowlevel.checkpoint()
            raise failure
        return await accept(self)

    monkeypatch.setattr(trio.SocketListener, "accept", fails_once)
    async with serving() as served:
        assert (await ask(served.port, "GET", "/")).body == b"hello"
    assert error_logs.take(said)


async def test_too_many_connections_are_turned_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TURN_AWAY_SECONDS", LIMIT)
    async with serving(max_connections=2) as served:
        async with connected(served.port), connected(served.port):
            await served.wait_for_connections(2)
            answer = await ask(served.port, "GET", "/")
            assert (answer.status, answer.json()["errorCode"]) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
            async with connected(served.port) as wire:  # one that sends while it is turned away
                for _ in range(40):
                    await wire.send(bytes(8192))
                assert (await wire.answer()).status == 503
        await served.wait_for_connections(0)
        assert (await ask(served.port, "GET", "/")).status == 200


async def test_the_server_may_go_while_nobody_reads() -> None:
    """Plain Hypercorn waits for a client that does not read, as long as it stays connected."""
    async with serving(stalled_reader=60) as served, connected(served.port) as wire:
        await wire.request("GET", "/flood")
        await served.wait_for_connections(1)
        await trio.testing.wait_all_tasks_blocked(0.05)  # the socket's buffers are full
        await served.listener.stop()
        served.listener.abort()
        await served.listener.wait_quiet()
