"""Lists of finished analyses. Every function runs inside a transaction of its caller."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

import peewee

from pinactors.protocol import Verdict
from pinactors.records.feedback import Corrections, corrections, is_latest
from pinactors.records.models import (
    LARGEST_INTEGER,
    AnalysisImage,
    ApiKey,
    Feedback,
    Image,
    StoredAnalysis,
    page_size,
)

ACTIVITY_LIMIT = 10_000
"""Most analyses that are read to count recent activity."""


VERDICTS = (*Verdict, "error")
"""The values of `Filter.verdict`: `error` stands for failed analyses."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A selection of analyses: those that match every field that is not None. `since` and `until` limit the
    time of their end, `until` excluded; `pin` is a catalogue pin's id, `key` an API key's name, `owner` its
    number as text; `verdict` is one of `VERDICTS`; `agreement` is that of the latest feedback, `degraded` the
    name of a component that had only its basic analysis."""

    owner: str | None = None
    key: str | None = None
    number: int | None = None
    verdict: str | None = None
    pin: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    agreement: str | None = None
    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One analysis in a list. `images` are paths by view, relative to the images folder or absolute;
    `agreement`, `comment` and `corrected` are those of the latest feedback, empty without feedback; `verdict`
    is empty if the analysis failed, and `error_code` is set."""

    number: int
    session_id: str
    stream_id: str
    owner: str
    finished_at: dt.datetime
    processing_ms: int
    verdict: str
    rating: int | None
    confidence: float | None
    pin_id: str | None
    pin_name: str | None
    degraded: list[str]
    missing: list[str]
    error_code: str | None
    agreement: str
    images: dict[str, str]
    comment: str
    corrected: Corrections


@dataclass(frozen=True, slots=True)
class Activity:
    """Counts of recent analyses: how many began in each minute (counted since 1970), how many failed, and how
    often each component was degraded or missing. Only the newest `ACTIVITY_LIMIT` analyses are counted."""

    minutes: dict[int, int]
    failed: int
    degraded: dict[str, int]
    missing: dict[str, int]


def moment_of(text: str) -> dt.datetime:
    """A date or a time in ISO 8601, in UTC unless it names another offset. Raises `ValueError`."""
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def condition(record_filter: Filter) -> Any:
    """The filter as a condition on `StoredAnalysis`."""
    terms: list[Any] = [StoredAnalysis.id > 0]
    if record_filter.owner is not None:
        terms.append(StoredAnalysis.owner == record_filter.owner)
    if record_filter.key is not None:
        key_ids = ApiKey.select(ApiKey.id.cast("TEXT")).where(ApiKey.name == record_filter.key)
        terms.append(StoredAnalysis.owner.in_(key_ids))
    if record_filter.number is not None:
        terms.append(StoredAnalysis.id == min(record_filter.number, LARGEST_INTEGER))
    if record_filter.verdict == "error":
        terms.append(StoredAnalysis.error_code.is_null(False))
    elif record_filter.verdict is not None:
        terms.append(StoredAnalysis.verdict == record_filter.verdict)
    if record_filter.pin is not None:
        terms.append(StoredAnalysis.pin_id == record_filter.pin)
    if record_filter.agreement is not None:
        feedback = Feedback.select(Feedback.analysis).where(
            Feedback.agreement == record_filter.agreement, is_latest()
        )
        terms.append(StoredAnalysis.id.in_(feedback))
    if record_filter.degraded is not None:
        terms.append(StoredAnalysis.degraded.contains(json.dumps(record_filter.degraded)))
    if record_filter.since is not None:
        terms.append(StoredAnalysis.finished_at >= record_filter.since)
    if record_filter.until is not None:
        terms.append(StoredAnalysis.finished_at < record_filter.until)
    return reduce(and_, terms)


def page(
    database: peewee.Database, record_filter: Filter, limit: int, before: int | None
) -> tuple[list[RecordRow], int]:
    """At most `limit` matching analyses with numbers below `before`, newest first, and the number of all
    matches."""
    matching = condition(record_filter)
    total = int(StoredAnalysis.select(peewee.fn.COUNT(StoredAnalysis.id)).where(matching).scalar(database))
    if before is not None:
        matching = matching & (StoredAnalysis.id < min(before, LARGEST_INTEGER))
    query = StoredAnalysis.select().where(matching).order_by(StoredAnalysis.id.desc())
    rows = list(query.limit(page_size(limit)).execute(database))
    numbers = [row.id for row in rows]
    feedback, images = _latest_feedback(database, numbers), _images(database, numbers)
    return [_row(row, feedback.get(row.id), images.get(row.id, {})) for row in rows], total


def activity(database: peewee.Database, since: dt.datetime) -> Activity:
    columns = (
        StoredAnalysis.started_at,
        StoredAnalysis.error_code,
        StoredAnalysis.degraded,
        StoredAnalysis.missing,
    )
    newest = StoredAnalysis.select(*columns).order_by(StoredAnalysis.id.desc()).limit(ACTIVITY_LIMIT).tuples()
    failed = 0
    minutes: Counter[int] = Counter()
    degraded_counts: Counter[str] = Counter()
    missing_counts: Counter[str] = Counter()
    for started_at, error_code, degraded, missing in newest.execute(database):
        if started_at >= since:
            minutes[int(started_at.timestamp()) // 60] += 1
            failed += error_code is not None
            degraded_counts.update(json.loads(degraded))
            missing_counts.update(json.loads(missing))
    return Activity(dict(minutes), failed, dict(degraded_counts), dict(missing_counts))


def stream_of(database: peewee.Database, record_filter: Filter) -> str | None:
    """The stream id of the newest analysis that matches."""
    query = (
        StoredAnalysis.select(StoredAnalysis.stream_id)
        .where(condition(record_filter))
        .order_by(StoredAnalysis.id.desc())
    )
    found = query.limit(1).tuples().first(database)
    return None if found is None else str(found[0])


def _latest_feedback(database: peewee.Database, numbers: Sequence[int]) -> dict[int, Feedback]:
    """The latest feedback on each of these analyses."""
    query = Feedback.select().where(Feedback.analysis.in_(numbers)).order_by(Feedback.id)
    return {row.analysis_id: row for row in query.execute(database)}


def _images(database: peewee.Database, numbers: Sequence[int]) -> dict[int, dict[str, str]]:
    columns = (AnalysisImage.analysis, AnalysisImage.view, Image.path)
    query = AnalysisImage.select(*columns).join(Image).where(AnalysisImage.analysis.in_(numbers))
    found: dict[int, dict[str, str]] = {}
    for number, view, path in query.tuples().execute(database):
        found.setdefault(number, {})[view] = path
    return found


def _row(row: StoredAnalysis, feedback: Feedback | None, images: dict[str, str]) -> RecordRow:
    return RecordRow(
        row.id,
        row.session_id,
        row.stream_id,
        row.owner,
        row.finished_at,
        row.processing_ms,
        row.verdict or "",
        row.rating,
        row.confidence,
        row.pin_id,
        row.pin_name,
        json.loads(row.degraded),
        json.loads(row.missing),
        row.error_code,
        feedback.agreement if feedback else "",
        images,
        feedback.comment if feedback else "",
        corrections(feedback.verdict, feedback.pin_id, feedback.price) if feedback else Corrections(),
    )
