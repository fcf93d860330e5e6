"""Tests of `Records` on each kind of database."""

from __future__ import annotations

import pytest
import trio

from pinactors.records import Records
from pinactors.settings import Settings
from tests.records.samples import final_packets, record


async def test_a_fault_of_ours_is_not_called_unavailable(records: Records) -> None:
    def broken(number: int) -> bytes:
        raise ZeroDivisionError

    with trio.fail_after(120), pytest.raises(ZeroDivisionError):
        await records.save(record(), broken)


async def test_sessions_end_at_the_same_time(records: Records) -> None:
    final_packet, calls = final_packets()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for index in range(40):
                nursery.start_soon(records.save, record(f"stream-{index}"), final_packet)
                nursery.start_soon(records.stream, f"stream-{index}")
        found = [await records.stream(f"stream-{index}") for index in range(40)]
    assert sorted(stored.record_number for stored in found if stored) == sorted(calls)
    assert len(set(calls)) == 40


async def test_a_cancelled_save_is_done_or_not_begun(records: Records) -> None:
    """A cancelled save still waits for its thread, so that its result can be read afterwards and no thread
    continues."""
    final_packet, calls = final_packets()
    with trio.fail_after(120):
        with trio.CancelScope() as scope:
            scope.cancel()
            await records.save(record("before"), final_packet)
        assert await records.stream("before") is None
        with trio.CancelScope() as scope:

            def late_final_packet(number: int) -> bytes:
                trio.from_thread.run_sync(scope.cancel)
                return final_packet(number)

            number = await records.save(record("during"), late_final_packet)
        stored = await records.stream("during")
    assert stored is not None
    assert stored.record_number == number == calls[0]


async def test_two_records_share_one_database(settings: Settings, records: Records) -> None:
    final_packet, _ = final_packets()
    with trio.fail_after(120):
        other = await Records.open(settings)
        first, second = (
            await records.save(record("one"), final_packet),
            await other.save(record("two"), final_packet),
        )
        assert first != second
        assert await other.stream("one") == await records.stream("one")
        assert await records.check()
        async with trio.open_nursery() as nursery:  # as two processes write: no stale snapshots
            for index in range(60):
                nursery.start_soon([records, other][index % 2].save, record(f"stream-{index}"), final_packet)
        await other.close()
        assert await records.stream("two") is not None
        assert (await records.provisional("1"))[1] == 62
