"""Tests of the relay: timing, back-pressure, the arithmetic of a link, broken ends, and real sockets."""

from __future__ import annotations

import itertools
import socket
from collections import Counter

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from pinactors.simulation.link import READ_SIZE, Link, Relay, Shaper, relay
from pinactors.simulation.profiles import PACKET_BYTES, Direction, Profile

Stream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]

SLOW = Direction(tuple(range(100, 1001, 100)), delay=0.05, queue=4)
FAST = Direction((), delay=0.0)


def ends() -> tuple[Stream, Stream]:
    return trio.testing.memory_stream_pair()


async def read_all(stream: Stream) -> list[tuple[float, bytes]]:
    start, pieces = trio.current_time(), []
    while data := await stream.receive_some():
        pieces.append((trio.current_time() - start, bytes(data)))
    return pieces


async def test_bytes_arrive_at_their_opportunities_and_the_end_after_them(
    autojump_clock: trio.abc.Clock,
) -> None:
    with trio.fail_after(60):
        phone, phone_far = ends()
        server_far, server = ends()
        sent = bytes(range(256)) * 16  # 4,096: two packets and a part
        got: list[tuple[float, bytes]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Link(Profile("t", SLOW, FAST)).carry, phone_far, server_far)
            await phone.send_all(sent)
            await phone.send_eof()
            got = await read_all(server)
            await server.send_eof()
            assert await read_all(phone) == []
        assert [(pytest.approx(time), len(data)) for time, data in got] == [
            (0.15, 1500),
            (0.25, 1500),
            (0.35, 1096),
        ]
        assert b"".join(data for _, data in got) == sent


async def test_what_is_due_at_once_arrives_in_one_piece_and_the_rest_at_its_time(
    autojump_clock: trio.abc.Clock,
) -> None:
    bursts = Direction((100, 100, 100, 200, 300), delay=0.05, queue=20)
    with trio.fail_after(60):
        phone, phone_far = ends()
        server_far, server = ends()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Link(Profile("t", bursts, FAST)).carry, phone_far, server_far)
            await phone.send_all(bytes(range(250)) * 30)  # five packets
            await phone.send_eof()
            got = await read_all(server)
            await server.send_eof()
        assert [(pytest.approx(time), len(data)) for time, data in got] == [
            (0.15, 3 * PACKET_BYTES),
            (0.25, PACKET_BYTES),
            (0.35, PACKET_BYTES),
        ]
        assert b"".join(data for _, data in got) == bytes(range(250)) * 30


async def test_both_ways_at_once_do_not_wait_for_each_other(autojump_clock: trio.abc.Clock) -> None:
    with trio.fail_after(60):
        phone, phone_far = ends()
        server_far, server = ends()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Link(Profile("t", SLOW, SLOW)).carry, phone_far, server_far)
            await phone.send_all(b"a" * PACKET_BYTES)
            await server.send_all(b"b" * PACKET_BYTES)
            await phone.send_eof()
            await server.send_eof()
            up = await read_all(server)
            down = await read_all(phone)
        assert [data[:1] for _, data in up + down] == [b"a", b"b"]
        assert up[0][0] == pytest.approx(0.15)


async def test_connections_share_the_link(autojump_clock: trio.abc.Clock) -> None:
    with trio.fail_after(60):
        link = Link(Profile("t", SLOW, FAST))
        arrived: list[float] = []

        async def one() -> None:
            phone, phone_far = ends()
            server_far, server = ends()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.carry, phone_far, server_far)
                await phone.send_all(b"x" * PACKET_BYTES)
                await phone.send_eof()
                arrived.extend(time for time, _ in await read_all(server))
                await server.send_eof()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
        assert sorted(arrived) == pytest.approx([0.15, 0.25, 0.35])


class Endless(trio.abc.HalfCloseableStream):
    """A phone that always has more to send; `given` counts the bytes read from it."""

    given = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.given += max_bytes or 1
        return bytes(max_bytes or 1)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("nothing comes back in these tests")

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("not used")

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_full_link_makes_the_sender_wait(autojump_clock: trio.abc.Clock) -> None:
    with trio.fail_after(60):
        phone = Endless()
        server_far, server = ends()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Link(Profile("t", SLOW, FAST)).carry, phone, server_far)
            await trio.sleep(20.01)
            arrived = len(await server.receive_some())
            assert arrived == 199 * PACKET_BYTES, "the link is never idle while there is something to send"
            assert phone.given - arrived <= (SLOW.queue + 2) * PACKET_BYTES + READ_SIZE, (
                "the queue and one read"
            )
            nursery.cancel_scope.cancel()


