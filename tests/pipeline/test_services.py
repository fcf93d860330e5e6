"""The mean cost of a session, from which the wait of an upload follows."""

from __future__ import annotations

import pytest

from pinactors.pipeline.services import NEWEST_WEIGHT, MeanCost


def test_the_first_session_counts_whole_and_later_ones_a_little() -> None:
    cost = MeanCost()
    assert cost.seconds == 0
    cost.add(10.0)
    assert cost.seconds == 10.0
    cost.add(20.0)
    assert cost.seconds == pytest.approx(10 * (1 - NEWEST_WEIGHT) + 20 * NEWEST_WEIGHT)
    for _ in range(100):
        cost.add(4.0)
    assert cost.seconds == pytest.approx(4.0, abs=0.01)
