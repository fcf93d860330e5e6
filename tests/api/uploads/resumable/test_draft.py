"""Resumable uploads of the IETF draft at `/mobile-upload`, on real sockets."""

from __future__ import annotations

import gc
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pinactors.api.http.body import BodyReader
from pinactors.api.uploads.mobile_upload import Reception
from pinactors.api.uploads.received import Parser
from pinactors.records import Records
from pinactors.settings import Settings
from tests.api.conftest import Process, Running, launch, running
from tests.api.uploads.resumable.senders import (
    NDJSON,
    Draft,
    body_of,
    comparable,
    is_kept,
    is_whole,
    reset,
    said,
)
from tests.api.wire import (
    JSON,
    LIMIT,
    MULTIPART,
    PHONE,
    Answer,
    ask,
    connected,
    head,
    json_body,
    metric,
    part,
    until,
)

VERSIONS = ["3", "5", "6", "8"]
PRICED = 'pinactors_components_total{component="pricing",outcome="full"}'
COMPLETED = 'pinactors_sessions_total{outcome="complete"}'


async def plain(port: int, session_id: str) -> Answer:
    return await ask(port, "POST", "/mobile-upload", body_of(session_id), {**MULTIPART, **NDJSON})


@pytest.mark.parametrize("version", ["", *VERSIONS])
async def test_an_upload_in_three_requests_is_answered_as_one(server: Running, version: str) -> None:
    client, body = Draft(server.port, version), body_of("a")
    created = await client.create(body[:40])
    assert created.status == 201
    url = created.headers["location"]
    assert url.startswith("/mobile-upload/")
    assert created.headers["upload-offset"] == "40"
    more = await client.append(url, 40, body[40:200], complete=False)
    assert more.status == (201 if version in ("3", "5") else 204)
    assert more.headers["upload-offset"] == "200"
    incomplete = ("upload-incomplete", "?1") if version == "3" else ("upload-complete", "?0")
    assert more.headers[incomplete[0]] == incomplete[1]
    last = await client.append(url, 200, body[200:], complete=True)
    assert last.status == 200
    assert is_whole(last.packets)
    assert last.packets[0]["sessionId"] == "a"
    assert comparable(last.packets) == comparable((await plain(server.port, "b")).packets)
    done = await client.ask(url)
    assert int(done.headers["upload-offset"]) == len(body)
    complete = ("upload-incomplete", "?0") if version == "3" else ("upload-complete", "?1")
    assert done.headers[complete[0]] == complete[1]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_whole_upload_learns_its_url_while_it_is_sent(server: Running, version: str) -> None:
    body = body_of("a")
    fields = {**MULTIPART, **NDJSON, **said(version, complete=True)}
    answer = await ask(server.port, "POST", "/mobile-upload", body, fields)
    assert answer.status == 200
    assert is_whole(answer.packets)
    (status, first), *_ = answer.interim
    assert status == 104
    assert first["upload-draft-interop-version"] == version
    assert first["location"] == answer.headers["location"]
    assert ("upload-limit" in first) == (version in ("6", "8"))


@pytest.mark.parametrize("version", ["", "4", "7", "99"])
async def test_a_version_that_is_not_spoken_gets_no_informational_response(
    server: Running, version: str
) -> None:
    fields = {**MULTIPART, **NDJSON, **said(version, complete=True)}
    answer = await ask(server.port, "POST", "/mobile-upload", body_of("a"), fields)
    assert (answer.status, answer.interim) == (200, [])


async def test_informational_responses_can_be_turned_off(tmp_path: Path) -> None:
    async with running(tmp_path, informational_responses=False) as server:
        fields = {**MULTIPART, **NDJSON, **said("8", complete=True)}
        answer = await ask(server.port, "POST", "/mobile-upload", body_of("a"), fields)
        assert (answer.status, answer.interim) == (200, [])
        created = await Draft(server.port).create()
        assert (created.status, created.interim) == (201, [])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_cut_first_request_goes_on_at_the_url_it_was_told(server: Running, version: str) -> None:
    client, body = Draft(server.port, version), body_of("a")
    fields = {**MULTIPART, **NDJSON, **said(version, complete=True), "Content-Length": str(len(body))}
    with trio.fail_after(LIMIT):
        async with connected(server.port) as wire:
            await wire.send(head("POST", "/mobile-upload", fields) + body[:50])
            seen = b""
            while b"\r\n\r\n" not in seen:
                seen += await wire.stream.receive_some(1000)
            reset(wire)
    url = seen.partition(b"location: ")[2].partition(b"\r\n")[0].decode()
    offset = await client.offset(url)
    assert offset <= 50
    answer = await client.append(url, offset, body[offset:], complete=True)
    assert is_whole(answer.packets)
    assert await metric(server.port, COMPLETED) == 1


