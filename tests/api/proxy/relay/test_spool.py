"""The spool of an upload: one writer, several readers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from pinactors.api.proxy.relay.spool import Spool
from pinactors.api.uploads.resumable.upload import LEAD_BYTES
from tests.api.proxy.conftest import LIMIT
from tests.waiting import until


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
