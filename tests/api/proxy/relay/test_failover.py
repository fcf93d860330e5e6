"""Masters that are killed, without effect on the phones: with packet logs of their own or a shared one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
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
    half_sent,
    has_stream,
    proxying,
    upload,
    wait_for_sessions,
)
from tests.api.rawsocket import opened
from tests.api.wire import JSON, PHONE, Answer, ask, connected, is_refused, json_body, metric
from tests.api.wire import until as until_true
from tests.postgres_server import empty_database, is_stored
from tests.records.conftest import postgres  # noqa: F401 - a fixture
from tests.waiting import stopwatch, until


async def test_a_master_dies_at_every_moment_while_fifty_sessions_run(fleet: Fleet, gate: Gate) -> None:
    """20 phones have their first packet, 15 have sent half of the upload, 15 have sent everything and have no
    packet yet."""
    masters = fleet.masters(2)
    proxy = fleet.proxy(masters)
    answers: dict[str, Answer] = {}
    opened = [trio.Event() for _ in range(20)]
    sent = [trio.Event() for _ in range(15)]
    names: dict[str, str] = {}

    async def follow(number: int) -> None:
        body = json_body(sessionId=f"follow{number}", frontImageData=gate.photograph())
        async with connected(proxy.port) as wire:
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            names[f"follow{number}"] = await wire.stream_id()
            opened[number].set()
            answers[f"follow{number}"] = await wire.answer()

    async def send(number: int) -> None:
        body = json_body(sessionId=f"sent{number}", frontImageData=b"PHOTO")
        async with connected(proxy.port) as wire:
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            sent[number].set()
            answers[f"sent{number}"] = await wire.answer()

    with trio.fail_after(LIMIT):
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(follow, number)
            for event in opened:
                await event.wait()
            bodies = [
                json_body(sessionId=f"half{number}", frontImageData=b"PHOTO" * 20_000) for number in range(15)
            ]
            halves = [await stack.enter_async_context(half_sent(proxy.port, body)) for body in bodies]
            there = [name for name in names if await has_stream(masters[0].port, names[name])]
            masters[0].pause()
            for number in range(15):
                nursery.start_soon(send, number)
            for event in sent:
                await event.wait()
            assert [name for name in there if name not in answers], "none of its sessions is under way"
            assert len(answers) < 35, "none of those that have sent everything waits for its first packet"
            states = (await ask(proxy.port, "GET", "/health")).json()["masters"]
            under_way = next(each["sessions"] for each in states if each["name"] in masters[0].url)
            assert under_way > 0
            masters[0].kill()
            gate.open()
            for number, (wire, body) in enumerate(zip(halves, bodies, strict=True)):
                await wire.send(body[len(body) // 2 :])
                answers[f"half{number}"] = await wire.answer()
        assert len(answers) == 50
        for session_id, answer in answers.items():
            assert_whole(answer, session_id)
        assert await metric(proxy.port, "pinactors_proxy_failovers_total") >= under_way
        await wait_for_sessions(proxy.port, 0)


async def test_packets_that_were_delivered_are_not_repeated(fleet: Fleet, gate: Gate) -> None:
    """The killed master has delivered two packets. The desktop's object is assembled from the packets of both
    masters."""
    masters = fleet.masters(2, workers=1)
    proxy = fleet.proxy(masters)

    async def joined() -> bool:
        return await metric(proxy.port, "pinactors_proxy_joined_total") == 1

    body = json_body(frontImageData=gate.photograph())
    with trio.fail_after(LIMIT):
        async with connected(proxy.port) as phone, connected(proxy.port) as desktop:
            await phone.request("POST", UPLOAD, body, JSON | PHONE | {"Idempotency-Key": "both"})
            stream_id = await phone.stream_id()
            await desktop.request("POST", UPLOAD, body, JSON | {"Idempotency-Key": "both"})
            await until_true(joined)  # the desktop's own session ends when it joins the phone's
            [victim] = [master for master in masters if await has_stream(master.port, stream_id)]
            victim.kill()
            gate.open()
            answer = await phone.answer()
            assert_whole(answer)
            assert (await desktop.answer()).json()["streamId"] == stream_id
        assert answer.packets[0]["streamId"] == stream_id
        again = await ask(proxy.port, "GET", f"/streams/{stream_id}", headers=NDJSON)
        assert again.body == answer.body


async def test_one_master_that_comes_back_is_resumed(fleet: Fleet, gate: Gate) -> None:
    """There is no other master: the session waits for the restart, and continues from the master's
    journal."""
    (master,) = fleet.masters(1, workers=1)
    proxy = fleet.proxy([master])
    with trio.fail_after(LIMIT):
        async with connected(proxy.port) as wire:
            body = json_body(sessionId="back", frontImageData=gate.photograph())
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            await wire.stream_id()
            master.kill()
            master.start()
            master.wait_started()
            gate.open()
            assert_whole(await wire.answer(), "back")
        assert await metric(proxy.port, "pinactors_proxy_resumes_total") >= 1
        assert await metric(proxy.port, "pinactors_proxy_failovers_total") == 0


async def test_the_second_master_has_what_is_left_of_the_phones_time(fleet: Fleet, gate: Gate) -> None:
    """The analysis does not end. The session ends after the phone's 12 s; the second master does not begin
    another 12 s."""
    masters = fleet.masters(2, workers=1, deadline=12.0, basic_reserve=0.5, proxy_secret="theirs")
    proxy = fleet.proxy(masters, deadline=12.0, proxy_secret="theirs")
    with trio.fail_after(LIMIT):
        async with connected(proxy.port) as wire, stopwatch() as watch:
            body = json_body(sessionId="late", frontImageData=gate.photograph())
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            stream_id = await wire.stream_id()
            began = watch.seconds
            await trio.sleep(6)
            [victim] = [master for master in masters if await has_stream(master.port, stream_id)]
            victim.kill()
            answer = await wire.answer()
            assert watch.seconds - began < 17
        assert answer.ended
        assert [packet["sequence"] for packet in answer.packets] == list(range(len(answer.packets)))
        result = answer.packets[answer.types.index("AUTHENTICATION_RESULT")]
        assert result["note"] == "Analysis timed out"
        assert answer.types[-1] == "ANALYSIS_COMPLETE"


async def test_a_draining_master_finishes_its_sessions_and_gets_no_new_ones(
    fleet: Fleet, tmp_path: Path
) -> None:
    """The sessions of the draining master are held until the new uploads have their answers. Those of the
    other master are not, because they would hold its worker."""
    masters = fleet.masters(2, workers=1)
    proxy = fleet.proxy(masters)
    answers: dict[str, Answer] = {}

    gates = [Gate(tmp_path / f"gate{number}") for number in range(8)]
    names: dict[int, str] = {}

    async def follow(number: int, opened: trio.Event) -> None:
        body = json_body(sessionId=f"d{number}", frontImageData=gates[number].photograph())
        async with connected(proxy.port) as wire:
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            names[number] = await wire.stream_id()
            opened.set()
            answers[f"d{number}"] = await wire.answer()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            events = [trio.Event() for _ in range(8)]
            for number, event in enumerate(events):
                nursery.start_soon(follow, number, event)
            for event in events:
                await event.wait()
            held = [number for number in names if await has_stream(masters[0].port, names[number])]
            for number in set(names) - set(held):
                gates[number].open()
            masters[0].process.terminate()
            await until_true(partial(is_refused, masters[0].port))
            for number in range(8):
                answers[f"n{number}"] = await upload(proxy.port, f"n{number}")
            assert not [number for number in held if f"d{number}" in answers]
            for number in held:
                gates[number].open()
        for session_id, answer in answers.items():
            assert_whole(answer, session_id)
        lines = (await ask(proxy.port, "GET", "/metrics")).body.decode().splitlines()
        taken = [line for line in lines if line.startswith("pinactors_proxy_failovers_total")]
        assert [line for line in taken if 'reason="failed"' in line] == [], "sessions stay where they are"


async def test_an_idempotency_key_is_one_session_across_a_failover(fleet: Fleet, gate: Gate) -> None:
    """A phone that repeats its upload while a master dies gets the first upload's analysis, and there is one
    record."""
    masters = fleet.masters(2, workers=1)
    proxy = fleet.proxy(masters)
    key = {"Idempotency-Key": "one-upload"}
    body = json_body(sessionId="again", frontImageData=gate.photograph())
    with trio.fail_after(LIMIT):
        async with connected(proxy.port) as first:
            await first.request("POST", UPLOAD, body, JSON | PHONE | key)
            stream_id = await first.stream_id()
        [home] = [master for master in masters if await has_stream(master.port, stream_id)]
        home.kill()
        async with connected(proxy.port) as second:
            await second.request("POST", UPLOAD, body, JSON | PHONE | key)
            await second.stream_id()
            gate.open()
            answer = await second.answer()
        assert_whole(answer, "again")
        log = await ask(proxy.port, "GET", f"/streams/{stream_id}", headers=NDJSON)
        assert_whole(log, "again")
        assert log.packets[-1]["id"] == answer.packets[-1]["id"], "one analysis"
        other = json_body(sessionId="again", frontImageData=b"PHOTO other")
        refused = await ask(proxy.port, "POST", UPLOAD, other, JSON | key)
        assert (refused.status, refused.json()["errorCode"]) == (422, "session_conflict")


async def test_two_phones_with_one_session_id_never_see_each_others_packets(fleet: Fleet, gate: Gate) -> None:
    """This holds also after their master has died and both uploads were sent to the same other master."""
    masters = fleet.masters(2, workers=2)
    proxy = fleet.proxy(masters)
    fronts = [gate.photograph("x"), gate.photograph("another")]
    with trio.fail_after(LIMIT):
        async with connected(proxy.port) as one, connected(proxy.port) as two:
            for wire, front in zip((one, two), fronts, strict=True):
                body = json_body(sessionId="260101120000", frontImageData=front)
                await wire.request("POST", UPLOAD, body, JSON | PHONE)
            names = [await one.stream_id(), await two.stream_id()]
            assert names[0] != names[1]
            [home] = [master for master in masters if await has_stream(master.port, names[0])]
            assert await has_stream(home.port, names[1]), "one session id, one master"
            home.kill()
            gate.open()
            answers = [await one.answer(), await two.answer()]
        for answer, name, front in zip(answers, names, fronts, strict=True):
            assert_whole(answer, "260101120000")
            assert answer.packets[0]["streamId"] == name
            details = answer.packets[answer.types.index("DETAILED_ANALYSIS")]["details"]
            assert details["bytes"]["front"] == len(front)
        assert answers[0].packets[-1]["id"] != answers[1].packets[-1]["id"]


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
