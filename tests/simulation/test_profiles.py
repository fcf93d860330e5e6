"""Tests of the links' profiles: their rates, and captures that are read from files."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import pytest

from pinactors.simulation.profiles import (
    NAMES,
    PACKET_BYTES,
    TRACE_SECONDS,
    captured,
    captures,
    profile,
    read_trace,
)


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
