"""The end of a session's time at the proxy."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from pinactors.api.proxy.relay.deadline import RelayDeadline


async def test_the_time_begins_with_the_end_of_the_upload(mock_clock: MockClock) -> None:
    deadline = RelayDeadline(90.0)
    mock_clock.jump(1000)
    assert deadline.remaining == math.inf
    deadline.upload_ended()
    mock_clock.jump(30)
    assert deadline.remaining == pytest.approx(60)


async def test_a_limit_only_shortens_the_time(mock_clock: MockClock) -> None:
    deadline = RelayDeadline(90.0)
    deadline.limit(40.0)
    deadline.upload_ended()
    assert deadline.remaining == pytest.approx(40)
    deadline.limit(60.0)
    assert deadline.remaining == pytest.approx(40)
    deadline.limit(20.0)
    assert deadline.remaining == pytest.approx(20)


async def test_it_can_begin_anew_and_ends_the_scope(autojump_clock: MockClock) -> None:
    deadline = RelayDeadline(90.0)
    deadline.limit(50.0)
    started = trio.current_time()
    deadline.begin_anew()
    with deadline.scope:
        await trio.sleep_forever()
    assert trio.current_time() - started == pytest.approx(50)
    assert deadline.scope.cancelled_caught
