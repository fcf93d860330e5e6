"""Erasing analyses and photographs from the database. Every function runs inside a transaction of its caller.

With an analysis its packets, feedback and webhook events are erased, and the rows of photographs that no
other analysis refers to. The hashes of these photographs are returned so that the caller can remove the
files.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import peewee

from pinactors.records import deliveries
from pinactors.records.listing import Filter, condition
from pinactors.records.models import AnalysisImage, Feedback, Image, StoredAnalysis, StoredPacket

BATCH_ANALYSES = 200
"""Most analyses that one transaction erases; it limits how long another writer waits."""


@dataclass(frozen=True, slots=True)
class Erased:
    """The result of one transaction: the number of erased `analyses`, and in `photographs` the hashes of
    those that no analysis refers to any more."""

    analyses: int
    photographs: list[str]


def count(database: peewee.Database, record_filter: Filter) -> int:
    return int(
        StoredAnalysis.select(peewee.fn.COUNT(StoredAnalysis.id))
        .where(condition(record_filter))
        .scalar(database)
    )


def erase(database: peewee.Database, record_filter: Filter) -> Erased:
    """Erases the oldest `BATCH_ANALYSES` analyses that match."""
    query = (
        StoredAnalysis.select(StoredAnalysis.id, StoredAnalysis.stream_id)
        .where(condition(record_filter))
        .order_by(StoredAnalysis.id)
    )
    analyses = list(query.limit(BATCH_ANALYSES).tuples().execute(database))
    if not analyses:
        return Erased(0, [])
    numbers = [number for number, _ in analyses]
    deliveries.erase(database, [stream_id for _, stream_id in analyses])
    image_rows = (
        AnalysisImage.select(AnalysisImage.image).where(AnalysisImage.analysis.in_(numbers)).distinct()
    )
    hashes = [sha256 for (sha256,) in image_rows.tuples().execute(database)]
    for table in (AnalysisImage, StoredPacket, Feedback):
        table.delete().where(table.analysis.in_(numbers)).execute(database)
    StoredAnalysis.delete().where(StoredAnalysis.id.in_(numbers)).execute(database)
    return Erased(len(numbers), _forget(database, hashes))


def count_photographs(database: peewee.Database, before: dt.datetime) -> int:
    """The number of photographs that no analysis with an end at `before` or later refers to."""
    return int(_erasable(before).select(peewee.fn.COUNT(Image.sha256)).scalar(database))


def erase_photographs(database: peewee.Database, before: dt.datetime) -> list[str]:
    """Removes the rows of at most `BATCH_ANALYSES` such photographs and returns their hashes; the analyses
    stay."""
    query = _erasable(before).select(Image.sha256).limit(BATCH_ANALYSES).tuples()
    hashes = [sha256 for (sha256,) in query.execute(database)]
    AnalysisImage.delete().where(AnalysisImage.image.in_(hashes)).execute(database)
    return _forget(database, hashes)


def _erasable(before: dt.datetime) -> Any:
    recent_uses = (
        AnalysisImage.select(AnalysisImage.image)
        .join(StoredAnalysis)
        .where(StoredAnalysis.finished_at >= before, AnalysisImage.image == Image.sha256)
    )
    return Image.select().where(~peewee.fn.EXISTS(recent_uses))


def _forget(database: peewee.Database, hashes: Sequence[str]) -> list[str]:
    """Removes the rows of those photographs in `hashes` that no analysis refers to; returns their hashes."""
    if not hashes:
        return []
    still_used = AnalysisImage.select(AnalysisImage.image).where(AnalysisImage.image.in_(hashes)).distinct()
    used = {sha256 for (sha256,) in still_used.tuples().execute(database)}
    unused = [sha256 for sha256 in hashes if sha256 not in used]
    if unused:
        Image.delete().where(Image.sha256.in_(unused)).execute(database)
    return unused
