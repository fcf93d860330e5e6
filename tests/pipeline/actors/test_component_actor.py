"""What a component's functions receive."""

from __future__ import annotations

from trio.testing import MockClock

from pinactors.protocol import CharacterIdentification, View
from tests.pipeline.fakes import Pipeline, only, upload


async def test_a_view_that_was_not_sent_is_none(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    packets = await pipeline.analyse(upload(View.FRONT))
    assert "back" not in pipeline.compute.started
    assert only(packets, CharacterIdentification).identification == "match of front pin front and None"
