"""Analyses and photographs taken out of the database. Every function runs inside a transaction of its caller.

What is erased leaves no trace: packets, feedback, events for webhooks, and the rows of photographs that no
other analysis saw. Their hashes are returned for whoever removes the files.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import peewee

from pinactors.records import deliveries
from pinactors.records.listing import Filter, condition
from pinactors.records.models import Analysis, AnalysisImage, Feedback, Image, StoredPacket

BATCH_ANALYSES = 200
"""Analyses one transaction erases: a writer in between waits for so many at most."""


@dataclass(frozen=True, slots=True)
class Erased:
    """`analyses` were erased in one go; `photographs` are the hashes of those nobody refers to any more."""

    analyses: int
    photographs: list[str]


def count(database: peewee.Database, wanted: Filter) -> int:
    return int(Analysis.select(peewee.fn.COUNT(Analysis.id)).where(condition(wanted)).scalar(database))


def erase(database: peewee.Database, wanted: Filter) -> Erased:
    """Erases the oldest `BATCH_ANALYSES` analyses that match."""
    query = Analysis.select(Analysis.id, Analysis.stream_id).where(condition(wanted)).order_by(Analysis.id)
    found = list(query.limit(BATCH_ANALYSES).tuples().execute(database))
    if not found:
        return Erased(0, [])
    numbers = [number for number, _ in found]
    deliveries.erase(database, [stream_id for _, stream_id in found])
    seen = AnalysisImage.select(AnalysisImage.image).where(AnalysisImage.analysis.in_(numbers)).distinct()
    hashes = [sha256 for (sha256,) in seen.tuples().execute(database)]
    for table in (AnalysisImage, StoredPacket, Feedback):
        table.delete().where(table.analysis.in_(numbers)).execute(database)
    Analysis.delete().where(Analysis.id.in_(numbers)).execute(database)
    return Erased(len(numbers), _forget(database, hashes))


def count_photographs(database: peewee.Database, before: dt.datetime) -> int:
    """Photographs that no analysis saw that ended at `before` or later."""
    return int(_old(before).select(peewee.fn.COUNT(Image.sha256)).scalar(database))


def erase_photographs(database: peewee.Database, before: dt.datetime) -> list[str]:
    """Takes at most `BATCH_ANALYSES` such photographs from the analyses that saw them, which stay; their
    hashes."""
    query = _old(before).select(Image.sha256).limit(BATCH_ANALYSES).tuples()
    hashes = [sha256 for (sha256,) in query.execute(database)]
    AnalysisImage.delete().where(AnalysisImage.image.in_(hashes)).execute(database)
    return _forget(database, hashes)


def _old(before: dt.datetime) -> Any:
    lately = (
        AnalysisImage.select(AnalysisImage.image)
        .join(Analysis)
        .where(Analysis.finished_at >= before, AnalysisImage.image == Image.sha256)
    )
    return Image.select().where(~peewee.fn.EXISTS(lately))


def _forget(database: peewee.Database, hashes: Sequence[str]) -> list[str]:
    """Removes the rows of those photographs that no analysis refers to; their hashes."""
    if not hashes:
        return []
    still = AnalysisImage.select(AnalysisImage.image).where(AnalysisImage.image.in_(hashes)).distinct()
    used = {sha256 for (sha256,) in still.tuples().execute(database)}
    unused = [sha256 for sha256 in hashes if sha256 not in used]
    if unused:
        Image.delete().where(Image.sha256.in_(unused)).execute(database)
    return unused