async def test_the_offset_is_told_while_a_slow_request_goes_on(server: Running) -> None:
    client, body = Draft(server.port), body_of("a", back=b"PHOTO" * 1000)
    url = (await client.create()).headers["location"]
    fields = {**said("8", complete=True), "Upload-Offset": "0", "Content-Type": "application/partial-upload"}
    with trio.fail_after(LIMIT):
        async with connected(server.port) as wire:
            await wire.send(head("PATCH", url, {**fields, **NDJSON, "Content-Length": str(len(body))}))
            for start in range(0, len(body), 1200):
                await trio.sleep(0.4)
                await wire.send(body[start : start + 1200])
            answer = await wire.answer()
    assert is_whole(answer.packets)
    told = [int(headers["upload-offset"]) for status, headers in answer.interim if status == 104]
    assert told
    assert told == sorted(told)
    assert all("location" not in headers for _, headers in answer.interim)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_wrong_offset_is_told_the_right_one(server: Running, version: str) -> None:
    client, body = Draft(server.port, version), body_of("a")
    url = (await client.create(body[:30])).headers["location"]
    for offset in (0, 29, 31, 10**9):
        answer = await client.append(url, offset, body[30:], complete=True)
        assert answer.status == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["upload-offset"] == "30"
        problem = answer.json()
        assert problem["type"].endswith("#mismatching-upload-offset")
        assert (problem["expected-offset"], problem["provided-offset"]) == (30, offset)
        assert problem["success"] is False
    assert is_whole((await client.append(url, 30, body[30:], complete=True)).packets)


async def test_two_lengths_are_refused(server: Running) -> None:
    client, body = Draft(server.port), body_of("a")
    url = (await client.create(body[:30], **{"Upload-Length": str(len(body))})).headers["location"]
    answer = await client.append(url, 30, body[30:-1], complete=True)
    assert answer.status == 400
    assert answer.json()["type"].endswith("#inconsistent-upload-length")
    told = await client.ask(url)
    assert (told.headers["upload-length"], told.headers["upload-offset"]) == (str(len(body)), "30")
    longer = await client.append(url, 30, body[30:] + b"beyond", complete=False)
    assert longer.status == 400
    await until(partial(is_refused, client, url))  # an upload with a known error cannot continue


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_lost_answer_can_be_had_again(server: Running, version: str) -> None:
    client, body = Draft(server.port, version), body_of("a")
    url = (await client.create()).headers["location"]
    first = await client.append(url, 0, body, complete=True)
    again = await client.append(url, len(body), b"", complete=True)
    assert again.body == first.body
    more = await client.append(url, len(body), b"more", complete=True)
    assert more.status == 400
    assert more.json()["type"].endswith("#completed-upload")
    assert await metric(server.port, COMPLETED) == 1


async def test_a_question_or_a_new_request_ends_the_one_before(server: Running) -> None:
    client, body = Draft(server.port), body_of("a")
    url = (await client.create()).headers["location"]
    fields = {**said("8", complete=True), "Upload-Offset": "0", "Content-Type": "application/partial-upload"}
    with trio.fail_after(LIMIT):
        async with connected(server.port) as wire:
            await wire.send(head("PATCH", url, {**fields, "Content-Length": str(len(body))}) + body[:20])
            ended: list[Answer] = []

            async def wait_for_answer() -> None:
                ended.append(await wire.answer())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_answer)
                while not ended:  # the server may read the first question before the request
                    offset = await client.offset(url)
            assert ended[0].status == 409
            await wire.send(head("PATCH", url, {}))
            assert await wire.is_closed()
    answer = await client.append(url, offset, body[offset:], complete=True)
    assert is_whole(answer.packets)


async def test_work_begins_with_the_first_photograph(server: Running) -> None:
    client, body = Draft(server.port), body_of("a", back=b"PHOTO" * 500)
    url = (await client.create()).headers["location"]
    cut = body.index(b"back_image")
    await client.append(url, 0, body[: cut + 300], complete=False)
    await until(lambda: metric(server.port, PRICED))
    await client.append(url, cut + 300, body[cut + 300 :], complete=True)


async def test_json_is_resumed_like_any_other_body(server: Running) -> None:
    body = json_body(sessionId="a", frontImageData=b"PHOTO" * 20)
    fields = {**JSON, **PHONE, **said("8", complete=False)}
    created = await ask(server.port, "POST", "/mobile-upload", b"", fields)
    url = created.headers["location"]
    answer = await Draft(server.port).append(url, 0, body, complete=True)
    assert is_whole(answer.packets)


