"""Sessions that have ended stay in memory for a while, as many as fit."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from pinactors.protocol import PinactorsError, View
from tests.pipeline.fakes import Pipeline, upload, watch


async def test_finished_sessions_are_found_as_long_as_replay_says(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.records.away = True  # so that only memory has it
    sent = upload(View.BACK)
    log = await pipeline.registry.open(sent)
    await watch(log)
    await trio.sleep(pipeline.settings.replay - 1)
    assert await pipeline.registry.find(log.stream_id, "") is log
    await trio.sleep(2)
    with pytest.raises(PinactorsError) as away:
        await pipeline.registry.find(log.stream_id, "")
    assert (away.value.status, away.value.retry_after) == (503, 2.0)
    assert pipeline.registry.statistics()["finished"] == 0


async def test_memory_for_finished_sessions_is_bounded(
    autojump_clock: MockClock, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinactors.pipeline.registry.finished.FINISHED_BYTES", 5000)
    logs = []
    for number in range(5):
        logs.append(await pipeline.registry.open(upload(content=f"pin {number}")))
        await watch(logs[-1])
        await pipeline.idle()
    assert 1 <= pipeline.registry.statistics()["finished"] < 5
    for log in logs:  # the others come from the records
        found = await pipeline.registry.find(log.stream_id, "")
        assert found.packets == log.packets
