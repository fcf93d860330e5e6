"""A reader that polls an ended stream without pauses is slowed down; other readers are not."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from pinactors.api.streams.polls import EMPTY_COST, READS_AT_ONCE, STREAMS_COUNTED, Polls
from pinactors.protocol import PinactorsError
from pinactors.protocol.offsets import to_offset
from tests.api.site import Site
from tests.api.streams.test_durable_streams import site

__all__ = ["site"]


@pytest.mark.parametrize("query", ["?offset={end}", "?offset={end}&live=long-poll", "?offset=now"])
async def test_who_polls_the_end_without_pause_is_told_to_wait(
    site: Site, autojump_clock: MockClock, query: str
) -> None:
    site.log(3, closed=True)
    path = query.format(end=to_offset(3))
    statuses = [(await site.get(path)).status_code for _ in range(100)]
    assert 10 <= statuses.index(429) <= 30
    refused = await site.get(path)
    assert refused.status_code == 429
    wait = int(refused.headers["Retry-After"])
    assert 1 <= wait <= 5
    assert (await refused.get_json())["errorCode"] == "overloaded"
    await trio.sleep(wait)
    assert (await site.get(path)).status_code != 429


async def test_a_question_that_brings_no_packet_counts_as_one(site: Site, autojump_clock: MockClock) -> None:
    site.log(3, closed=True)
    statuses = [(await site.get(method="HEAD")).status_code for _ in range(100)]
    assert 10 <= statuses.index(429) <= 30
    await trio.sleep(READS_AT_ONCE)
    tag = (await site.get("?offset=-1")).headers["ETag"]
    statuses = [(await site.get("?offset=-1", If_None_Match=tag)).status_code for _ in range(100)]
    assert set(statuses) == {304, 429}
    assert 10 <= statuses.index(429) <= 30


async def test_a_stream_is_read_again_as_often_as_a_bad_link_needs(
    site: Site, autojump_clock: MockClock
) -> None:
    site.log(3, closed=True)
    for _ in range(int(READS_AT_ONCE)):
        assert (await site.get("?offset=-1")).status_code == 200
    assert (await site.get("?offset=-1")).status_code == 429


async def test_an_open_stream_is_not_limited(site: Site, autojump_clock: MockClock) -> None:
    site.log(2)
    for _ in range(200):
        assert (await site.get(f"?offset={to_offset(2)}")).status_code == 200


async def test_streams_are_counted_apart_and_their_number_is_bounded() -> None:
    polls = Polls()
    for _ in range(int(READS_AT_ONCE / EMPTY_COST)):
        polls.take("one", empty=True)
    with pytest.raises(PinactorsError):
        polls.take("one", empty=True)
    for number in range(STREAMS_COUNTED + 5):
        polls.take(f"other {number}", empty=True)
    assert len(polls._buckets) == STREAMS_COUNTED
