from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.actors.breaker import Breaker, BreakerState
from pinactors.protocol import BASIC_NOTE, AuthenticationResult, ErrorCode, PinactorsError, View
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import ANALYSIS, Pipeline, final, only, open_pipeline, upload

BUG = ValueError("a bug")


class Trips:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with breaker.attempt() as trial:
            assert trial is not None
            trial.failed()


async def test_it_trips_after_failures_in_a_row(mock_clock: MockClock) -> None:
    trips = Trips()
    breaker = Breaker(3, 60.0, trips)
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    assert trips.count == 1
    with breaker.attempt() as trial:
        assert trial is None


async def test_a_success_in_between_counts_from_the_start(mock_clock: MockClock) -> None:
    breaker = Breaker(3, 60.0, Trips())
    fail(breaker, 2)
    with breaker.attempt() as trial:
        assert trial is not None
        trial.succeeded()
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


async def test_failures_too_far_apart_do_not_trip_it(mock_clock: MockClock) -> None:
    breaker = Breaker(3, 60.0, Trips())
    for _ in range(5):
        fail(breaker)
        mock_clock.jump(31.0)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 2)
    assert breaker.state is BreakerState.OPEN


async def test_one_probe_after_the_pause(mock_clock: MockClock) -> None:
    trips = Trips()
    breaker = Breaker(1, 60.0, trips)
    fail(breaker)
    mock_clock.jump(59.0)
    assert breaker.state is BreakerState.OPEN
    mock_clock.jump(1.0)
    assert breaker.state is BreakerState.HALF_OPEN
    with breaker.attempt() as probe:
        assert probe is not None
        with breaker.attempt() as second:
            assert second is None
        probe.failed()
    assert breaker.state is BreakerState.OPEN
    assert trips.count == 2
    mock_clock.jump(60.0)
    with breaker.attempt() as probe:
        assert probe is not None
        probe.succeeded()
    assert breaker.state is BreakerState.CLOSED


async def test_a_probe_without_a_verdict_leaves_the_place_to_another(mock_clock: MockClock) -> None:
    breaker = Breaker(1, 60.0, Trips())
    fail(breaker)
    mock_clock.jump(60.0)
    with breaker.attempt():
        pass
    with breaker.attempt() as probe:
        assert probe is not None


async def test_a_component_that_keeps_failing_goes_straight_to_basic(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["authenticity"] = [BUG]
    for number in range(5):
        await pipeline.analyse(upload(content=f"pin {number}"))
    assert pipeline.registry.statistics()["breakers"] == {"authenticity": "open"}
    packets = await pipeline.analyse(upload(content="pin 5"))
    assert pipeline.compute.started.count("authenticity") == 5
    assert only(packets, AuthenticationResult).note == BASIC_NOTE
    assert final(packets).degraded == ["authenticity"]
    await trio.sleep(60)
    pipeline.compute.always.clear()
    assert final(await pipeline.analyse(upload(content="pin 6"))).degraded == []
    assert pipeline.registry.statistics()["breakers"] == {}


async def test_bad_uploads_trip_nothing(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["front"] = [PinactorsError(ErrorCode.INVALID_FORMAT, "Not an image")]
    for number in range(7):
        await pipeline.analyse(upload(content=f"pin {number}"))
    assert pipeline.registry.statistics()["breakers"] == {}


async def test_cut_uploads_trip_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A component that waits for a photograph may get the upload's error before its session ends."""
    needing = [
        replace(component, needs=("back_image",), basic_needs=("back_image",))
        if component.name == "details"
        else component
        for component in ANALYSIS.components
    ]
    analysis = replace(ANALYSIS, components=tuple(needing))
    async with open_pipeline(tmp_path, analysis=analysis, breaker_failures=1) as pipeline:
        for number in range(20):
            sent = upload(View.FRONT, content=f"pin {number}", complete=False)
            log = await pipeline.registry.open(sent)
            await wait_all_tasks_blocked()
            sent.fail(PinactorsError(ErrorCode.PROCESSING_ERROR, "Upload interrupted"))
            await log.wait_closed()
        assert pipeline.registry.statistics()["breakers"] == {}


async def test_a_slow_upload_does_not_keep_others_from_the_one_attempt(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    """After a breaker's pause one attempt is allowed. A phone on a slow link must not hold it, because all
    other sessions would be degraded until its upload ends."""
    pipeline.compute.always["authenticity"] = [BUG]
    for number in range(5):
        await pipeline.analyse(upload(content=f"pin {number}"))
    pipeline.compute.always.clear()
    await trio.sleep(60)
    slow = upload(View.FRONT, content="slow", complete=False)
    log = await pipeline.registry.open(slow)
    await wait_all_tasks_blocked()
    assert final(await pipeline.analyse(upload(content="another pin"))).degraded == []
    slow.fail(PinactorsError(ErrorCode.PROCESSING_ERROR, "Upload interrupted"))
    await log.wait_closed()


@pytest.mark.parametrize("seconds", [5.0, 30.0])
async def test_short_deadlines_and_queues_trip_nothing(
    seconds: float, autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    """A timeout is not the component's fault if the client's deadline was short or no worker was free."""
    pipeline.compute.always["authenticity"] = [30.0]
    for number in range(7):
        sent = upload(content=f"pin {number}")
        sent.deadline = seconds
        assert "authenticity" in final(await pipeline.analyse(sent)).degraded
    assert pipeline.registry.statistics()["breakers"] == {}
    assert final(await pipeline.analyse(upload(content="unhurried"))).degraded == []
    # A deadline shorter than the reserve leaves no time for any full analysis.
    for _ in range(14 if seconds < 15 else 0):
        assert error_logs.take("component missing")["component"] in ("pricing", "display")


async def test_a_shared_step_that_fails_is_not_its_components_doing(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    pipeline.compute.always["match"] = [BUG]
    for number in range(7):
        await pipeline.analyse(upload(content=f"pin {number}"))
        assert error_logs.take("component missing")["component"] == "pricing"
    assert pipeline.registry.statistics()["breakers"] == {}


async def test_cancelled_sessions_trip_nothing(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["authenticity"] = [50.0]
    for number in range(7):
        log = await pipeline.registry.open(upload(content=f"pin {number}"))
        await trio.sleep(1)
        await pipeline.registry.cancel(log.stream_id, "")
    assert pipeline.registry.statistics()["breakers"] == {}


@pytest.mark.parametrize("failures", [1, 2])
async def test_the_setting_counts(failures: int, autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_pipeline(tmp_path, breaker_failures=failures) as pipeline:
        pipeline.compute.always["characters"] = [BUG]
        for number in range(3):
            await pipeline.analyse(upload(content=f"pin {number}"))
        assert pipeline.compute.started.count("characters") == failures