async def test_a_reader_that_stops_stops_the_sender(autojump_clock: trio.abc.Clock) -> None:
    """The relay's memory stays bounded if the far end does not read."""
    with trio.fail_after(600):
        phone = Endless()
        server_far, server = trio.testing.lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Link(Profile("t", SLOW, FAST)).carry, phone, server_far)
            await trio.sleep(100)
            assert phone.given <= (SLOW.queue + 2) * PACKET_BYTES + READ_SIZE
            assert len(await server.receive_some(100_000)) == PACKET_BYTES, "and what it reads is not lost"
            nursery.cancel_scope.cancel()


async def test_a_broken_end_breaks_the_other(autojump_clock: trio.abc.Clock) -> None:
    with trio.fail_after(60):
        phone, phone_far = ends()
        server_far, server = ends()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Link(Profile("t", FAST, FAST)).carry, phone_far, server_far)
            await server.aclose()
            await phone.send_all(b"into the void")
            await trio.sleep(0.01)
            with pytest.raises(trio.BrokenResourceError):
                await phone.send_all(b"more of it")


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_over_real_sockets_bytes_come_back_late_and_whole() -> None:
    direction = Direction(tuple(range(1, 101)), delay=0.03)
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, echo, 0)
            port = listeners[0].socket.getsockname()[1]
            shaped: Relay = await nursery.start(relay, Profile("t", direction, direction), "127.0.0.1", port)
            began = trio.current_time()
            async with await trio.open_tcp_stream("127.0.0.1", shaped.port) as stream:
                await stream.send_all(b"0123456789" * 3000)
                await stream.send_eof()
                got = b"".join([bytes(data) async for data in stream])
            took = trio.current_time() - began
            assert got == b"0123456789" * 3000
            assert took >= 0.06 + 0.06 + 20 * 0.001, "handshake, there and back, twenty opportunities"
            assert shaped.connections == 1
            nursery.cancel_scope.cancel()


async def test_cut_resets_what_is_open_and_nothing_later() -> None:
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, echo, 0)
            port = listeners[0].socket.getsockname()[1]
            shaped: Relay = await nursery.start(relay, Profile("t", FAST, FAST), "127.0.0.1", port)
            async with await trio.open_tcp_stream("127.0.0.1", shaped.port) as first:
                await first.send_all(b"hello")
                assert await first.receive_some() == b"hello"
                shaped.disconnect_all()
                with pytest.raises(trio.BrokenResourceError):
                    await first.receive_some()
            async with await trio.open_tcp_stream("127.0.0.1", shaped.port) as second:
                await second.send_all(b"again")
                assert await second.receive_some() == b"again"
            nursery.cancel_scope.cancel()


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = taken.getsockname()[1]
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                shaped: Relay = await nursery.start(relay, Profile("t", FAST, FAST), "127.0.0.1", closed)
                async with await trio.open_tcp_stream("127.0.0.1", shaped.port) as stream:
                    with pytest.raises(trio.BrokenResourceError):
                        await stream.receive_some()
                nursery.cancel_scope.cancel()


TRACE = (10, 10, 25, 40, 100)


def drain(shaper: Shaper, now: float, size: int) -> list[tuple[int, float]]:
    taken = []
    while size:
        count, arrival = shaper.take(now, size)
        taken.append((count, arrival))
        size -= count
    return taken


def test_a_backlog_gets_exactly_one_packet_an_opportunity() -> None:
    taken = drain(Shaper(Direction(TRACE, 0.0), 0.0), 0.0, 7 * PACKET_BYTES)
    assert [count for count, _ in taken] == [PACKET_BYTES] * 7
    assert [arrival for _, arrival in taken] == pytest.approx([0.01, 0.01, 0.025, 0.04, 0.1, 0.11, 0.11])