async def test_whoever_asked_for_one_object_gets_it(server: Running) -> None:
    fields = {**MULTIPART, **said("8", complete=False), "User-Agent": "okhttp/4"}
    url = (await ask(server.port, "POST", "/mobile-upload", b"", fields)).headers["location"]
    answer = await Draft(server.port).append(url, 0, body_of("a"), complete=True)
    assert answer.json()["success"] is True
    assert answer.json()["recordNumber"] == 1


@pytest.mark.parametrize("at", ["the creation", "the completion"])
async def test_whoever_does_not_wait_gets_the_streams_url(server: Running, at: str) -> None:
    wish = {"Prefer": "respond-async"}
    client, body = Draft(server.port), body_of("asleep")
    url = (await client.create(**(wish if at == "the creation" else {}))).headers["location"]
    answer = await client.append(url, 0, body, complete=True, **(wish if at == "the completion" else {}))
    assert (answer.status, answer.headers["upload-complete"]) == (202, "?1")
    assert answer.headers["location"] == answer.json()["streamUrl"]


async def test_a_session_id_in_the_header_is_refused_by_the_headers_name(server: Running) -> None:
    answer = await Draft(server.port).create(**{"x-session-id": "a b"})
    assert (answer.status, answer.json()["field"]) == (400, "x-session-id")


async def test_what_the_parser_refuses_ends_the_upload(server: Running) -> None:
    client = Draft(server.port)
    url = (await client.create()).headers["location"]
    bad = part("sessionId", b"a") + part("sessionId", b"b") + b"more" * 100
    answer = await client.append(url, 0, bad, complete=False)
    if answer.status == 204:  # the parser had not read it yet
        await until(partial(is_refused, client, url))
        answer = await client.append(url, len(bad), b"x", complete=False)
    assert answer.status == 400
    assert answer.json()["field"] == "sessionId"
    assert answer.headers["upload-complete"] == "?1"
    again = await client.append(url, 0, bad, complete=True)
    assert again.json()["error"] == answer.json()["error"]


async def test_refused_uploads_take_no_place(tmp_path: Path) -> None:
    async with running(tmp_path, max_sessions=1) as server:
        client, refused = Draft(server.port), []
        for _ in range(2):
            created = await client.create()
            assert created.status == 201
            refused.append(created.headers["location"])
            bad = part("sessionId", b"a") + part("sessionId", b"b") + b"more" * 100
            await client.append(refused[-1], 0, bad, complete=False)
            await until(partial(is_refused, client, refused[-1]))
        assert (await client.ask(refused[0])).status == 404  # only the latest are remembered
        assert is_whole((await plain(server.port, "b")).packets)


async def is_refused(client: Draft, url: str) -> bool:
    return (await client.ask(url)).status == 400


async def test_a_refused_upload_keeps_nothing_of_its_requests(server: Running) -> None:
    """The refusal is raised in each request that asks for it."""

    def kept() -> list[object]:
        gc.collect()
        return [one for one in gc.get_objects() if isinstance(one, BodyReader | Reception | Parser)]

    before = len(kept())
    client = Draft(server.port)
    url = (await client.create()).headers["location"]
    bad = part("sessionId", b"a") + part("sessionId", b"b") + b"more" * 100
    await client.append(url, 0, bad, complete=False)
    await until(partial(is_refused, client, url))
    for _ in range(2):
        assert (await client.append(url, 0, bad, complete=True)).status == 400
    await wait_all_tasks_blocked(0.05)  # the connections' tasks have ended
    assert len(kept()) == before


async def test_limits_are_told_and_kept(tmp_path: Path) -> None:
    async with running(tmp_path, max_request_bytes=1000, upload_expiry=60) as server:
        client = Draft(server.port)
        refused = await client.create(**{"Upload-Length": "1001"})
        assert refused.status == 413
        assert refused.headers["upload-limit"] == "max-size=1000"
        created = await client.create()
        assert created.headers["upload-limit"].startswith("max-size=1000, max-age=")
        url = created.headers["location"]
        assert (await client.append(url, 0, b"x" * 999, complete=False)).status in (204, 400)
        options = await ask(server.port, "OPTIONS", "/mobile-upload")
        assert options.headers["upload-limit"] == "max-size=1000"


async def test_a_request_that_brings_nothing_is_ended_and_can_be_gone_on_with(tmp_path: Path) -> None:
    async with running(tmp_path, upload_floor_window=0.3) as server:
        client, body = Draft(server.port), body_of("a")
        url = (await client.create()).headers["location"]
        fields = {**said("8", complete=True), "Upload-Offset": "0", "Content-Length": str(len(body))}
        with trio.fail_after(LIMIT):
            async with connected(server.port) as wire:
                await wire.send(
                    head("PATCH", url, {**fields, "Content-Type": "application/partial-upload"}) + body[:9]
                )
                assert (await wire.answer()).status == 409
        assert await client.offset(url) == 9
        assert is_whole((await client.append(url, 9, body[9:], complete=True)).packets)


