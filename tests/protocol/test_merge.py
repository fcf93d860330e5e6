"""Tests of the buffered answer: it is the merge of the packets and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pinactors.protocol import (
    AnalysisComplete,
    AuthenticationResult,
    CharacterIdentification,
    ConnectionEstablished,
    DetailedAnalysis,
    ErrorCode,
    ErrorPacket,
    HtmlDisplayData,
    Packet,
    PricingAnalysis,
    ProcessingStarted,
    Verdict,
)
from pinactors.protocol.merge import OPTIONAL, ends, failed, kind_of, merge

OPENING = ConnectionEstablished(message="Connected", stream_id="s", deadline_ms=90000)
STARTED = ProcessingStarted(message="Analysis started")
RESULT = AuthenticationResult(
    authentic=True, authenticity_rating=88, confidence=0.7, verdict=Verdict.AUTHENTIC, evidence=[]
)
RESULTS: list[Packet] = [
    RESULT,
    CharacterIdentification(characters="Figaro", identification="<p>Figaro</p>", candidates=[]),
    PricingAnalysis(pricing="<p>none</p>", estimate=None, reason="no sales"),
    DetailedAnalysis(analysis="<p>gold</p>", details={"metal": "gold"}),
    HtmlDisplayData(front_html="<b>f</b>", back_html="<b>b</b>"),
]
DONE = AnalysisComplete(id=7, message="Done", processing_time=12, degraded=[], missing=["pricing"])
REFUSED = ErrorPacket(message="Analysis cancelled", error="by the client", error_code=ErrorCode.CANCELLED)


def log(*packets: Packet) -> list[bytes]:
    for sequence, packet in enumerate(packets):
        packet.session_id, packet.sequence = "250101120000", sequence
        packet.timestamp = f"2025-01-01T12:00:0{sequence}.000Z"
    return [packet.encode() for packet in packets]


def test_every_documented_field_is_there() -> None:
    answer = merge(log(OPENING, STARTED, *RESULTS, DONE))
    documented = (
        "success message sessionId id recordNumber recordId timestamp authentic authenticityRating "
        "confidence characters identification analysis pricing frontHtml backHtml angledHtml processingTime "
        "complete"
    )
    assert set(documented.split()) <= set(answer)
    assert (answer["id"], answer["recordNumber"], answer["recordId"]) == (7, 7, 7)
    assert (answer["success"], answer["complete"]) == (True, True)
    assert answer["message"] == "Done"
    assert answer["timestamp"] == "2025-01-01T12:00:07.000Z"
    assert answer["sessionId"] == "250101120000"
    assert answer["streamId"] == "s"
    assert answer["angledHtml"] is None
    assert failed(answer) is None


def test_it_is_the_merge_and_nothing_else() -> None:
    packets = log(OPENING, STARTED, *RESULTS, DONE)
    answer = merge(packets)
    union: dict[str, Any] = {}
    for packet in packets:
        union |= json.loads(packet)
    invented = set(answer) - set(union) - set(OPTIONAL) - {"recordNumber", "recordId"}
    assert invented == set()
    assert {name: answer[name] for name in union if name not in ("packetType", "sequence")} == {
        name: value for name, value in union.items() if name not in ("packetType", "sequence")
    }
    assert not {"packetType", "sequence"} & set(answer)


def test_what_is_missing_is_null() -> None:
    answer = merge(log(OPENING, STARTED, RESULT, DONE))
    missing = {name for name in OPTIONAL if answer[name] is None}
    results = {"authentic", "authenticityRating", "confidence", "verdict", "evidence"}
    assert missing == set(OPTIONAL) - results


def test_a_failure_is_its_own_body() -> None:
    answer = merge(log(OPENING, STARTED, RESULT, REFUSED))
    assert answer == {
        "success": False,
        "message": "Analysis cancelled",
        "error": "by the client",
        "errorCode": "cancelled",
        "sessionId": "250101120000",
        "timestamp": "2025-01-01T12:00:03.000Z",
    }
    assert failed(answer) is ErrorCode.CANCELLED


@pytest.mark.parametrize("packets", [[], [OPENING], [OPENING, STARTED, RESULT]])
def test_a_session_that_has_not_ended_is_not_merged(packets: list[Packet]) -> None:
    encoded = log(*packets)
    assert not ends(encoded)
    with pytest.raises(ValueError, match="not ended"):
        merge(encoded)


def test_the_kind_of_a_packet_and_the_end_of_a_log() -> None:
    encoded = log(OPENING, DONE)
    assert [kind_of(packet) for packet in encoded] == ["CONNECTION_ESTABLISHED", "ANALYSIS_COMPLETE"]
    assert ends(encoded)
    assert ends(log(REFUSED))
