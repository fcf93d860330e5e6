"""Limits how often a stream that has ended may be read: no packets will follow, so frequent reads are
useless."""

from __future__ import annotations

from collections import OrderedDict

from pinactors.protocol import limit_reached
from pinactors.token_bucket import TokenBucket

EXTENSION = "pinactors.polls"

READS_AT_ONCE = 1000.0
"""Capacity of a stream's token bucket; a read that returns packets costs 1."""

READS_A_SECOND = 50.0
"""Tokens added to a bucket per second."""

EMPTY_COST = 50.0
"""Cost of a read that returns no packets: twenty are allowed at once, then one per second."""

STREAMS_COUNTED = 10_000
"""Most streams with a bucket; the one read longest ago is dropped first."""


class Polls:
    """One token bucket per stream."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, stream_id: str, *, empty: bool) -> None:
        """Counts a read of a stream that has ended. Raises `PinactorsError` (429) if the bucket is empty."""
        bucket = self._buckets.pop(stream_id, None) or TokenBucket(READS_AT_ONCE, READS_A_SECOND)
        self._buckets[stream_id] = bucket
        if len(self._buckets) > STREAMS_COUNTED:
            self._buckets.popitem(last=False)
        wait = bucket.take(EMPTY_COST if empty else 1.0)
        if wait > 0:
            detail = "The stream has ended: nothing more will come"
            raise limit_reached(detail, max(1.0, wait), "Too many reads of this stream")
