"""Full garbage collections wait until no session is under way."""

import gc
import sys

import pytest

from pinactors.api.housekeeping.collection import (
    PARTIAL_COLLECTIONS,
    collect_if_idle,
    full_collections_postponed,
)


def full_collections() -> int:
    return gc.get_stats()[2]["collections"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there are no full collections there")
async def test_an_idle_server_collects_and_a_busy_one_does_not() -> None:
    before = gc.get_threshold()
    with full_collections_postponed():
        assert gc.get_threshold() == (*before[:2], PARTIAL_COLLECTIONS)
        gc.collect()
        for _ in range(11):
            gc.collect(1)
        ran = full_collections()
        await collect_if_idle(lambda: 1)
        assert full_collections() == ran
        await collect_if_idle(lambda: 0)
        assert full_collections() == ran + 1
        await collect_if_idle(lambda: 0)  # nothing was collected partially since
        assert full_collections() == ran + 1
    assert gc.get_threshold() == before
