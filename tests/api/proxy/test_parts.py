"""The single parts of the proxy: the order of masters, ejection, packets, the spool, the journal."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from pinactors.api.proxy.masters import routing
from pinactors.api.proxy.masters.fleet import EJECTION_LIMIT, JITTER_SHARE, Masters, in_turn
from pinactors.api.proxy.masters.packets import read, restamped
from pinactors.api.proxy.relay.journal import Moved, Relayed, StoredSession, expired, replay
from pinactors.api.proxy.relay.spool import Spool
from pinactors.api.uploads.resumable.upload import LEAD_BYTES
from pinactors.client.connecting import NotPinactors
from pinactors.pipeline.state import entry_of, packet_entry
from pinactors.protocol import PACKET_LIMIT
from pinactors.settings import Settings
from pinactors.storage.logs.files import LogFiles, open_log_files
from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT
from tests.api.proxy.scripted import OPENING, STARTED, says, scripted
from tests.waiting import until


def masters_of(text: str, **settings: Any) -> Masters:
    return Masters.of(Settings(proxy_masters=text, **settings))


KEYS = [f"key{number}" for number in range(4000)]


async def test_a_masters_share_is_its_weights() -> None:
    masters = masters_of("http://a http://b;weight=2 http://c;weight=0.5")
    first = Counter(masters.order(key)[0].url for key in KEYS)
    for url, share in (("http://a", 1 / 3.5), ("http://b", 2 / 3.5), ("http://c", 0.5 / 3.5)):
        deviation = math.sqrt(share * (1 - share) / len(KEYS))
        assert abs(first[url] / len(KEYS) - share) < 4 * deviation, url


async def test_a_master_that_goes_moves_only_its_own_sessions() -> None:
    masters = masters_of("http://a http://b http://c")
    before = {key: masters.order(key) for key in KEYS}
    gone = masters.all[1]
    masters.unreachable(gone)
    for key, order in before.items():
        now = masters.order(key)
        assert now[0] is next(master for master in order if master is not gone)
        assert now[-1] is gone, "it is the last resort"


async def test_the_order_is_the_same_in_every_process() -> None:
    """The order must never change: after such an update, resumed uploads would be sent to other masters."""
    masters = masters_of("http://a http://b http://c")
    names = ["".join(master.url[-1] for master in masters.order(key)) for key in ("1", "2", "3", "4")]
    again = masters_of("http://c http://b http://a")
    assert names == ["".join(master.url[-1] for master in again.order(key)) for key in ("1", "2", "3", "4")]
    assert names == ["abc", "acb", "cba", "bca"]


async def test_failures_in_a_row_eject_for_longer_each_time(mock_clock: trio.testing.MockClock) -> None:
    masters = masters_of("http://a", proxy_eject_failures=2, proxy_eject_pause=10)
    [master] = masters.all
    masters.failed(master, "x")
    masters.succeeded(master)
    masters.failed(master, "x")
    assert master.available, "not in a row"
    for pause in (10, 20, 40, EJECTION_LIMIT, EJECTION_LIMIT):
        masters.failed(master, "x")
        if master.available:
            masters.failed(master, "x")
        assert master.state == "ejected"
        mock_clock.jump(pause * (1 - JITTER_SHARE) - 0.01)
        assert not master.available
        mock_clock.jump(pause * 2 * JITTER_SHARE + 0.02)
        assert master.available


@pytest.mark.parametrize(
    "text",
    ["", "ftp://a", "http://", "http://a http://a", "http://a;weight=0", "http://a;weight=x", "http://a;b=1"],
)
def test_bad_masters_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"master|server"):
        masters_of(text)


async def test_health_checks_see_draining_death_and_return(tmp_path: Path) -> None:
    draining = b'HTTP/1.1 503 No\r\nContent-Length: 21\r\n\r\n{"status":"draining"}'
    html = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
    with trio.fail_after(LIMIT):
        for script, state in ((says(draining), "draining"), (says(html), "down"), (says(b""), "down")):
            async with scripted(script, reads=False) as server:
                masters = masters_of(server.url)
                await check(masters)
                assert masters.all[0].state == state
        async with running(tmp_path) as good:
            masters = masters_of(f"http://127.0.0.1:{good.port}")
            [master] = masters.all
            masters.unreachable(master)
            master.ejected_until = math.inf
            await check(masters)
            assert master.state == "up", "another process: what the last one did says nothing about it"


async def check(masters: Masters) -> None:
    from pinactors.client.http import Connection

    [master] = masters.all
    async with Connection(master.url, silence=LIMIT) as connection:
        await masters.check(master, connection)


def test_an_undisturbed_packet_is_not_touched() -> None:
    line = read(STARTED)
    assert restamped(STARTED, line, 1, "s") is STARTED


@given(
    st.integers(0, 99),
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_a_moved_packet_differs_in_its_number_and_session_only(
    sequence: int, session_id: str, extra: dict[str, float]
) -> None:
    fields = {"extra": extra, "packetType": "NEW_KIND", "sessionId": "s", "timestamp": "t", "sequence": 3}
    raw = msgspec.json.encode(fields)
    moved = restamped(raw, read(raw), sequence, session_id)
    assert json.loads(moved) == fields | {"sequence": sequence, "sessionId": session_id}
    assert b"\n" not in moved


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b'{"packetType":1,"sequence":0,"sessionId":"s"}',
        b'{"packetType":"lower","sequence":0,"sessionId":"s"}',
        b'{"packetType":"PROCESSING_STARTED","sequence":"0","sessionId":"s","message":"m"}',
        b'{"packetType":"ERROR","sequence":0,"sessionId":"s","message":"m","error":"e","errorCode":"new"}',
        b'{"packetType":"X","sequence":0,"sessionId":"s","deep":' + b"[" * 5000 + b"]" * 5000 + b"}",
        OPENING.replace(b'"streamId":"a', b'"streamId":"../'),
        STARTED[:-1] + b" " * PACKET_LIMIT + b"}",
    ],
)
def test_what_is_no_packet_is_not_believed(raw: bytes) -> None:
    with pytest.raises(NotPinactors):
        read(raw)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b'{ "sessionId" : "250101", "frontImageData":"', "250101"),
        (b'{"frontImageData":"', None),
        (b'--b\r\nContent-Disposition: form-data; name="sessionId"\r\n\r\nabc\r\n--b', "abc"),
        (b"--b\r\nContent-Disposition: form-data; name=sessionId\r\nX: y\r\n\r\nabc\r\n--b", "abc"),
        (b'--b\r\nContent-Disposition: form-data; name="front_image"\r\n\r\n\xff\xd8', None),
        (b'{"sessionId":"a\\u0041"}', None),
    ],
)
def test_the_session_id_is_found_in_the_first_bytes(start: bytes, found: str | None) -> None:
    assert routing.session_id_in(start) == found


async def test_a_master_that_hangs_leaves_the_others_time(mock_clock: trio.testing.MockClock) -> None:
    limits = []
    for _, seconds in in_turn(masters_of("http://a http://b http://c").all, 8.0):
        limits.append(seconds)
        mock_clock.jump(seconds)
    assert limits == [4.0, 2.0, 2.0]


@pytest.fixture
def disk() -> trio.CapacityLimiter:
    return trio.CapacityLimiter(2)


async def test_a_spool_is_read_while_it_grows_and_again_from_the_start(
    tmp_path: Path, disk: trio.CapacityLimiter
) -> None:
    spool = Spool.create(tmp_path / "x", disk)
    content = os.urandom(300_000)
    first = bytearray()

    async def read_all(into: bytearray) -> None:
        while data := await spool.read(len(into)):
            into += data

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, first)
            for start in range(0, len(content), 1000):
                await spool.write(content[start : start + 1000])
            spool.finish()
        assert bytes(first) == content
        again = bytearray()
        await read_all(again)
        assert bytes(again) == content
        await spool.remove()
    assert not (tmp_path / "x").exists()


async def test_a_spools_folder_that_was_removed_is_made_again(
    tmp_path: Path, disk: trio.CapacityLimiter
) -> None:
    spool = Spool.create(tmp_path / "proxy" / "x", disk)
    await spool.write(b"abc")
    assert (tmp_path / "proxy" / "x").read_bytes() == b"abc"
    await spool.remove()
    with pytest.raises(FileNotFoundError):
        Spool.create(tmp_path / "not mounted" / "proxy" / "x", disk)


async def test_a_writer_waits_for_a_reader_that_is_far_behind(
    tmp_path: Path, disk: trio.CapacityLimiter
) -> None:
    spool = Spool.create(tmp_path / "x", disk)
    piece = b"x" * (1 << 20)

    async def write_too_much() -> None:
        for _ in range(2 * LEAD_BYTES // len(piece)):
            await spool.write(piece)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_too_much)
            await until(lambda: spool.size > LEAD_BYTES)
            await trio.sleep(0.3)
            assert nursery.child_tasks, "everything was written"
            nursery.cancel_scope.cancel()
        assert LEAD_BYTES < spool.size <= LEAD_BYTES + len(piece)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spool.write, piece)
            assert len(await spool.read(2 * len(piece))) > 0
    await spool.close()


async def test_a_piece_is_written_also_if_its_writer_is_cancelled(
    tmp_path: Path, disk: trio.CapacityLimiter
) -> None:
    """An early answer continues reading the upload in another task, which begins with the next piece."""
    spool = Spool.create(tmp_path / "x", disk)
    with trio.CancelScope() as scope:
        scope.cancel()
        await spool.write(b"piece")
    spool.finish()
    assert await spool.read(0) == b"piece"
    await spool.close()


async def test_a_spool_closed_under_its_writer_writes_no_other_file(
    tmp_path: Path, disk: trio.CapacityLimiter
) -> None:
    """The next file that is opened gets the number of a closed descriptor, so that a descriptor must stay
    open while a thread uses it."""
    with trio.fail_after(LIMIT):
        spool = Spool.create(tmp_path / "x", disk)
        async with disk, disk_of(disk), trio.open_nursery() as nursery:  # no thread is free: the write waits
            nursery.start_soon(spool.write, b"late")
            await trio.testing.wait_all_tasks_blocked()
            await spool.close()  # the waiting write closes the descriptor later
            others = [os.open(tmp_path / f"other{number}", os.O_CREAT | os.O_RDWR) for number in range(8)]
            disk.total_tokens = 4
        await spool.write(b"later")
    assert (tmp_path / "x").read_bytes() == b"late"
    for number, descriptor in enumerate(others):
        assert (tmp_path / f"other{number}").read_bytes() == b""
        os.close(descriptor)


@asynccontextmanager
async def disk_of(disk: trio.CapacityLimiter) -> AsyncIterator[None]:
    """Holds the limiter's second token."""
    borrower = object()
    await disk.acquire_on_behalf_of(borrower)
    yield
    disk.release_on_behalf_of(borrower)


