from __future__ import annotations

import msgspec
import pytest
import trio
from trio.testing import MockClock

from pinactors.compute import WorkerDied
from pinactors.pipeline.actors.produce import produce
from pinactors.pipeline.actors.restarts import Restarts
from pinactors.protocol import (
    BASIC_NOTE,
    PACKET_LIMIT,
    SESSION_ID_LIMIT,
    AuthenticationResult,
    DetailedAnalysis,
    EncodedPacket,
    Evidence,
    Packet,
    Verdict,
    decode,
    timestamp,
)


def result(rows: int = 0, note: str | None = None) -> AuthenticationResult:
    packet = AuthenticationResult(
        authentic=True,
        authenticity_rating=80,
        confidence=0.8,
        verdict=Verdict.AUTHENTIC,
        evidence=[Evidence(f"row {number}", "x" * 50, number / 1000) for number in range(rows)],
    )
    if note is not None:
        packet.note = note
    return packet


def read(produced: EncodedPacket) -> Packet:
    """The packet as a client decodes it."""
    return decode(produced.stamped(b'"s"', timestamp(), 3))


@pytest.mark.parametrize(
    ("own", "asked", "found"),
    [(None, BASIC_NOTE, BASIC_NOTE), ("own", BASIC_NOTE, "own"), ("own", "", "own")],
)
def test_the_note(own: str | None, asked: str, found: str) -> None:
    packet = read(produce(lambda context: result(note=own), AuthenticationResult, asked, None, None))
    assert isinstance(packet, AuthenticationResult)
    assert packet.note == found


def test_no_note_where_none_is_asked_for_or_possible() -> None:
    assert b"note" not in produce(lambda context: result(), AuthenticationResult, "", None, None).rest
    plain = produce(
        lambda context: DetailedAnalysis(analysis="", details={}), DetailedAnalysis, "x", None, None
    )
    assert b"note" not in plain.rest


@pytest.mark.parametrize("rows", range(60, 100))
def test_what_is_produced_fits_whatever_assembly_stamps_on_it(rows: int) -> None:
    produced = produce(lambda context: result(rows), AuthenticationResult, BASIC_NOTE, None, None)
    packet = read(produced)
    assert isinstance(packet, AuthenticationResult)
    kept = len(packet.evidence)
    encoded = produced.stamped(msgspec.json.encode('"' * SESSION_ID_LIMIT), timestamp(), 7)
    assert len(encoded) <= PACKET_LIMIT
    assert encoded.count(b'"finding"') == kept <= rows
    assert decode(encoded) == msgspec.structs.replace(
        packet, session_id='"' * SESSION_ID_LIMIT, timestamp=decode(encoded).timestamp, sequence=7
    )


async def die() -> None:
    await trio.lowlevel.checkpoint()
    raise WorkerDied("always")


async def test_backoff_doubles(autojump_clock: MockClock) -> None:
    noticed: list[float] = []
    restarts = Restarts(3, 1.0, lambda _, error: noticed.append(trio.current_time()))

    with trio.fail_after(100), pytest.raises(WorkerDied):
        await restarts.repeat("work", die)
    assert noticed == [0.0, 1.0, 3.0, 7.0]


async def test_each_piece_of_work_has_repeats_of_its_own(autojump_clock: MockClock) -> None:
    died: list[str] = []
    restarts = Restarts(1, 1.0, lambda name, _: died.append(name))

    with trio.fail_after(100):
        for name in ("one", "other", "one"):
            with pytest.raises(WorkerDied):
                await restarts.repeat(name, die)
    assert died == ["one", "one", "other", "other", "one"]  # the second "one" has no repeats left
