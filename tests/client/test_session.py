"""Tests of the client with the real server, over every transport."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from pinactors.backoff import Backoff
from pinactors.client import NetworkError, NotPinactors, analyze, cancel, follow, follower, session
from pinactors.client.session import TransportName
from pinactors.protocol import AuthenticationResult, ErrorCode, PinactorsError, View
from tests.api.conftest import DEADLINE, Process, Running, launch, running
from tests.api.drawn import LONG_PHOTO, Gate
from tests.api.site import PACKETS, Site
from tests.api.wire import metric, until

EVERY: list[TransportName] = ["ndjson", "long-poll", "websocket"]
LIMIT = 240


def url(server: Process | Running) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("transport", EVERY)
async def test_every_packet_comes_once_and_in_order(shared: Process, transport: TransportName) -> None:
    images = {View.FRONT: b"PHOTO front " + transport.encode(), View.BACK: b"PHOTO back"}
    with trio.fail_after(LIMIT):
        async with analyze(url(shared), images, session_id="c1", transport=transport) as packets:
            received = [packet async for packet in packets]
    kinds = [packet.kind for packet in received]
    assert kinds[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert kinds[-1] == "ANALYSIS_COMPLETE"
    assert len(kinds) == len(set(kinds)) == 8
    assert [packet.fields["sequence"] for packet in received] == list(range(8))
    assert {packet.fields["sessionId"] for packet in received} == {"c1"}
    result = next(packet for packet in received if packet.kind == "AUTHENTICATION_RESULT").decode()
    assert isinstance(result, AuthenticationResult)
    assert result.authentic


@pytest.mark.parametrize("transport", EVERY)
async def test_photographs_are_read_from_files(
    shared: Process, tmp_path: Path, transport: TransportName
) -> None:
    front = tmp_path / "front.jpg"
    size = front.write_bytes(LONG_PHOTO + bytes(200_000))
    images = {View.ANGLED: b"PHOTO angled", View.FRONT: front}
    progress: list[tuple[int, int]] = []
    with trio.fail_after(LIMIT):
        async with analyze(
            url(shared),
            images,
            transport=transport,
            on_progress=lambda sent, total: progress.append((sent, total)),
        ) as packets:
            answer = await packets.answer()
    assert answer["details"]["bytes"] == {"front": size, "back": None, "angled": 12}
    assert answer["success"] is True
    assert answer["streamId"] == packets.stream_id
    assert progress == sorted(progress)
    assert progress[-1][0] == progress[-1][1] > size


async def test_an_upload_joined_late_is_named_after_the_session_it_joined(shared: Process) -> None:
    """On a WebSocket the server sends the first packets before it can find the earlier session."""
    streams = []
    with trio.fail_after(LIMIT):
        for _ in range(2):
            images = {View.FRONT: b"PHOTO joined late"}
            async with analyze(url(shared), images, session_id="late", transport="websocket") as packets:
                answer = await packets.answer()
            assert len({packet.kind for packet in packets.received}) == len(packets.received) == 8
            assert answer["streamId"] == packets.stream_id
            streams.append((answer["streamId"], answer["id"]))
    assert streams[0] == streams[1]


@pytest.mark.parametrize("transport", EVERY)
async def test_a_session_is_followed_by_its_name(shared: Process, transport: TransportName) -> None:
    with trio.fail_after(LIMIT):
        async with analyze(url(shared), {View.FRONT: b"PHOTO followed"}) as packets:
            first = [packet.raw async for packet in packets]
        assert packets.stream_id is not None
        async with follow(url(shared), packets.stream_id, transport=transport) as again:
            assert [packet.raw async for packet in again] == first
        async with follow(url(shared), packets.stream_id, position=3, transport=transport) as rest:
            assert [packet.raw async for packet in rest] == first[3:]


@pytest.mark.parametrize("transport", EVERY)
async def test_a_cancelled_session_ends_for_whoever_reads_it(
    shared: Process, gate: Gate, transport: TransportName
) -> None:
    images = {View.FRONT: gate.photograph()}
    with trio.fail_after(LIMIT):
        async with analyze(url(shared), images, transport=transport) as packets:
            async for packet in packets:
                if packet.kind == "PROCESSING_STARTED":
                    assert packets.stream_id is not None
                    await cancel(url(shared), packets.stream_id)
                    await cancel(url(shared), packets.stream_id)
    assert packets.received[-1].fields["errorCode"] == "cancelled"


@pytest.mark.parametrize("transport", EVERY)
async def test_a_session_that_fails_says_why(shared: Process, transport: TransportName) -> None:
    with trio.fail_after(LIMIT):
        async with analyze(url(shared), {View.FRONT: b"no photograph"}, transport=transport) as packets:
            answer = await packets.answer()
    assert (answer["success"], answer["errorCode"]) == (False, "invalid_format")


@pytest.mark.parametrize("transport", EVERY)
async def test_an_unknown_session(shared: Process, transport: TransportName) -> None:
    with trio.fail_after(LIMIT), pytest.raises(PinactorsError) as refusal:
        async with follow(url(shared), "nobody", transport=transport) as packets:
            await packets.answer()
    assert refusal.value.code is ErrorCode.STREAM_NOT_FOUND


@pytest.mark.parametrize("transport", EVERY)
async def test_keys(tmp_path: Path, transport: TransportName) -> None:
    site = Site(tmp_path)
    site.keys.owners = {"key-a": "a"}
    site.log(len(PACKETS), closed=True, owner="a")
    with trio.fail_after(LIMIT):
        async with site.listening() as port:
            here = f"http://127.0.0.1:{port}"
            async with follow(here, "s", key="key-a", transport=transport) as packets:
                assert [packet.raw async for packet in packets] == PACKETS
            with pytest.raises(PinactorsError) as refusal:
                async with follow(here, "s", key="key-b", transport=transport) as packets:
                    await packets.answer()
            assert refusal.value.code is ErrorCode.UNAUTHORIZED
            with pytest.raises(PinactorsError) as refusal:
                async with follow(here, "s", transport=transport) as packets:
                    await packets.answer()
            assert refusal.value.code is ErrorCode.UNAUTHORIZED


async def page(stream: trio.SocketStream) -> None:
    await stream.receive_some(65536)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>")
    await trio.sleep(0.1)


@pytest.mark.parametrize("transport", EVERY)
async def test_something_else_answers_there(transport: TransportName) -> None:
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, page, 0, host="127.0.0.1"))
            here = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            with pytest.raises((NotPinactors, NetworkError)):
                async with follow(here, "s", transport=transport, unreachable_seconds=0.5) as packets:
                    await packets.answer()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("transport", EVERY)
async def test_nobody_answers(transport: TransportName) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with trio.fail_after(LIMIT), pytest.raises(NetworkError):
        async with analyze(
            f"http://127.0.0.1:{port}", {View.FRONT: b"PHOTO"}, transport=transport, unreachable_seconds=0.4
        ) as packets:
            await packets.answer()


async def test_a_photograph_that_cannot_be_read(shared: Process, tmp_path: Path) -> None:
    with trio.fail_after(LIMIT), pytest.raises(FileNotFoundError):
        async with analyze(url(shared), {View.FRONT: tmp_path / "absent.jpg"}) as packets:
            await packets.answer()


async def test_without_a_front_image_nothing_is_sent() -> None:
    with pytest.raises(ValueError, match="front image"):
        async with analyze("http://127.0.0.1:1", {View.BACK: b"PHOTO"}):
            raise AssertionError("not reached")


async def test_the_callers_own_errors_come_out_as_they_are(shared: Process) -> None:
    async def fail() -> None:
        async with analyze(url(shared), {View.FRONT: b"PHOTO of an error"}) as packets:
            async for _ in packets:
                raise ZeroDivisionError

    with trio.fail_after(LIMIT), pytest.raises(ZeroDivisionError):
        await fail()


async def test_the_callers_deadline_ends_everything(shared: Process, gate: Gate) -> None:
    """The deadline passes while the client waits for the second result."""
    with trio.fail_after(LIMIT):
        with trio.CancelScope() as deadline:
            async with analyze(url(shared), {View.FRONT: gate.photograph()}) as packets:
                await anext(packets)
                deadline.deadline = trio.current_time() + 0.3
                await packets.answer()
        assert deadline.cancelled_caught
        assert packets.stream_id is not None
        await cancel(url(shared), packets.stream_id)


async def test_leaving_early_leaves_the_session_running(shared: Process, gate: Gate) -> None:
    with trio.fail_after(LIMIT):
        async with analyze(url(shared), {View.FRONT: gate.photograph()}) as packets:
            await anext(packets)
        gate.open()
        assert packets.stream_id is not None
        async with follow(url(shared), packets.stream_id) as rest:
            assert (await rest.answer())["success"] is True


async def test_the_same_key_with_other_photographs_is_a_conflict(shared: Process) -> None:
    async def send(front: bytes) -> None:
        async with analyze(
            url(shared), {View.FRONT: front}, session_id="k", idempotency_key="mine"
        ) as packets:
            await packets.answer()

    with trio.fail_after(LIMIT):
        await send(b"PHOTO one")
        with pytest.raises(PinactorsError) as refusal:
            await send(b"PHOTO other")
    assert (refusal.value.code, refusal.value.status) == (ErrorCode.SESSION_CONFLICT, 422)


@pytest.mark.parametrize("transport", ["ndjson", "websocket"])
async def test_a_server_killed_and_started_again_loses_nothing(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch, transport: TransportName
) -> None:
    monkeypatch.setattr(follower, "PAUSES", Backoff(0.25, 0.5))
    # One worker is held, the other makes the packets of the front image.
    start = partial(launch, tmp_path / "data", workers=2, deadline=DEADLINE)
    process, port = start()
    again: list[subprocess.Popen[str]] = []
    try:
        with trio.fail_after(LIMIT):
            images = {View.FRONT: b"PHOTO killed", View.BACK: gate.photograph()}
            async with analyze(f"http://127.0.0.1:{port}", images, transport=transport) as packets:
                async for packet in packets:
                    if packet.kind == "HTML_DISPLAY_DATA":
                        os.kill(process.pid, signal.SIGKILL)
                        process.wait()
                        restarted, _ = start(port=port)  # not in a thread: see `launch`
                        again.append(restarted)
                        gate.open()
    finally:
        for each in [process, *again]:
            assert each.stdout is not None
            each.stdout.close()
            each.kill()
            each.wait()
    kinds = [packet.kind for packet in packets.received]
    assert kinds[-1] == "ANALYSIS_COMPLETE"
    assert len(kinds) == len(set(kinds)) == 8


async def test_a_server_that_is_overloaded_is_waited_for(tmp_path: Path, gate: Gate) -> None:
    """The first session ends after the second upload was refused."""

    async def refused() -> float:
        return await metric(server.port, "pinactors_refused_total")

    async def open_when_refused() -> None:
        await until(refused)
        gate.open()

    async with running(tmp_path, max_sessions=1) as server:
        with trio.fail_after(LIMIT):
            async with (
                analyze(url(server), {View.FRONT: gate.photograph()}) as first,
                trio.open_nursery() as nursery,
            ):
                await anext(first)
                nursery.start_soon(open_when_refused)
                async with analyze(url(server), {View.FRONT: b"PHOTO second"}) as second:
                    answer = await second.answer()
                assert answer["success"] is True
                assert (await first.answer())["success"] is True


async def test_only_a_server_that_was_never_reached_is_given_up_at_once(
    shared: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if an earlier session has reached it."""

    async def unknown(host: str, port: int) -> trio.SocketStream:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def ask() -> None:
        async with analyze(url(shared), {View.FRONT: b"PHOTO r"}, unreachable_seconds=1) as packets:
            await packets.answer()

    monkeypatch.setattr(session, "_reached", set())
    with trio.fail_after(LIMIT):
        with monkeypatch.context() as patched:
            patched.setattr(trio, "open_tcp_stream", unknown)
            with pytest.raises(NetworkError, match=r"^cannot connect: "):
                await ask()
        await ask()
        monkeypatch.setattr(trio, "open_tcp_stream", unknown)
        with pytest.raises(NetworkError, match=r"^no connection to the server for 1 s: "):
            await ask()
