"""Streams at a proxy: found again, joined, cancelled, and removed when they have expired."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import trio
import trio.testing

from pinactors.api.auth import unauthorized
from pinactors.api.proxy.masters import requests
from pinactors.api.proxy.masters.fleet import Masters
from pinactors.api.proxy.masters.requests import OnPackets
from pinactors.api.proxy.metrics import ProxyMetrics
from pinactors.api.proxy.relay import sessions
from pinactors.api.proxy.relay.services import ProxyServices
from pinactors.api.proxy.relay.sessions import Sessions, open_sessions
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.drawn import Gate
from tests.api.proxy.conftest import (
    LIMIT,
    NDJSON,
    UPLOAD,
    Fleet,
    assert_whole,
    has_stream,
    proxying,
    sessions_of,
    upload,
    wait_for_failures,
    wait_for_sessions,
)
from tests.api.proxy.scripted import COMPLETE, OPENING, STARTED
from tests.api.wire import JSON, PHONE, ask, connected, json_body, metric
from tests.api.wire import until as until_true


async def test_pruning_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: Any) -> None:
    rounds = []
    second = trio.Event()

    def fails_once(self: Sessions) -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise FileNotFoundError("gone while it was looked at")
        trio.from_thread.run_sync(second.set)

    monkeypatch.setattr(Sessions, "_remove_expired", fails_once)
    monkeypatch.setattr(sessions, "PRUNE_SECONDS", 0.05)
    with trio.fail_after(LIMIT):
        async with proxying(tmp_path, ["http://127.0.0.1:9"]) as port:
            await second.wait()
            await wait_for_failures(port, "prune", error_logs)
            assert await sessions_of(port) == 0


async def test_a_killed_proxy_forgets_no_stream(fleet: Fleet, gate: Gate) -> None:
    """This holds for ended streams, running streams, and streams whose master dies before they are read
    again."""
    masters = fleet.masters(2, workers=1)
    proxy = fleet.proxy(masters)
    names = {}
    with trio.fail_after(LIMIT):
        ended = await upload(proxy.port, "ended")
        for session_id in ("running", "orphaned"):
            async with connected(proxy.port) as wire:
                body = json_body(sessionId=session_id, frontImageData=gate.photograph())
                await wire.request("POST", UPLOAD, body, JSON | PHONE)
                names[session_id] = await wire.stream_id()
        proxy.kill()
        proxy.start()
        proxy.wait_started()
        gate.open()
        again = await ask(proxy.port, "GET", f"/streams/{ended.packets[0]['streamId']}", headers=NDJSON)
        assert again.body == ended.body
        assert_whole(await ask(proxy.port, "GET", f"/streams/{names['running']}", headers=NDJSON), "running")
        home = [master for master in masters if await has_stream(master.port, names["orphaned"])]
        home[0].kill()
        orphaned = await ask(proxy.port, "GET", f"/streams/{names['orphaned']}", headers=NDJSON)
        assert_whole(orphaned, "orphaned")
        assert orphaned.packets[0]["streamId"] == names["orphaned"]


async def test_a_stream_this_proxy_has_never_seen_is_found_at_its_master(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
            masters = [f"http://127.0.0.1:{server.port}" for server in (one, two)]
            direct = await upload(two.port, "direct")
            path = f"/streams/{direct.packets[0]['streamId']}"
            async with proxying(tmp_path / "proxy", masters) as port:
                token = f"{len(direct.packets) - 1:016}"
                last = await ask(port, "GET", f"{path}?offset={token}", headers=NDJSON)
                assert last.packets == direct.packets[-1:]
                assert (await ask(port, "GET", path, headers=NDJSON)).body == direct.body
                head = await ask(port, "GET", f"{path}?offset=-1")
                assert head.headers["stream-closed"] == "true"
                unknown = await ask(port, "GET", "/streams/aaaaaaaaaaaaaaaaaaaaaaaa")
                assert (unknown.status, unknown.json()["errorCode"]) == (404, "stream_not_found")
                assert (await ask(port, "GET", "/streams/..%2F..%2Fetc")).status == 404


STREAM_ID = "a" * 24
"""The stream of `OPENING`."""


@asynccontextmanager
async def following(
    data: Path, monkeypatch: pytest.MonkeyPatch, master: Callable[[OnPackets], Awaitable[None]]
) -> AsyncIterator[Sessions]:
    """The sessions of a proxy whose only master answers each reading of `STREAM_ID` by calling `master`,
    without a connection, so that a test can jump with the clock."""

    async def tail(*_: object) -> int:
        await trio.lowlevel.checkpoint()
        return 1

    async def follow(*arguments: object) -> None:
        on_packets = arguments[5]
        assert callable(on_packets)
        await master(on_packets)

    monkeypatch.setattr(requests, "tail", tail)
    monkeypatch.setattr(requests, "follow", follow)
    settings = Settings(data=data, proxy_masters="http://127.0.0.1:9")
    metrics = ProxyMetrics(prometheus_client.CollectorRegistry())
    folder, disk = settings.proxy_folder, trio.CapacityLimiter(2)
    services = ProxyServices(Masters.of(settings), settings, metrics, folder, disk)
    async with open_sessions(services) as sessions:
        yield sessions


async def test_a_stream_whose_upload_takes_longer_than_the_time_limit_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    """The stream of a resumable upload can be read before the upload is in, and only the master knows when
    it is. This holds also for a proxy that continues the stream from the journal of another process."""
    reading = trio.Event()

    async def upload_arrives(on_packets: OnPackets) -> None:
        assert await on_packets([OPENING])
        await reading.wait()
        for _ in range(4):
            mock_clock.jump(80)
            assert await on_packets([])
            await trio.testing.wait_all_tasks_blocked()
        assert await on_packets([STARTED])

    async def analysis_starts(on_packets: OnPackets) -> None:
        await upload_arrives(on_packets)
        await trio.sleep_forever()

    async def analysis_ends(on_packets: OnPackets) -> None:
        await upload_arrives(on_packets)
        assert not await on_packets([COMPLETE])

    async with following(tmp_path, monkeypatch, analysis_starts) as sessions:
        log = await sessions.find(STREAM_ID, None)
        reading.set()
        await log.wait_beyond(1)
        assert log.packets == [OPENING, STARTED]
    async with following(tmp_path, monkeypatch, analysis_ends) as sessions:
        log = await sessions.find(STREAM_ID, None)
        await log.wait_closed()
        assert log.packets == [OPENING, STARTED, COMPLETE]


async def test_a_stream_whose_master_has_gone_ends_at_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    reading = trio.Event()

    async def silent(on_packets: OnPackets) -> None:
        await on_packets([OPENING])
        await reading.wait()
        mock_clock.jump(91)
        await trio.sleep_forever()

    async with following(tmp_path, monkeypatch, silent) as sessions:
        log = await sessions.find(STREAM_ID, None)
        reading.set()
        await log.wait_closed()
    assert [json.loads(packet)["packetType"] for packet in log.packets] == ["CONNECTION_ESTABLISHED", "ERROR"]


async def test_a_journal_that_cannot_be_read_now_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master that has the stream under another id would not know it."""

    def no_descriptor_left(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    async def follow(on_packets: OnPackets) -> None:
        raise AssertionError("no master is asked")

    monkeypatch.setattr(Path, "read_bytes", no_descriptor_left)
    with trio.fail_after(LIMIT):
        async with following(tmp_path, monkeypatch, follow) as sessions:
            with pytest.raises(PinactorsError) as refused:
                await sessions.find(STREAM_ID, None)
    assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 503)


