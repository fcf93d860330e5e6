"""Masters that are killed, without effect on the phones: separate processes, real sockets, kill -9."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

from tests.api.drawn import Gate
from tests.api.proxy.conftest import (
    LIMIT,
    NDJSON,
    UPLOAD,
    Fleet,
    assert_whole,
    half_sent,
    has_stream,
    upload,
    wait_for_sessions,
)
from tests.api.wire import JSON, PHONE, Answer, ask, connected, is_refused, json_body, metric, until
from tests.waiting import stopwatch


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
            await until(joined)  # the desktop's own session ends when it joins the phone's
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
            await until(partial(is_refused, masters[0].port))
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
