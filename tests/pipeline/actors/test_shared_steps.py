"""Steps that several components need: their values, and what follows when they fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from trio.testing import MockClock

from pinactors.compute import OutOfMemory, ScratchFull
from pinactors.pipeline.declaration import SharedStep
from pinactors.protocol import (
    BASIC_NOTE,
    AuthenticationResult,
    CharacterIdentification,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    View,
)
from pinactors.storage.stored_image import StoredImage
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import ANALYSIS, NAMES, Die, Pipeline, Seen, final, only, open_pipeline, upload

BUG = ValueError("a bug")


async def test_a_shared_step_is_computed_once(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    await pipeline.analyse()
    assert sorted(name for name in pipeline.compute.started if name not in NAMES) == [
        "back",
        "front",
        "match",
    ]


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


async def test_a_decided_step_stands_for_the_one_it_decides(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_pipeline(tmp_path, analysis=replace(ANALYSIS, context="decided")) as pipeline:
        packets = await pipeline.analyse()
    assert "match" not in pipeline.compute.started
    assert only(packets, CharacterIdentification).identification == "front pin front"


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