async def test_while_a_master_is_away_nothing_is_called_unknown(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with running(tmp_path / "one") as one:
            masters = [f"http://127.0.0.1:{one.port}", "http://127.0.0.1:9"]
            async with proxying(tmp_path / "proxy", masters) as port:
                for path in ("/streams/aaaaaaaaaaaaaaaaaaaaaaaa", "/api/records/99"):
                    answer = await ask(port, "GET", path)
                    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_a_stream_that_no_master_has_yet_is_its_keys_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a master has begun the stream, its id is the proxy's alone."""
    asked: list[str | None] = []

    async def check_key(masters: object, api_key: str | None, *_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(api_key)
        if api_key == "wrong":
            raise unauthorized()

    async def waits(_: OnPackets) -> None:
        await trio.sleep_forever()

    async with following(tmp_path, monkeypatch, waits) as sessions:
        monkeypatch.setattr(requests, "check_key", check_key)
        for api_key, code in (("wrong", ErrorCode.UNAUTHORIZED), ("other", ErrorCode.STREAM_NOT_FOUND)):
            with pytest.raises(PinactorsError) as refused:
                await sessions._check("owner", None, api_key)
            assert refused.value.code is code
    assert asked == ["wrong", "other"]


async def test_cancelling_ends_the_session_here_and_at_the_master(tmp_path: Path, gate: Gate) -> None:
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as port,
            connected(port) as wire,
        ):
            body = json_body(sessionId="c", frontImageData=gate.photograph())
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            path = f"/streams/{await wire.stream_id()}"
            assert (await ask(port, "DELETE", path)).status == 204
            answer = await wire.answer()
            assert answer.packets[-1]["errorCode"] == "cancelled"
            assert [packet["sequence"] for packet in answer.packets] == list(range(len(answer.packets)))
            assert (await ask(port, "DELETE", path)).status == 204
            await wait_for_sessions(port, 0)
            there = await ask(master.port, "GET", path, headers=NDJSON)
            assert there.packets[-1]["errorCode"] == "cancelled"


async def test_an_upload_sent_again_after_its_cancellation_begins_a_new_session(
    tmp_path: Path, gate: Gate
) -> None:
    """It would join the cancelled session if the master did not know of the cancellation yet."""
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as port,
        ):
            body = json_body(sessionId="c", frontImageData=gate.photograph())
            streams = []
            for _ in range(2):
                accepted = await ask(port, "POST", UPLOAD, body, JSON | {"Prefer": "respond-async"})
                streams.append(accepted.json()["streamUrl"])
                assert (await ask(port, "DELETE", streams[-1])).status == 204
            assert streams[0] != streams[1]


async def test_the_same_upload_again_joins_the_running_session(tmp_path: Path, gate: Gate) -> None:
    async def joined() -> bool:
        return await metric(port, "pinactors_proxy_joined_total") == 1

    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as port,
            connected(port) as first,
            connected(port) as second,
        ):
            body = json_body(sessionId="j", frontImageData=gate.photograph())
            await first.request("POST", UPLOAD, body, JSON | PHONE)
            await first.stream_id()
            await second.request("POST", "/api/proxy/mobile-upload?response=stream", body, JSON | PHONE)
            await until_true(joined)
            gate.open()
            one, two = await first.answer(), await second.answer()
            assert_whole(one, "j")
            assert two.body == one.body
            assert await joined()