def test_unused_opportunities_are_lost_and_a_partial_one_is_filled_up() -> None:
    shaper = Shaper(Direction(TRACE, 0.5), 0.0)
    assert shaper.take(0.03, 600) == (600, pytest.approx(0.54))
    assert shaper.take(0.035, 2000) == (900, pytest.approx(0.54)), "the same opportunity still has room"
    assert shaper.take(0.035, 1100) == (1100, pytest.approx(0.6))
    assert shaper.take(0.2001, 10) == (10, pytest.approx(0.71)), "the third lap's first opportunity"


def test_the_trace_is_looped_by_its_last_time() -> None:
    shaper = Shaper(Direction(TRACE, 0.0), 5.0)
    assert shaper.take(5.0 + 1000 * 0.1 + 0.026, 1) == (1, pytest.approx(105.04))


def test_an_opportunity_at_this_very_moment_counts() -> None:
    assert Shaper(Direction(TRACE, 0.0), 0.0).take(0.04, 9) == (9, pytest.approx(0.04))


@given(
    gaps=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    offers=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9000)), min_size=1, max_size=30),
    jitter=st.sampled_from([0.0, 0.05]),
    loss=st.sampled_from([0.0, 0.2]),
    stall_every=st.sampled_from([0.0, 0.3]),
)
def test_never_early_never_out_of_order_never_too_much(
    gaps: list[int], offers: list[tuple[int, int]], jitter: float, loss: float, stall_every: float
) -> None:
    trace, time = [], 0
    for gap in gaps:
        time += gap
        trace.append(time)
    trace.append(time + 1)
    delay = 0.02
    shaper = Shaper(Direction(trace, delay, jitter, loss, stall_every, stall=0.1), 0.0, seed=3)
    used: Counter[int] = Counter()
    room = Counter(trace)
    now, last = 0.0, 0.0
    for pause, size in offers:
        now += pause / 1000
        for count, arrival in drain(shaper, now, size):
            assert arrival >= now + delay - 1e-9
            assert arrival >= last
            last = arrival
            if not (jitter or loss or stall_every):
                used[round((arrival - delay) * 1000)] += count
    for millisecond, count in used.items():
        period = trace[-1]
        lap, rest = divmod(millisecond, period)
        at = room[rest] + (room[period] if rest == 0 and lap else 0)
        assert count <= PACKET_BYTES * at, "no opportunity carried more than its bytes"


def test_jitter_spreads_arrivals_without_reordering() -> None:
    shaper = Shaper(Direction((), 0.1, jitter=2.0), 0.0, seed=1)
    delays = [shaper.take(10.0 * n, 100)[1] - 10.0 * n for n in range(400)]
    assert 0.1 <= min(delays) < 0.2
    assert 2.0 < max(delays) <= 2.1
    assert sum(delays) / len(delays) == pytest.approx(1.1, abs=0.12)


def test_a_lost_packet_costs_its_opportunity_and_a_resend() -> None:
    every = tuple(range(10, 10_001, 10))
    clean, lossy = (
        drain(Shaper(Direction(every, 0.05, loss=loss), 0.0, 2), 0.0, 500 * PACKET_BYTES) for loss in (0, 0.1)
    )
    clean_end, lossy_end = clean[-1][1], lossy[-1][1]
    assert clean_end == pytest.approx(5.05)
    assert lossy_end == pytest.approx(5.05 / 0.9, rel=0.06), "a tenth of the opportunities is wasted"
    jumps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(lossy)]
    assert max(jumps) >= 0.1, "what was lost arrives a resend later, and the rest waits behind it"


def test_silences_have_the_declared_length_and_spacing() -> None:
    every = tuple(range(1, 1001))
    shaper = Shaper(Direction(every, 0.0, stall_every=5.0, stall=1.0), 0.0, seed=4)
    arrivals = [shaper.take(step / 50, 1)[1] - step / 50 for step in range(200_000)]
    waiting = sum(late > 0.02 for late in arrivals) / len(arrivals)
    assert waiting == pytest.approx(1 / 6, abs=0.03), "silent one second in six"


def test_the_same_seed_gives_the_same_link() -> None:
    def run(seed: int) -> list[tuple[int, float]]:
        direction = Direction(TRACE, 0.1, jitter=0.5, loss=0.1, stall_every=1, stall=1)
        return drain(Shaper(direction, 0.0, seed), 0.0, 90_000)

    assert run(1) == run(1)
    assert run(1) != run(2)
