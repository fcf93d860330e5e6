"""Every fault with every framing: one answer, complete, in order, the same for each reader, and recorded.

The phones reconnect by themselves. After a half-close over HTTP this is not necessary: the answer still
comes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
import trio

from pinactors.backoff import Backoff
from pinactors.client import follower
from pinactors.client.uploads import UploadContent
from pinactors.protocol import View
from pinactors.protocol.merge import kind_of, merge
from pinactors.records import Records
from tests.api.conftest import DEADLINE
from tests.api.drawn import Gate
from tests.api.wire import JSON, ask, json_body, metric
from tests.faults.network import Break, Network, network
from tests.faults.phones import FRAMINGS, Framing, Phone
from tests.faults.servers import Server, kept_packets

LIMIT = 240
KEEPALIVE = 0.3
SILENCE = 2.0
"""Seconds without a byte after which a phone gives up a connection: several keep-alive intervals."""

CUT = 4000
"""Bytes of the answer after which connections break: in the middle of the packets, whatever the length of the
framing's head."""

LONG = 400_000
"""Bytes of the second photograph: enough that work on the first begins before half of the second has
arrived."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("faults") / "data", keepalive=KEEPALIVE, deadline=DEADLINE) as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "PAUSES", Backoff(0.05, 0.3))


Fault = Callable[[Server, Network, str, Gate], AbstractAsyncContextManager[None]]
"""A context manager, entered before the phone starts and left when the phone's answer is complete. It asserts
that the fault happened. Authenticity ends when it has opened the gate."""


@asynccontextmanager
async def breaking(
    first: Break, server: Server, between: Network, session_id: str, gate: Gate
) -> AsyncIterator[None]:
    """Breaks the first connection, and asserts that the phone connects again."""
    gate.open()
    between.plan(lambda number: first if number == 0 else None)
    yield
    assert between.broken == 1
    assert between.connections >= 2, "the phone has come back"


@asynccontextmanager
async def meanwhile(
    befall: Callable[[Server, Network], AbstractAsyncContextManager[None]],
    server: Server,
    between: Network,
    session_id: str,
    gate: Gate,
) -> AsyncIterator[None]:
    """Enters `befall` while authenticity is still running and other packets are already stored."""
    happened = trio.Event()

    async def wait_and_befall() -> None:
        await server.until_under_way(session_id)
        async with befall(server, between):
            happened.set()
            gate.open()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_and_befall)
        yield
        assert happened.is_set(), "the phone was done before anything happened"


@asynccontextmanager
async def half_closed(server: Server, between: Network) -> AsyncIterator[None]:
    assert await between.half_close() == 1
    yield


@asynccontextmanager
async def workers_killed(server: Server, between: Network) -> AsyncIterator[None]:
    await server.until_warm()
    before = await server.restarts()
    killed = server.kill_workers()
    assert killed == server.settings.workers
    yield
    while await server.restarts() < before + killed:  # noqa: ASYNC110 - the server sends no notice
        await trio.sleep(0.02)


@asynccontextmanager
async def server_killed(server: Server, between: Network) -> AsyncIterator[None]:
    before = server.log.count("session adopted")
    await server.restart()
    assert server.log.count("session adopted") == before + 1
    yield


@asynccontextmanager
async def database_locked(server: Server, between: Network) -> AsyncIterator[None]:
    """Locks the database until one attempt to store the record has failed."""
    before = await metric(server.port, "pinactors_record_retries_total")
    with server.locked():
        yield
        await server.until_metric("pinactors_record_retries_total", before)


@asynccontextmanager
async def disk_full(server: Server, between: Network) -> AsyncIterator[None]:
    """Fills the disk until the journal has failed and one attempt to store the record has failed."""
    retries = await metric(server.port, "pinactors_record_retries_total")
    lost = await metric(server.port, "pinactors_journal_failures_total")
    with server.full_disk():
        yield
        await server.until_metric("pinactors_record_retries_total", retries)
    assert await metric(server.port, "pinactors_journal_failures_total") == lost + 1


@asynccontextmanager
async def nothing(server: Server, between: Network, session_id: str, gate: Gate) -> AsyncIterator[None]:
    gate.open()
    yield
    assert between.broken == 0


FAULTS: dict[str, Fault] = {
    "drop": partial(breaking, Break("drop", CUT)),
    "drop in the upload": partial(breaking, Break("drop", LONG // 2, upwards=True)),
    "stall": partial(breaking, Break("stall", CUT)),
    "half-close": partial(meanwhile, half_closed),
    "duplicate request": nothing,
    "worker kill -9": partial(meanwhile, workers_killed),
    "server kill -9 and restart": partial(meanwhile, server_killed),
    "database locked": partial(meanwhile, database_locked),
    "disk full": partial(meanwhile, disk_full),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", FAULTS)
async def test_one_answer_whatever_happens(
    server: Server,
    gate: Gate,
    name: str,
    framing: Framing,
) -> None:
    session_id = f"{name}-{framing}".replace(" ", "-")
    images = {
        View.FRONT: f"PHOTO {session_id}".encode(),
        View.BACK: gate.photograph(session_id) + bytes(LONG),
    }
    photographs = UploadContent(images, session_id)
    count = 3 if name == "duplicate request" else 1
    with trio.fail_after(LIMIT):
        async with network(server.port) as between:
            phones = [Phone(between.url, photographs, framing, SILENCE) for _ in range(count)]
            async with FAULTS[name](server, between, session_id, gate), trio.open_nursery() as nursery:
                for phone in phones:
                    nursery.start_soon(phone.run)
        kept = [await kept_packets(server.settings, phone.stream_id) for phone in phones]
        records = await Records.open(server.settings)
        pins, _ = await records.provisional("")
        await records.close()
    for phone, stored in zip(phones, kept, strict=True):
        assert stored is not None, "no record"
        check_log(stored)
        check_phone(phone, stored)
        number = json.loads(stored[-1])["id"]
        assert [pin.record_number for pin in pins if pin.pin_id == session_id] == [number]


def check_log(stored: list[bytes]) -> None:
    fields = [json.loads(packet) for packet in stored]
    kinds = [kind_of(packet) for packet in stored]
    assert [packet["sequence"] for packet in fields] == list(range(len(stored)))
    assert len(kinds) == len(set(kinds)) == 8
    assert kinds.count("AUTHENTICATION_RESULT") == 1
    assert kinds[-1] == "ANALYSIS_COMPLETE"
    result = fields[kinds.index("AUTHENTICATION_RESULT")]
    assert (result["authentic"], result["authenticityRating"]) == (True, 90), "it was analysed, not given up"


def check_phone(phone: Phone, stored: list[bytes]) -> None:
    if phone.framing == "buffered":
        assert phone.answer == merge(stored)
        return
    assert phone.witness.packets(phone.stream_id) == stored, "what came over the wires is what was stored"
    assert (phone.witness.gaps, phone.witness.repeats, phone.witness.changes) == (0, 0, 0)
    kinds = [packet.kind for packet in phone.received]
    assert len(kinds) == len(set(kinds)) == 8
    assert kinds.count("AUTHENTICATION_RESULT") == 1
    assert kinds[-1] == "ANALYSIS_COMPLETE"


FULL = b"PHOTO for a full disk"


async def test_a_full_disk_refuses_uploads_and_nothing_stays_behind(server: Server) -> None:
    images = sorted(server.settings.images_folder.rglob("*"))
    with server.full_disk():
        answer = await ask(server.port, "POST", "/mobile-upload", json_body(frontImageData=FULL), JSON)
    assert (answer.status, answer.json()["errorCode"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) > 0
    assert [path for path in sorted(server.settings.images_folder.rglob("*")) if path.is_file()] == [
        path for path in images if path.is_file()
    ]
    after = await ask(server.port, "POST", "/mobile-upload", json_body(frontImageData=FULL), JSON)
    assert (after.status, after.json()["success"]) == (200, True)