async def kept_by(journals: LogFiles, stream_id: str) -> StoredSession | None:
    entries = await journals.load(stream_id)
    return replay(entries) if entries else None


async def test_a_journal_is_what_was_delivered(tmp_path: Path) -> None:
    failures: list[OSError] = []
    relayed = Relayed("a" * 24, "s", "owner", time.time() + 9, "x.spool", "text/plain", "k")
    moved = Moved("http://b", "b" * 24)
    async with open_log_files(tmp_path, failures.append) as journals:
        journal = journals.create("a" * 24)
        await journal.append([entry_of(relayed), packet_entry(OPENING)])
        await journal.append([entry_of(moved), packet_entry(STARTED)])
        await journal.release()
        path = tmp_path / f"{'a' * 24}.journal"
        whole = path.read_bytes()
        for cut in range(len(whole) + 1):
            path.write_bytes(whole[:cut])
            kept = await kept_by(journals, "a" * 24)
            lines = whole[:cut].count(b"\n")
            assert (kept is None) == (lines == 0)
            if kept is not None:
                assert kept.relayed == relayed
                assert kept.packets == [OPENING, STARTED][: (lines >= 2) + (lines >= 4)]
                assert kept.moved == (moved if lines >= 3 else None)
                assert not kept.closed
                again = await journals.hold("a" * 24)
                await again.append([packet_entry(STARTED)])
                await again.release()
                appended = await kept_by(journals, "a" * 24)
                assert appended is not None
                assert appended.packets == [*kept.packets, STARTED]
    assert failures == []


