"""More uploads than capacity, on real workers: each upload is analysed before its deadline or refused at
once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.api.server import serve
from pinactors.records import Records
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.drawn import Gate
from tests.api.wire import JSON, LIMIT, PHONE, Answer, ask, connected, has_no_session, json_body, until
from tests.faults import loaded

UPLOAD = "/mobile-upload"
ASYNC = {"Prefer": "respond-async"}
DEADLINE = 8.0
RESERVE = 4.0
CAPACITY = DEADLINE / loaded.COST
"""The number of sessions that one worker can fully analyse before the deadline of the last one."""

BASIC = "Basic analysis used due to processing constraints"
OFFERED = int(2 * CAPACITY)


@asynccontextmanager
async def serving(data: Path, **chosen: Any) -> AsyncIterator[Settings]:
    """A server with one worker and two earlier sessions from which it knows the cost of a session."""
    settings = Settings(data=data, port=0, workers=1, worker_niceness=0, **chosen)
    shutdown = trio.Event()
    run = partial(serve, settings, analysis=loaded.declare(settings), warm=loaded.warm, shutdown=shutdown)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(run)
        for number in range(2):
            answer = await ask(port, "POST", UPLOAD, json_body(frontImageData=b"%d" % number), JSON)
            assert answer.status == 200
        yield settings.model_copy(update={"port": port})
        shutdown.set()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Settings]:
    """A server with a short deadline."""
    async with serving(tmp_path, deadline=DEADLINE, basic_reserve=RESERVE) as server:
        yield server


@dataclass
class Course:
    """One phone's upload and its answer. `events` is one list for all phones: (phone number, packet type) in
    order of arrival."""

    number: int
    events: list[tuple[int, str]]
    status: int = 0
    retry_after: str | None = None
    packets: list[dict[str, Any]] = field(default_factory=list)

    async def run(self, port: int) -> None:
        body = json_body(sessionId=f"o{self.number}", frontImageData=b"photo %d" % self.number)
        async with connected(port) as wire:
            await wire.request("POST", UPLOAD, body, JSON | PHONE)
            received = b""
            while data := await wire.stream.receive_some(65536):
                received += data
                self._note(received)
                if received.endswith((b"}", b"0\r\n\r\n")):  # the end of a refusal's body, or of a stream
                    break
        self.status = int(received.split(b" ", 2)[1])
        if self.status != 200:
            self.events.append((self.number, "REFUSED"))
        head = received.partition(b"\r\n\r\n")[0].decode().lower()
        self.retry_after = next(
            (line.partition(": ")[2] for line in head.splitlines() if line.startswith("retry-after: ")), None
        )

    def _note(self, received: bytes) -> None:
        """Notes the packets that are complete; the lengths of HTTP chunks are on separate lines."""
        lines = [line for line in received.split(b"\n")[:-1] if line.startswith(b'{"packetType"')]
        for line in lines[len(self.packets) :]:
            self.packets.append(json.loads(line))
            self.events.append((self.number, self.packets[-1]["packetType"]))

    @property
    def result(self) -> dict[str, Any]:
        [result] = [packet for packet in self.packets if packet["packetType"] == "AUTHENTICATION_RESULT"]
        return result


async def test_more_than_can_be_done(server: Settings) -> None:
    events: list[tuple[int, str]] = []
    courses = [Course(number, events) for number in range(OFFERED)]
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            for course in courses:
                nursery.start_soon(course.run, server.port)
    done = [course for course in courses if course.status == 200]
    refused = [course for course in courses if course.status != 200]
    assert done
    assert refused, "twice the capacity was offered"
    for course in refused:
        assert course.status == 503
        assert int(course.retry_after or 0) > 0
    notes = Counter(course.result.get("note") for course in done)
    assert set(notes) == {None, BASIC}, f"full or basic, never timed out: {notes}"
    for course in done:
        assert course.packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
        assert course.packets[-1]["processingTime"] <= 1000 * DEADLINE, "nobody is over the deadline"
    first = [index for index, (_, kind) in enumerate(events) if kind == "PROCESSING_STARTED"]
    ended = [index for index, (_, kind) in enumerate(events) if kind == "ANALYSIS_COMPLETE"]
    assert len(first) == len(ended) == len(done)
    no = [index for index, (_, kind) in enumerate(events) if kind == "REFUSED"]
    middle = ended[len(ended) // 2]
    assert first[-1] < middle, "first packets do not wait behind the queue"
    assert no[-1] < middle, "nobody waits to be refused"


async def test_who_is_watched_goes_before_who_is_not(tmp_path: Path, gate: Gate) -> None:
    """Eight sessions without readers are queued; a ninth with a reader ends before at least half of them. The
    only worker is held until then, so that none of them ends before the ninth comes."""
    with trio.fail_after(LIMIT):
        async with serving(tmp_path) as server, connected(server.port) as watched:
            held = await ask(
                server.port, "POST", UPLOAD, json_body(frontImageData=gate.photograph()), JSON | ASYNC
            )
            assert held.status == 202
            left = []
            for number in range(8):
                body = json_body(sessionId=f"u{number}", frontImageData=b"unwatched %d" % number)
                accepted = await ask(server.port, "POST", UPLOAD, body, JSON | ASYNC)
                assert accepted.status == 202
                left.append(accepted.json()["streamId"])
            body = json_body(sessionId="w", frontImageData=b"watched")
            await watched.request("POST", UPLOAD, body, JSON | PHONE)
            await watched.read_until(b"PROCESSING_STARTED")
            gate.open()
            record = (await watched.answer()).packets[-1]["id"]
            numbers = [(await followed(server.port, stream))["id"] for stream in left]
    before = [number for number in numbers if number < record]
    assert len(before) <= 4, f"record {record} among {numbers}"
    assert numbers, "they were done all the same"


async def followed(port: int, stream_id: str) -> dict[str, Any]:
    """The stream's last packet, which must be `ANALYSIS_COMPLETE`."""
    answer = await ask(port, "GET", f"/streams/{stream_id}", headers={"Accept": "application/x-ndjson"})
    assert answer.types[-1] == "ANALYSIS_COMPLETE"
    return answer.packets[-1]