async def test_one_given_up_is_gone(server: Running) -> None:
    client = Draft(server.port)
    url = (await client.create(body_of("a")[:50])).headers["location"]
    assert (await client.ask(url, "DELETE")).status == 204
    assert (await client.ask(url, "DELETE")).status == 404
    missing = await client.append(url, 50, b"x", complete=True)
    assert (missing.status, missing.json()["errorCode"]) == (404, "not_found")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_killed_server_goes_on_where_it_was(tmp_path: Path, version: str) -> None:
    """The session that had begun continues: no byte is sent twice, no finished component runs again, and
    there is one record."""
    body = body_of("a", back=b"PHOTO" * 500)
    cut = body.index(b"back_image") + 300
    data = tmp_path / "data"
    process, port = launch(data)
    try:
        client = Draft(port, version)
        url = (await client.create()).headers["location"]
        await client.append(url, 0, body[:cut], complete=False)
        await until(partial(is_kept, data, b"PRICING_ANALYSIS"))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    async with running(data) as server:
        client = Draft(server.port, version)
        assert await client.offset(url) == cut
        answer = await client.append(url, cut, body[cut:], complete=True)
        assert is_whole(answer.packets)
        assert answer.packets[-1]["id"] == 1
        assert (
            await metric(server.port, 'pinactors_components_total{component="pricing",outcome="full"}') == 0
        )
        assert (await plain(server.port, "z")).packets[-1]["id"] == 2


async def test_an_upload_completed_before_a_restart_is_still_answered(tmp_path: Path) -> None:
    client_body = body_of("a")
    async with running(tmp_path) as server:
        client = Draft(server.port)
        url = (await client.create()).headers["location"]
        first = await client.append(url, 0, client_body, complete=True)
    async with running(tmp_path) as server:
        client = Draft(server.port)
        assert await client.offset(url) == len(client_body)
        again = await client.append(url, len(client_body), b"", complete=True)
        assert again.body == first.body


async def test_a_server_that_stops_does_not_wait_for_the_rest(tmp_path: Path) -> None:
    body = body_of("a", back=b"PHOTO" * 500)
    cut = body.index(b"back_image") + 300
    with trio.fail_after(LIMIT):
        async with running(tmp_path) as server:
            url = (await Draft(server.port).create()).headers["location"]
            await Draft(server.port).append(url, 0, body[:cut], complete=False)
            await until(lambda: metric(server.port, "pinactors_live_sessions"))
        async with running(tmp_path) as server:
            answer = await Draft(server.port).append(url, cut, body[cut:], complete=True)
    assert is_whole(answer.packets)
    assert answer.packets[-1]["id"] == 1


async def test_another_key_sees_no_upload(tmp_path: Path) -> None:
    records = await Records.open(Settings(data=tmp_path))
    ours, theirs = await records.add_key("ours"), await records.add_key("theirs")
    await records.close()
    async with running(tmp_path) as server:
        mine = Draft(server.port, headers={"x-api-key": ours})
        other = Draft(server.port, headers={"x-api-key": theirs})
        assert (await Draft(server.port).create()).status == 401
        url = (await mine.create()).headers["location"]
        assert (await Draft(server.port).ask(url)).status == 401
        assert (await other.ask(url)).status == 404
        assert (await other.append(url, 0, b"x", complete=False)).status == 404
        assert (await other.ask(url, "DELETE")).status == 404
        assert (await mine.ask(url)).status == 204


async def test_cut_at_every_byte(shared: Process) -> None:
    """Each upload gives one session and one record, with the packets of an upload that was not cut."""
    before = await metric(shared.port, COMPLETED)
    expected = comparable((await plain(shared.port, "uncut-000")).packets)
    size = len(body_of("cut-0-000"))
    slots = trio.CapacityLimiter(8)
    records: set[int] = set()

    async def one(version: str, cut: int) -> None:
        client, body = Draft(shared.port, version), body_of(f"cut-{version}-{cut:03}")
        async with slots:
            url = (await client.create()).headers["location"]
            await client.append_cut(url, 0, body, cut)
            offset = await client.offset(url)
            assert offset <= cut
            answer = await client.append(url, offset, body[offset:], complete=True)
        assert is_whole(answer.packets)
        assert comparable(answer.packets) == expected
        records.add(answer.packets[-1]["id"])

    with trio.fail_after(10 * LIMIT):
        async with trio.open_nursery() as nursery:
            for cut in range(size + 1):
                nursery.start_soon(one, VERSIONS[cut % 4], cut)
    assert len(records) == size + 1
    assert await metric(shared.port, COMPLETED) == before + size + 2