async def test_a_new_journal_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    failures: list[OSError] = []
    (tmp_path / f"{'a' * 24}.journal").write_bytes(b"something else\n")
    async with open_log_files(tmp_path, failures.append) as journals:
        journal = journals.create("a" * 24)
        await journal.append([packet_entry(OPENING)])
        assert await journals.load("a" * 24) == [packet_entry(OPENING)]
        await journal.release()
    assert failures == []


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a" * 200, "é" * 24, "x\0y"])
async def test_a_stream_id_is_never_a_path(tmp_path: Path, name: str) -> None:
    async with open_log_files(tmp_path, raised) as journals:
        assert await kept_by(journals, name) is None


def raised(error: OSError) -> None:
    raise error


async def test_damaged_journals_and_old_files_go(tmp_path: Path) -> None:
    (tmp_path / f"{'d' * 24}.journal").write_bytes(b"M {not json}\n")
    async with open_log_files(tmp_path, raised) as journals:
        assert await kept_by(journals, "d" * 24) is None
    for name in ("old.spool", "live.spool", "new.spool", "old.txt"):
        (tmp_path / name).write_bytes(b"")
        if not name.startswith("new"):
            os.utime(tmp_path / name, (1, 1))
    found = {path.name for path in expired(tmp_path, 60, {"live"}.__contains__)}
    assert found == {"old.spool"}
