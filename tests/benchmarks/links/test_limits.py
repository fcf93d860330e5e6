"""Tests of the physical limit of a link: computed by hand here, by the link's own arithmetic in general."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.links.limits import arrive, finish, limit, shifted
from pinactors.client.uploads import UploadContent
from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.protocol import AuthenticationResult, DetailedAnalysis, View
from pinactors.simulation.profiles import PACKET_BYTES, Direction, Profile


def nothing(*_: Any) -> Any:
    """A function that is never called: only its declared cost counts."""


EVERY_10_MS = Direction(range(10, 1001, 10), delay=0.02)
LINK = Profile("steady", EVERY_10_MS, EVERY_10_MS)

ANALYSIS = Analysis(
    None,
    (
        SharedStep("front", ("front_image",), nothing),
        SharedStep("back", ("back_image",), nothing),
        SharedStep("first", ("front",), nothing),
        SharedStep("match", ("first", "back"), nothing, decided_by="first"),
    ),
    (
        Component("authenticity", AuthenticationResult, ("match",), nothing, (), None, required=True),
        Component("details", DetailedAnalysis, ("front", "back"), nothing, (), None),
    ),
)


def test_photographs_arrive_with_the_packet_that_holds_their_last_byte() -> None:
    ends = {View.FRONT: PACKET_BYTES, View.BACK: 3 * PACKET_BYTES + 1}
    arrivals, upload = arrive(LINK, ends, 5 * PACKET_BYTES)
    # After the 0.04 s of the handshake the packets leave at 40, 50 … ms and take 20 ms.
    assert arrivals == {View.FRONT: pytest.approx(0.06), View.BACK: pytest.approx(0.09)}
    assert upload == pytest.approx(0.10)


def test_results_wait_for_the_slowest_chain_only() -> None:
    arrivals = {View.FRONT: 1.0, View.BACK: 5.0}
    costs = {"front": 0.5, "back": 0.25, "first": 10.0, "match": 1.0, "authenticity": 0.5, "details": 0.125}
    assert finish(ANALYSIS, costs, arrivals) == {"authenticity": 13.0, "details": 5.375}


def test_a_match_decided_by_the_front_waits_for_nothing_else() -> None:
    arrivals = {View.FRONT: 1.0, View.BACK: 5.0}
    costs = {"front": 0.5, "back": 0.25, "first": 1.0, "authenticity": 0.5, "details": 0.125}
    assert finish(ANALYSIS, costs, arrivals)["authenticity"] == 3.0


@pytest.mark.parametrize("seconds", [0.0, 0.0049, 0.3, 0.995, 1.0, 7.234])
def test_a_shifted_trace_is_the_same_trace_met_later(seconds: float) -> None:
    trace = [3, 3, 250, 251, 700, 1000]
    moved = shifted(Profile("", Direction(trace, 0.1), Direction((), 0.1)), seconds)
    start = int(seconds * 1000)
    absolute = [lap * 1000 + time for lap in range(10) for time in trace]
    expected = [time - start for time in absolute if start < time <= start + 1000]
    times = list(moved.up.opportunities)
    assert times[: len(expected)] == expected
    assert times[-1] == 1000
    assert len(times) <= len(expected) + 1
    assert not moved.down.opportunities


async def test_the_limit_is_upload_then_chain_then_link() -> None:
    photographs = UploadContent({View.FRONT: b"f" * 4 * PACKET_BYTES, View.BACK: b"b" * 4 * PACKET_BYTES})
    costs = {"front": 0.1, "back": 0.1, "first": 0.0, "match": 0.2, "authenticity": 0.05, "details": 0.0}
    found = await limit(LINK, photographs, ANALYSIS, costs)
    _, upload = arrive(LINK, {}, 300 + sum(map(len, (await photographs.multipart()).contents)))  # type: ignore[arg-type]
    assert found.upload == pytest.approx(upload)
    assert found.first == pytest.approx(upload + 0.02, abs=0.0101)
    assert found.authenticated == pytest.approx(upload + 0.1 + 0.2 + 0.05 + 0.02, abs=0.0101)
    assert found.authenticated >= upload + 0.37
    assert found.completed == found.authenticated


async def test_a_file_counts_as_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "front.jpg").write_bytes(b"f" * 50_000)
    costs = {"front": 0.0, "first": 0.0, "match": 0.0, "authenticity": 0.0, "details": 0.0}
    of_file = await limit(LINK, UploadContent({View.FRONT: tmp_path / "front.jpg"}), ANALYSIS, costs)
    of_bytes = await limit(LINK, UploadContent({View.FRONT: b"f" * 50_000}), ANALYSIS, costs)
    assert of_file == of_bytes
