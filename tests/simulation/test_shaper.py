"""Tests of the link's arithmetic: bytes per opportunity, delay, order, silences, losses, looped traces."""

from __future__ import annotations

import gzip
import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinactors.simulation.link import Shaper
from pinactors.simulation.profiles import (
    NAMES,
    PACKET_BYTES,
    TRACE_SECONDS,
    Direction,
    captured,
    captures,
    profile,
    read_trace,
)

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


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [("gprs", 0.026, 0.05), ("edge", 0.1, 0.22), ("3g", 1.1, 3.5), ("lte", 7, 22), ("5g", 45, 180)],
)
def test_written_profiles_have_their_rates(name: str, up: float, down: float) -> None:
    for direction, megabits in ((profile(name).up, up), (profile(name).down, down)):
        rate = len(direction.opportunities) * PACKET_BYTES * 8 / TRACE_SECONDS / 1e6
        assert rate == pytest.approx(megabits, rel=0.3)
        assert direction.opportunities[-1] == TRACE_SECONDS * 1000
        bandwidth_delay = direction.delay * megabits * 1e6 / 8 / PACKET_BYTES
        assert direction.queue > bandwidth_delay, "the queue never limits the rate"


def test_profiles_are_ordered_from_slow_to_fast() -> None:
    def key(name: str) -> Any:
        return len(profile(name).up.opportunities), -profile(name).round_trip

    generations = [name for name in NAMES if name != "classic"]
    assert generations == sorted(generations, key=key)


def test_captures_are_read_plain_and_gzipped(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "a.up", tmp_path / "a.down.gz"
    plain.write_text("1\n1\n7\n")
    zipped.write_bytes(gzip.compress(b"0\n3\n"))
    link = captured(plain, zipped, delay=0.2)
    assert list(link.up.opportunities) == [1, 1, 7]
    assert list(link.down.opportunities) == [0, 3]
    assert math.isclose(link.round_trip, 0.4)


def test_a_folder_of_captures_is_a_list_of_links(tmp_path: Path) -> None:
    for name in ("b.up", "b.down", "a.1.up.gz", "a.1.down.gz"):
        text = f"{len(name)}\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    (tmp_path / "README.md").write_text("no capture")
    links = captures(tmp_path)
    assert [link.name for link in links] == ["a.1", "b"]
    assert [list(link.up.opportunities) for link in links] == [[9], [4]]
    assert [list(link.down.opportunities) for link in links] == [[11], [6]]


def test_half_a_capture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no NAME\.up"):
        captures(tmp_path)
    (tmp_path / "lonely.up").write_text("1\n")
    with pytest.raises(ValueError, match="lonely has one direction only"):
        captures(tmp_path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no opportunity"),
        ("0\n", "no opportunity"),
        ("5\n4\n", "line 2"),
        ("5\nx\n", "line 2"),
        ("-1\n", "line 1"),
    ],
)
def test_a_bad_capture_is_named(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "bad.up"
    path.write_text(text)
    with pytest.raises(ValueError, match=word) as caught:
        read_trace(path)
    assert "bad.up" in str(caught.value)
