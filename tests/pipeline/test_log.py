from __future__ import annotations

import pytest
import trio
import trio.testing

from pinactors.pipeline.log import PacketLog


def new() -> PacketLog:
    return PacketLog("stream", "session", "owner")


async def test_a_reader_is_woken_once_for_packets_that_are_ready_together() -> None:
    log = new()
    wakes: list[int] = []

    async def read() -> None:
        seen = 0
        while not log.closed:
            await log.wait_beyond(seen)
            seen = len(log.packets)
            wakes.append(seen)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            log.append(b"one", terminal=False)
            log.append(b"two", terminal=False)
            log.append(b"three", terminal=False)
            await trio.testing.wait_all_tasks_blocked()
            log.append(b"end", terminal=True)
    assert wakes == [3, 4]
    assert log.packets == [b"one", b"two", b"three", b"end"]


async def test_waiting_returns_at_once_where_there_is_something() -> None:
    log = new()
    log.append(b"one", terminal=False)
    with trio.fail_after(120):
        with trio.testing.assert_checkpoints():
            await log.wait_beyond(0)
        log.close()
        with trio.testing.assert_checkpoints():
            await log.wait_beyond(7)
        with trio.testing.assert_checkpoints():
            await log.wait_closed()


def test_nothing_follows_the_end() -> None:
    log = new()
    log.append(b"end", terminal=True)
    with pytest.raises(ValueError, match="closed"):
        log.append(b"late", terminal=False)
    assert log.packets == [b"end"]


def test_a_log_that_is_closed_before_its_end_has_not_ended() -> None:
    log, whole = new(), new()
    log.append(b"one", terminal=False)
    whole.append(b"end", terminal=True)
    for each in (log, whole):
        each.close()
    assert [(each.closed, each.ended) for each in (log, whole)] == [(True, False), (True, True)]


def test_readers_are_counted_and_the_last_one_is_missed() -> None:
    log = new()
    missed: list[int] = []
    log.on_abandoned(lambda: missed.append(log.readers))
    one, two = log.watching(), log.watching()
    one.__enter__()
    two.__enter__()
    assert log.readers == 2
    gone = BrokenPipeError()
    assert not one.__exit__(BrokenPipeError, gone, None)
    assert missed == []
    assert not two.__exit__(BrokenPipeError, gone, None)
    assert missed == [0]
    with log.watching():
        pass
    assert missed == [0]  # a reader whose poll was answered polls again
    log.append(b"end", terminal=True)
    three = log.watching()
    three.__enter__()
    assert not three.__exit__(BrokenPipeError, gone, None)
    assert missed == [0]  # readers that leave after the end do not count
