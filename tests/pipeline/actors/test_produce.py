"""Packets made by components: with the note that is asked for, and of a form that can be sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock

from pinactors.pipeline.actors.produce import produce
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
from tests.pipeline.fakes import ANALYSIS, authenticity, final, only, open_pipeline


def another_type(context: str, *values: object) -> Packet:
    return DetailedAnalysis(analysis="not authenticity", details={})


def not_a_number(context: str, *values: object) -> Packet:
    return msgspec.structs.replace(authenticity(context, None, None, None), confidence=math.nan)


def does_not_fit(context: str, *values: object) -> Packet:
    return msgspec.structs.replace(authenticity(context, None, None, None), note="x" * PACKET_LIMIT)


@pytest.mark.parametrize("wrong", [another_type, not_a_number, does_not_fit])
async def test_a_packet_that_cannot_be_sent_is_a_failure(
    wrong: Callable[..., Any], autojump_clock: MockClock, tmp_path: Path
) -> None:
    components = (replace(ANALYSIS.components[0], full=wrong), *ANALYSIS.components[1:])
    async with open_pipeline(tmp_path, analysis=replace(ANALYSIS, components=components)) as pipeline:
        packets = await pipeline.analyse()
    assert only(packets, AuthenticationResult).note == BASIC_NOTE
    assert final(packets).degraded == ["authenticity"]


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
