"""Tests of packets: their form as a line, their bounded size, and their stamp."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from pinactors.protocol import (
    PACKET_LIMIT,
    AuthenticationResult,
    CharacterIdentification,
    DetailedAnalysis,
    EncodedPacket,
    ErrorCode,
    ErrorPacket,
    Evidence,
    PinactorsError,
    ProcessingStarted,
    Verdict,
    decode,
    timestamp,
)


def result(rows: int, text: str = "") -> AuthenticationResult:
    evidence = [Evidence(f"row {n}", text, float(n)) for n in range(rows)]
    return AuthenticationResult(
        authentic=True, authenticity_rating=90, confidence=0.9, verdict=Verdict.AUTHENTIC, evidence=evidence
    )


def test_a_packet_is_one_line_that_comes_back() -> None:
    packet = result(3, "a\nb")
    packet.session_id, packet.timestamp, packet.sequence = "s", timestamp(), 2
    line = packet.encode()
    assert b"\n" not in line
    assert line.startswith(b'{"packetType":"AUTHENTICATION_RESULT","sessionId":"s",')
    assert decode(line) == packet


def test_what_weighs_least_is_left_out_of_a_packet_that_is_too_large() -> None:
    large = result(8, "x" * (PACKET_LIMIT // 5))
    kept = json.loads(large.encode())["evidence"]
    assert len(large.encode()) <= PACKET_LIMIT
    assert [row["weight"] for row in kept] == [4, 5, 6, 7]
    with pytest.raises(ValueError, match=str(PACKET_LIMIT)):
        DetailedAnalysis(analysis="x" * PACKET_LIMIT, details={}).encode()


def test_an_encoded_packet_is_stamped_without_being_encoded_again() -> None:
    encoded = ProcessingStarted(message="Analysis started").encoded()
    line = encoded.stamped(b'"a session"', "2026-06-30T12:00:00.000Z", 7)
    packet = decode(line)
    assert isinstance(packet, ProcessingStarted)
    assert (packet.session_id, packet.sequence, packet.message) == ("a session", 7, "Analysis started")
    assert EncodedPacket.of(line).stamped(b'"a session"', packet.timestamp, 7) == line
    assert json.loads(encoded.marked().stamped(b'"s"', "t", 0))["demonstration"] is True
    assert encoded.marked().marked() == encoded.marked()
    with pytest.raises(ValueError, match="not a packet"):
        EncodedPacket.of(b"{}")


def test_a_pin_without_characters_is_called_by_its_name_only_if_it_is_identified() -> None:
    unknown = CharacterIdentification(characters=" ", identification="", candidates=[])
    assert unknown.characters.strip()
    assert unknown.facts() == {}


def test_an_error_packet_says_what_the_error_says() -> None:
    error = PinactorsError(
        ErrorCode.TOO_LARGE, "Too large", "it has 90 MB", field="front_image", view="front"
    )
    packet = ErrorPacket.of(error)
    assert (packet.error_code, packet.message, packet.error) == ("too_large", "Too large", "it has 90 MB")
    assert (packet.field, packet.view) == ("front_image", "front")


def test_a_timestamp_is_now_in_utc() -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    assert timestamp().endswith("Z")
    assert before <= dt.datetime.fromisoformat(timestamp()) <= dt.datetime.now(dt.UTC)