class TestKeys:
    """The uploads of one key are limited, without effect on other keys."""

    async def test_sessions_at_once(self, tmp_path: Path, gate: Gate) -> None:
        """The first key's sessions hold two of three workers until the other key has its answer."""
        async with running(tmp_path, workers=3, max_sessions_per_key=2) as server:
            first, other = await keys(server.settings, 2)
            with trio.fail_after(LIMIT):
                streams = []
                for number in range(2):
                    answer = await upload(server.port, first, gate.photograph(str(number)), ASYNC)
                    streams.append(answer.json()["streamId"])
                refused = await upload(server.port, first, b"PHOTO third")
                assert (refused.status, refused.json()["errorCode"]) == (429, "overloaded")
                assert int(refused.headers["retry-after"]) > 0
                assert (await upload(server.port, other, b"PHOTO other")).status == 200
                gate.open()
                for stream in streams:
                    path = f"/streams/{stream}"
                    answer = await ask(
                        server.port, "GET", path, headers=key(first) | {"Accept": "application/x-ndjson"}
                    )
                    assert answer.types[-1] == "ANALYSIS_COMPLETE"
                # A session takes its place until it has ended, a little longer than its stream.
                await until(partial(has_no_session, server.port))
                assert (await upload(server.port, first, b"PHOTO third")).status == 200, "there is room again"

    async def test_uploads_a_minute(self, tmp_path: Path) -> None:
        async with running(tmp_path, rate_per_minute=3) as server:
            first, other = await keys(server.settings, 2)
            with trio.fail_after(LIMIT):
                answers = [await upload(server.port, first, b"PHOTO %d" % number) for number in range(4)]
                assert [answer.status for answer in answers] == [200, 200, 200, 429]
                assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
                assert (await upload(server.port, other, b"PHOTO other")).status == 200


def key(token: str) -> dict[str, str]:
    return {"x-api-key": token}


async def keys(settings: Settings, count: int) -> list[str]:
    records = await Records.open(settings)
    try:
        return [await records.add_key(f"key {number}") for number in range(count)]
    finally:
        await records.close()  # noqa: ASYNC102 - nothing cancels it


async def upload(port: int, token: str, front: bytes, headers: dict[str, str] | None = None) -> Answer:
    body = json_body(frontImageData=front)
    return await ask(port, "POST", UPLOAD, body, JSON | key(token) | (headers or {}))
