"""Uploads that are refused: too many, too fast, or with too long a queue before them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from pinactors.pipeline.registry.admission import Admission
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.settings import Settings
from tests.pipeline.fakes import FakeCompute, final, open_pipeline, upload, watch


async def test_uploads_that_stall_are_no_queue(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Neither those without a photograph, nor those whose rest has not come within the deadline."""
    async with open_pipeline(tmp_path) as pipeline:
        deadline = pipeline.settings.deadline
        pipeline.registry._services.cost.add(deadline)
        workers = pipeline.compute.statistics()["workers"]
        for number in range(workers + 1):
            await pipeline.registry.open(Upload(f"empty-{number}"))
            await pipeline.registry.open(upload(View.FRONT, content=f"{number}", complete=False))
        with pytest.raises(PinactorsError, match="queue"):
            await pipeline.registry.open(upload(content="early"))
        await trio.sleep(deadline)
        await watch(await pipeline.registry.open(upload(content="later")))


async def test_more_sessions_than_places(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_pipeline(tmp_path, max_sessions=2) as pipeline:
        pipeline.compute.always["display"] = [5.0]
        logs = [await pipeline.registry.open(upload(content=f"pin {number}")) for number in range(2)]
        with pytest.raises(PinactorsError) as refused:
            await pipeline.registry.open(upload(content="pin 2"))
        assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 503)
        assert refused.value.retry_after is not None
        assert (
            await pipeline.registry.open(upload(content="pin 1")) is logs[1]
        )  # a joined upload takes no place
        for log in logs:
            await watch(log)
        await pipeline.idle()
        assert final(await pipeline.analyse(upload(content="pin 2"))).id == 3


async def test_what_one_key_may_have_under_way(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_pipeline(tmp_path, max_sessions_per_key=1) as pipeline:
        await pipeline.registry.open(upload(owner="1"))
        with pytest.raises(PinactorsError) as refused:
            await pipeline.registry.open(upload(owner="1", content="b"))
        assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 429)
        await pipeline.registry.open(upload(owner="2", content="b"))
        await pipeline.registry.open(upload(owner="", content="c"))
        await pipeline.registry.open(upload(owner="", content="d"))  # without keys there is no limit


async def test_the_rate_of_a_key(mock_clock: MockClock) -> None:
    admission = Admission(Settings(rate_per_minute=3))
    for _ in range(3):
        admission.check_rate("1")
    with pytest.raises(PinactorsError) as refused:
        admission.check_rate("1")
    assert (refused.value.status, refused.value.retry_after) == (429, 20.0)
    admission.check_rate("2")
    mock_clock.jump(20.5)
    admission.check_rate("1")
    with pytest.raises(PinactorsError):
        admission.check_rate("1")
    mock_clock.jump(1000)
    for _ in range(3):
        admission.check_rate("1")
    with pytest.raises(PinactorsError):
        admission.check_rate("1")


async def test_a_queue_longer_than_the_deadline_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    class Costly(FakeCompute):
        seconds = 50.0

    async with open_pipeline(tmp_path, compute=Costly()) as pipeline:
        await pipeline.analyse()
        pipeline.compute.always["display"] = [5.0]
        await pipeline.registry.open(upload(content="a"))
        await pipeline.registry.open(upload(content="b"))
        with pytest.raises(PinactorsError) as refused:  # two sessions of 50 s each, one worker, 90 s
            await pipeline.registry.open(upload(content="c"))
        assert (refused.value.status, refused.value.retry_after) == (503, 10.0)
