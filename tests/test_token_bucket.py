"""The token bucket that limits uploads of a key and reads of a stream."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from pinactors.token_bucket import TokenBucket


async def test_a_burst_is_allowed_and_then_the_rate(mock_clock: MockClock) -> None:
    bucket = TokenBucket(3.0, 0.5)
    assert [bucket.take() for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(2.0)]
    mock_clock.jump(1.0)
    assert bucket.take() == pytest.approx(1.0), "a refused request takes nothing"
    mock_clock.jump(1.0)
    assert bucket.take() == 0.0


async def test_it_never_holds_more_than_its_capacity(mock_clock: MockClock) -> None:
    bucket = TokenBucket(3.0, 0.5)
    mock_clock.jump(1000.0)
    assert bucket.take(3.0) == 0.0
    assert bucket.take(2.0) == pytest.approx(4.0)
