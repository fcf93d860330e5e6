"""The policy for failures and deadlines, case by case, on a mock clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from pinactors.compute import OutOfMemory, ScratchFull
from pinactors.pipeline.declaration import SharedStep
from pinactors.pipeline.session import Session
from pinactors.protocol import (
    BASIC_NOTE,
    PACKET_LIMIT,
    TIMEOUT_NOTE,
    AuthenticationResult,
    CharacterIdentification,
    ConnectionEstablished,
    DetailedAnalysis,
    ErrorCode,
    ErrorPacket,
    Packet,
    PinactorsError,
    ProcessingStarted,
    Verdict,
    View,
)
from pinactors.storage.stored_image import StoredImage
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import (
    ANALYSIS,
    NAMES,
    Die,
    Pipeline,
    Seen,
    authenticity,
    final,
    only,
    open_pipeline,
    types,
    upload,
)

BUG = ValueError("a bug")


def another_type(context: str, *values: object) -> Packet:
    return DetailedAnalysis(analysis="not authenticity", details={})


def not_a_number(context: str, *values: object) -> Packet:
    return msgspec.structs.replace(authenticity(context, None, None, None), confidence=math.nan)


def does_not_fit(context: str, *values: object) -> Packet:
    return msgspec.structs.replace(authenticity(context, None, None, None), note="x" * PACKET_LIMIT)


async def test_a_long_queue_is_told(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.seconds = 3.0  # of a worker, for each session
    await pipeline.analyse(upload(session_id="1", content="a"))
    pipeline.compute.waiting = 1
    short = only(await pipeline.analyse(upload(session_id="2", content="b")), ProcessingStarted)
    pipeline.compute.waiting = 4
    long = only(await pipeline.analyse(upload(session_id="3", content="c")), ProcessingStarted)
    assert short.message == "Analysis started"
    assert long.message == "Analysis started; 4 others are waiting for this server"


async def test_the_whole_walk(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    packets = await pipeline.analyse()
    assert types(packets)[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert sorted(types(packets)[2:-1]) == [
        "AUTHENTICATION_RESULT",
        "CHARACTER_IDENTIFICATION",
        "DETAILED_ANALYSIS",
        "HTML_DISPLAY_DATA",
        "PRICING_ANALYSIS",
    ]
    assert [packet.sequence for packet in packets] == list(range(8))
    assert {packet.session_id for packet in packets} == {"250101120000"}
    end = final(packets)
    assert (end.id, end.degraded, end.missing) == (1, [], [])
    opening = packets[0]
    assert isinstance(opening, ConnectionEstablished)
    assert opening.deadline_ms == 90_000
    number, record, stored = pipeline.records.saved[opening.stream_id]
    assert number == 1
    assert (record.verdict, record.rating, record.pin_id, record.error_code) == ("authentic", 77, "p1", None)
    log = await pipeline.registry.find(opening.stream_id, "")
    assert stored == log.packets


async def test_components_run_at_the_same_time(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    for name in NAMES:
        pipeline.compute.plan(name, 10.0)
    started = trio.current_time()
    await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(10.0)


async def test_each_packet_goes_out_when_it_is_ready(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.plan("display", 1.0)
    pipeline.compute.plan("authenticity", 20.0)
    log = await pipeline.registry.open(upload())
    started = trio.current_time()
    with log.watching():
        while b"HTML_DISPLAY_DATA" not in log.packets[-1]:
            await log.wait_beyond(len(log.packets))
    assert trio.current_time() - started == pytest.approx(1.0)


async def test_a_shared_step_is_computed_once(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    await pipeline.analyse()
    assert sorted(name for name in pipeline.compute.started if name not in NAMES) == [
        "back",
        "front",
        "match",
    ]


async def test_the_deadline_decides_for_authenticity(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    pipeline.compute.always["authenticity"] = [1000.0]
    pipeline.compute.always["authenticity_basic"] = [1000.0]
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(90.0)
    decided = only(packets, AuthenticationResult)
    assert decided.authentic is False
    assert (decided.authenticity_rating, decided.confidence) == (0, 0.0)
    assert decided.note == TIMEOUT_NOTE == "Analysis timed out"
    assert decided.verdict is Verdict.UNDETERMINED
    end = final(packets)
    assert (end.degraded, end.missing) == (["authenticity"], [])
    assert end.processing_time == 90_000
    assert pipeline.compute.cancelled == ["authenticity", "authenticity_basic"]
    assert pipeline.compute.running == []


async def test_the_deadline_leaves_the_rest_missing(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["characters"] = [1000.0]
    pipeline.compute.always["characters_basic"] = [1000.0]
    packets = await pipeline.analyse()
    end = final(packets)
    assert (end.degraded, end.missing) == ([], ["characters"])
    assert "CHARACTER_IDENTIFICATION" not in types(packets)
    assert end.message == "Analysis complete without characters"


async def test_full_leaves_its_reserve_to_basic(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["authenticity"] = [1000.0]
    pipeline.compute.plan("authenticity_basic", 14.0)
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(75.0 + 14.0)
    assert only(packets, AuthenticationResult).note == BASIC_NOTE
    assert final(packets).degraded == ["authenticity"]


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


async def test_a_shared_step_whose_worker_dies_is_tried_again(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.plan("match", Die)
    assert final(await pipeline.analyse()).degraded == []
    assert pipeline.compute.started.count("match") == 2


async def test_a_shared_step_that_fails_sends_those_who_need_it_to_basic(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    pipeline.compute.always["match"] = [BUG]
    packets = await pipeline.analyse()
    assert pipeline.compute.started.count("match") == 1
    assert sorted(final(packets).degraded) == ["authenticity", "characters"]
    assert final(packets).missing == ["pricing"]
    assert error_logs.take("component missing")["component"] == "pricing"


@pytest.mark.parametrize("wrong", [another_type, not_a_number, does_not_fit])
async def test_a_packet_that_cannot_be_sent_is_a_failure(
    wrong: Callable[..., Any], autojump_clock: MockClock, tmp_path: Path
) -> None:
    components = (replace(ANALYSIS.components[0], full=wrong), *ANALYSIS.components[1:])
    async with open_pipeline(tmp_path, analysis=replace(ANALYSIS, components=components)) as pipeline:
        packets = await pipeline.analyse()
    assert only(packets, AuthenticationResult).note == BASIC_NOTE
    assert final(packets).degraded == ["authenticity"]


async def test_a_decided_step_stands_for_the_one_it_decides(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_pipeline(tmp_path, analysis=replace(ANALYSIS, context="decided")) as pipeline:
        packets = await pipeline.analyse()
    assert "match" not in pipeline.compute.started
    assert only(packets, CharacterIdentification).identification == "front pin front"


async def test_a_view_that_was_not_sent_is_none(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    packets = await pipeline.analyse(upload(View.FRONT))
    assert "back" not in pipeline.compute.started
    assert only(packets, CharacterIdentification).identification == "match of front pin front and None"


async def test_missing_front(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    packets = await pipeline.analyse(upload(View.BACK))
    assert types(packets) == ["CONNECTION_ESTABLISHED", "ERROR"]
    error = only(packets, ErrorPacket)
    assert (error.error_code, error.message) == (ErrorCode.MISSING_IMAGE, "Front image required")
    assert pipeline.compute.started == []
    assert pipeline.records.saved == {}


@pytest.mark.parametrize("code", [ErrorCode.INVALID_FORMAT, ErrorCode.TOO_LARGE])
async def test_a_refused_photograph_ends_the_session(
    autojump_clock: MockClock, pipeline: Pipeline, code: ErrorCode
) -> None:
    pipeline.compute.always["back"] = [1.0, PinactorsError(code, "Not an image", "bad marker")]
    pipeline.compute.always["display"] = [50.0]
    packets = await pipeline.analyse()
    error = packets[-1]
    assert isinstance(error, ErrorPacket)
    assert (error.error_code, error.message) == (code, "Not an image")
    assert error.error == "backImageData: bad marker"
    assert pipeline.compute.cancelled == ["display"]


async def test_a_photograph_that_kills_its_decoder_is_refused(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["front"] = [Die]
    packets = await pipeline.analyse()
    assert only(packets, ErrorPacket).error_code is ErrorCode.INVALID_FORMAT
    assert "frontImageData" in only(packets, ErrorPacket).error
    assert pipeline.compute.started.count("front") == 3


async def test_a_photograph_that_no_worker_has_the_memory_for_is_refused_by_name(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["back"] = [OutOfMemory("too much")]
    packets = await pipeline.analyse()
    error = only(packets, ErrorPacket)
    assert (error.error_code, error.view) == (ErrorCode.TOO_LARGE, View.BACK)
    assert error.error == "backImageData: analysing it needs more memory than is allowed"
    assert pipeline.compute.started.count("back") == 1
    assert pipeline.registry.statistics()["breakers"] == {}


def located(context: str, first: Seen, image: StoredImage) -> Seen:
    return first


@pytest.mark.parametrize("failure", [Die, OutOfMemory("too much"), PinactorsError(ErrorCode.TOO_LARGE, "")])
async def test_a_step_that_needs_a_decoded_photograph_too_does_not_refuse_it(
    failure: type[Die] | Exception, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Such as the search for the pin, which needs the photograph's region."""
    analysis = ANALYSIS.adding(
        [SharedStep("located", ("front", "front_image"), located)],
        [replace(ANALYSIS.component("authenticity"), needs=("front", "back", "located"))],
    )
    async with open_pipeline(tmp_path, analysis=analysis) as pipeline:
        pipeline.compute.always["located"] = [failure]
        packets = await pipeline.analyse()
    assert only(packets, AuthenticationResult).note == BASIC_NOTE
    assert final(packets).degraded == ["authenticity"]


