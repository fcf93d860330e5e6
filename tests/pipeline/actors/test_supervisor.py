"""A component's result: from the full analysis, from the basic one after a failure, or missing."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock

from pinactors.protocol import (
    BASIC_NOTE,
    AuthenticationResult,
    CharacterIdentification,
    ErrorCode,
    ErrorPacket,
)
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import Die, Pipeline, final, only, types, upload

BUG = ValueError("a bug")


async def test_steps_that_hang_make_way_for_basic(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    pipeline.compute.always["match"] = [1000.0]
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(
        75.0
    )  # neither session nor worker waits for the step
    assert "match" in pipeline.compute.cancelled
    assert only(packets, AuthenticationResult).note == BASIC_NOTE
    assert pipeline.compute.started.count("front") == 1
    assert final(packets).missing == ["pricing"]
    assert error_logs.take("component missing")["component"] == "pricing"


async def test_full_fails_then_basic(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["authenticity"] = [BUG]
    packets = await pipeline.analyse()
    decided = only(packets, AuthenticationResult)
    assert decided.note == "Basic analysis used due to processing constraints" == BASIC_NOTE
    assert (decided.authentic, decided.authenticity_rating, decided.confidence) == (False, 20, 0.2)
    assert final(packets).degraded == ["authenticity"]


async def test_a_full_result_has_no_note(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    encoded = only(await pipeline.analyse(), AuthenticationResult).encode()
    assert b"note" not in encoded


async def test_a_packet_without_a_note_field_gets_none(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["characters"] = [BUG]
    packets = await pipeline.analyse()
    assert only(packets, CharacterIdentification).identification == "basic"
    assert final(packets).degraded == ["characters"]


async def test_required_fails(autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs) -> None:
    pipeline.compute.always["authenticity"] = [BUG]
    pipeline.compute.always["authenticity_basic"] = [1.0, BUG]
    pipeline.compute.always["display"] = [50.0]
    started = trio.current_time()
    packets = await pipeline.analyse()
    error = packets[-1]
    assert isinstance(error, ErrorPacket)
    assert (error.message, error.error_code) == ("Authenticity analysis failed", ErrorCode.PROCESSING_ERROR)
    assert trio.current_time() - started == pytest.approx(1.0)
    assert pipeline.compute.cancelled == ["display"]
    assert error_logs.take("component missing")["component"] == "authenticity"


async def test_optional_fails(autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs) -> None:
    pipeline.compute.always["pricing"] = [BUG]
    pipeline.compute.always["details"] = [BUG]
    packets = await pipeline.analyse()
    assert sorted(final(packets).missing) == ["details", "pricing"]
    assert "PRICING_ANALYSIS" not in types(packets)
    assert error_logs.take("component missing")["component"] in ("details", "pricing")
    error_logs.take("component missing")


async def test_a_worker_that_dies_is_tried_again(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.plan("authenticity", Die)
    pipeline.compute.plan("authenticity", Die)
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert pipeline.compute.started.count("authenticity") == 3
    assert trio.current_time() - started == pytest.approx(0.1 + 0.2)  # backoff, doubled
    assert final(packets).degraded == []


async def test_restarts_are_limited(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["authenticity"] = [Die]
    packets = await pipeline.analyse()
    assert pipeline.compute.started.count("authenticity") == 3
    assert only(packets, AuthenticationResult).note == BASIC_NOTE


async def test_a_deterministic_failure_is_not_retried(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["authenticity"] = [BUG]
    await pipeline.analyse()
    assert pipeline.compute.started.count("authenticity") == 1
    assert pipeline.compute.started.count("authenticity_basic") == 1


async def test_the_log_names_session_and_component_and_no_secrets(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    pipeline.compute.always["authenticity"] = [ValueError("a bug")]
    log = await pipeline.registry.open(upload(idempotency_key="a-secret-key"))
    await log.wait_closed()
    lines = [json.dumps(entry, default=str) for entry in error_logs.entries]
    failed = [entry for entry in error_logs.entries if entry["event"] == "full analysis failed"]
    assert failed[0]["session"] == log.session_id
    assert failed[0]["component"] == "authenticity"
    assert "a bug" in failed[0]["error"]
    assert not any(log.stream_id in line or "a-secret-key" in line for line in lines)  # both are secret
