"""A proxy of masters that share a packet log stores no packets, because each master can continue each stream,
except those of a session that was started again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.api.proxy.masters.fleet import Master, Masters
from pinactors.api.proxy.relay.failover import MAX_RESUMES, Failover, Upstream
from pinactors.client.connecting import Broken, Unreachable
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from tests.api.drawn import Gate
from tests.api.proxy.conftest import (
    LIMIT,
    NDJSON,
    UPLOAD,
    Fleet,
    Server,
    assert_whole,
    proxying,
    wait_for_sessions,
)
from tests.api.rawsocket import opened
from tests.api.wire import JSON, PHONE, ask, connected, json_body, metric
from tests.api.wire import until as until_true
from tests.postgres_server import empty_database, is_stored
from tests.records.conftest import postgres  # noqa: F401 - a fixture
from tests.waiting import until


@pytest.fixture
def shared(postgres: Path, tmp_path: Path) -> dict[str, Any]:  # noqa: F811 - a fixture
    """Settings of masters that share their packet log."""
    return {"database_url": empty_database(postgres), "storage": f"file:{tmp_path / 'shared'}"}


@asynccontextmanager
async def proxying_shared(
    data: Path, masters: list[Server], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """Runs a proxy in this process, and yields its port once it knows that the masters share their log. It
    opens no session without a master, however busy the machine is."""
    known: list[Masters] = []
    of = Masters.of

    def seen(settings: Settings) -> Masters:
        known.append(of(settings))
        return known[-1]

    monkeypatch.setattr(Masters, "of", seen)
    urls = [master.url for master in masters]
    async with proxying(data, urls, proxy_health_interval=0.3, keepalive=LIMIT) as port:
        await until(lambda: known[0].shared)
        yield port


async def holder_of_the_session(masters: list[Server]) -> Server:
    (holder,) = [each for each in masters if await metric(each.port, "pinactors_live_sessions")]
    return holder


async def test_a_killed_masters_session_goes_on_under_its_name(
    fleet: Fleet, shared: dict[str, Any], tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = fleet.masters(2, workers=1, **shared)
    with trio.fail_after(LIMIT):
        async with proxying_shared(tmp_path / "proxy", masters, monkeypatch) as port:
            body = json_body(sessionId="goes-on", frontImageData=b"PHOTO", backImageData=gate.photograph())
            async with connected(port) as wire:
                await wire.request("POST", UPLOAD, body, JSON | PHONE)
                stream_id = await wire.stream_id()
                # Before that, another master would have to start the session again.
                stored = partial(is_stored, shared["database_url"], b"ends_at")
                await until_true(partial(trio.to_thread.run_sync, stored))
                holder = await holder_of_the_session(masters)
                holder.kill()
                gate.open()
                answer = await wire.answer()
            assert_whole(answer, "goes-on")
            assert answer.packets[0]["streamId"] == stream_id
            assert not list((tmp_path / "proxy").rglob("*.journal"))
            (other,) = [each for each in masters if each is not holder]
            read = await ask(other.port, "GET", f"/streams/{stream_id}?offset=-1", headers=NDJSON)
            assert read.packets == answer.packets
            again = await ask(port, "GET", f"/streams/{stream_id}?offset=-1", headers=NDJSON)
            assert again.packets == answer.packets
            assert (await ask(other.port, "GET", "/api/mobile/provisional-pins")).json()["total"] == 1


async def test_a_session_started_again_is_found_under_its_first_name(
    fleet: Fleet, shared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first master is killed before it has the whole upload, so that the other one starts the session
    under another stream id, and ends the incomplete stream in the shared log. The phone knows only the first
    id."""
    masters = fleet.masters(2, workers=1, **shared)
    with trio.fail_after(LIMIT):
        async with proxying_shared(tmp_path / "proxy", masters, monkeypatch) as port:
            async with opened(port) as socket:
                await socket.send(images=["front", "back"], sessionId="again")
                packets = [await socket.packet()]
                await socket.send_photograph(b"PHOTO front")
                packets += await socket.until("HTML_DISPLAY_DATA")
                assert not list((tmp_path / "proxy").rglob("*.journal"))
                (await holder_of_the_session(masters)).kill()
                await socket.send_photograph(b"PHOTO back")
                packets += await socket.until("ANALYSIS_COMPLETE")
                assert await socket.close_code() == 1000
            await wait_for_sessions(port, 0)
            assert [packet["sequence"] for packet in packets] == list(range(8))
            path = f"/streams/{packets[0]['streamId']}"
            again = await ask(port, "GET", path, headers=NDJSON)
            assert (again.status, again.packets) == (200, packets)
        async with proxying(tmp_path / "proxy", [master.url for master in masters]) as port:
            assert (await ask(port, "GET", path, headers=NDJSON)).body == again.body, "another process"


class Services:
    """The services that a `Failover` needs."""

    def __init__(self, *, shared: bool) -> None:
        self.masters = Masters([Master(f"http://{name}:1", shared=shared) for name in "abc"], Settings())
        self.metrics = self.resumes = self.failovers = self

    def labels(self, *_: str) -> Services:
        return self

    def inc(self) -> None:
        """Does nothing: these tests read no metrics."""


def under_way(*, shared: bool, can_restart: bool) -> Failover:
    services: Any = Services(shared=shared)
    failover = Failover(services, "route", None, can_restart=can_restart)
    assert failover.choose(answered=False) is None
    assert failover.upstream is not None
    failover.upstream.stream_id, failover.upstream.received = "stream-0001", 3
    return failover


async def test_the_stream_is_read_on_elsewhere() -> None:
    for failure in (Unreachable("nobody answers"), PinactorsError(ErrorCode.OVERLOADED, "busy", status=503)):
        failover = under_way(shared=True, can_restart=False)
        tried: list[Upstream] = []
        for _ in range(3):
            upstream = failover.upstream
            assert upstream is not None
            assert (upstream.stream_id, upstream.received) == ("stream-0001", 3)
            tried.append(upstream)
            ended = (
                failover.refused(upstream, failure, 3)
                if isinstance(failure, PinactorsError)
                else failover.failed(upstream, failure)
            )
            assert ended is None
        assert len({upstream.master.name for upstream in tried}) == 3


async def test_a_connection_that_breaks_is_tried_there_first() -> None:
    failover = under_way(shared=True, can_restart=True)
    first = failover.upstream
    assert first is not None
    for _ in range(MAX_RESUMES):
        assert failover.failed(first, Broken("it broke")) is None
        assert failover.upstream is first
    assert failover.failed(first, Broken("it broke")) is None
    assert failover.upstream is not None
    assert failover.upstream.master is not first.master
    assert failover.upstream.stream_id == "stream-0001"


async def test_masters_of_their_own_begin_again() -> None:
    failover = under_way(shared=False, can_restart=True)
    assert failover.upstream is not None
    assert failover.failed(failover.upstream, Unreachable("nobody answers")) is None
    assert failover.upstream is None