async def test_a_file_that_a_step_lacks_is_no_failure_of_the_storage(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    pipeline.compute.always["match"] = [FileNotFoundError("model.onnx")]
    packets = await pipeline.analyse()
    assert sorted(final(packets).degraded) == ["authenticity", "characters"]
    assert error_logs.take("component missing")["component"] == "pricing"


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("match", ScratchFull("No space left on device")),
        ("authenticity", ScratchFull("its value was removed: /data/scratch/1")),
        ("front", FileNotFoundError("/data/images/1")),
    ],
)
async def test_a_disk_that_is_full_or_cleaned_ends_the_session_as_overload(
    autojump_clock: MockClock, pipeline: Pipeline, function: str, error: Exception
) -> None:
    """The client may send the upload again, and no component's breaker counts the failure."""
    pipeline.compute.always[function] = [error]
    for number in range(6):
        packets = await pipeline.analyse(upload(content=f"pin {number}"))
        assert only(packets, ErrorPacket).error_code is ErrorCode.OVERLOADED
        assert "/" not in only(packets, ErrorPacket).error
    assert pipeline.registry.statistics()["breakers"] == {}


async def test_an_upload_that_fails_ends_the_session_with_its_error(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    sent = upload(View.FRONT, complete=False)
    log = await pipeline.registry.open(sent)
    await trio.testing.wait_all_tasks_blocked()
    sent.fail(PinactorsError(ErrorCode.TOO_LARGE, "Upload too large"))
    await log.wait_closed()
    assert b'"too_large"' in log.packets[-1]
    assert pipeline.compute.running == []


async def test_work_begins_with_the_front_and_the_clock_with_the_last_photograph(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["authenticity"] = [1000.0]
    pipeline.compute.always["authenticity_basic"] = [1000.0]
    sent = upload(View.FRONT, complete=False)
    log = await pipeline.registry.open(sent)
    await trio.sleep(200)
    assert b"PROCESSING_STARTED" in log.packets[1]
    assert b"HTML_DISPLAY_DATA" in b"".join(log.packets)  # needs the front only
    assert not log.closed
    complete = trio.current_time()
    sent.close()
    await log.wait_closed()
    assert trio.current_time() - complete == pytest.approx(90.0)


async def test_a_late_result_does_not_follow_its_fallback(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    """Full analysis ends at the same moment as its time limit."""
    for name in ("authenticity", "characters"):
        pipeline.compute.plan(name, 75.0)
    pipeline.compute.plan("details", 90.0)
    packets = await pipeline.analyse()
    assert len(types(packets)) == len(set(types(packets)))
    assert types(packets).count("AUTHENTICATION_RESULT") == 1


async def test_the_record_exists_before_the_last_packet(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.plan("display", 5.0)
    log = await pipeline.registry.open(upload())
    while not log.closed:
        await log.wait_beyond(len(log.packets))
        complete = b"ANALYSIS_COMPLETE" in log.packets[-1]
        assert (log.stream_id in pipeline.records.saved) == complete
    assert complete


async def test_a_busy_database_is_tried_again(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.records.failures = 6  # one look-up, five attempts to save
    packets = await pipeline.analyse()
    assert final(packets).id == 1
    assert pipeline.records.attempts == 6


async def test_without_a_database_the_client_is_told_and_the_analysis_is_stored_later(
    autojump_clock: MockClock,
    pipeline: Pipeline,
) -> None:
    pipeline.records.away = True
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(90.0)
    error = packets[-1]
    assert isinstance(error, ErrorPacket)
    assert error.error_code is ErrorCode.PROCESSING_ERROR
    assert "will be stored" in error.error
    assert "AUTHENTICATION_RESULT" in types(packets)
    await pipeline.idle()
    assert pipeline.registry.statistics()["outbox"] == 1
    pipeline.records.away = False
    await trio.sleep(10)
    ((number, record, stored),) = pipeline.records.saved.values()
    assert (number, record.verdict, record.error_code) == (1, "authentic", None)
    assert [len(packet) for packet in stored] == [len(packet.encode()) for packet in packets]
    assert pipeline.registry.statistics()["outbox"] == 0
    assert list(pipeline.settings.journal_folder.iterdir()) == []


async def test_a_session_that_failed_is_recorded(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["front"] = [PinactorsError(ErrorCode.INVALID_FORMAT, "Not an image")]
    await pipeline.analyse()
    await trio.testing.wait_all_tasks_blocked()
    ((_, record, stored),) = pipeline.records.saved.values()
    assert (record.error_code, record.verdict) == ("invalid_format", None)
    assert b'"ERROR"' in stored[-1]


async def test_an_exception_of_the_pipeline_itself_is_an_error_packet_and_no_more(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Session) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "_begin", broken)
        packets = await pipeline.analyse()
    assert only(packets, ErrorPacket).error_code is ErrorCode.PROCESSING_ERROR
    error_logs.take("session failed")
    assert types(await pipeline.analyse(upload(content="another")))[-1] == "ANALYSIS_COMPLETE"
