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

from pinactors.records.feedback import Corrections, corrections, is_latest
from pinactors.records.models import Analysis, AnalysisImage, ApiKey, Feedback, Image

PAGE_LIMIT = 200

MOST_COUNTED = 10_000
"""Most analyses that are read to count recent activity."""

_LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Filter:
    """A selection of analyses: those that match every field that is not None. `since` and `until` limit the
    time of their end, `until` excluded; `pin` is a catalogue pin's id, `key` an API key's name, `owner` its
    number as text; `verdict` may be `error` for failed analyses; `agreement` is that of the latest feedback,
    `degraded` the name of a component that had only its basic analysis."""

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
    often each component was degraded or missing. Only the newest `MOST_COUNTED` analyses are counted."""

    minutes: dict[int, int]
    failed: int
    degraded: dict[str, int]
    missing: dict[str, int]


def condition(wanted: Filter) -> Any:
    """The filter as a condition on `Analysis`."""
    terms: list[Any] = [Analysis.id > 0]
    if wanted.owner is not None:
        terms.append(Analysis.owner == wanted.owner)
    if wanted.key is not None:
        named = ApiKey.select(ApiKey.id.cast("TEXT")).where(ApiKey.name == wanted.key)
        terms.append(Analysis.owner.in_(named))
    if wanted.number is not None:
        terms.append(Analysis.id == min(wanted.number, _LARGEST_NUMBER))
    if wanted.verdict == "error":
        terms.append(Analysis.error_code.is_null(False))
    elif wanted.verdict is not None:
        terms.append(Analysis.verdict == wanted.verdict)
    if wanted.pin is not None:
        terms.append(Analysis.pin_id == wanted.pin)
    if wanted.agreement is not None:
        said = Feedback.select(Feedback.analysis).where(Feedback.agreement == wanted.agreement, is_latest())
        terms.append(Analysis.id.in_(said))
    if wanted.degraded is not None:
        terms.append(Analysis.degraded.contains(json.dumps(wanted.degraded)))
    if wanted.since is not None:
        terms.append(Analysis.finished_at >= wanted.since)
    if wanted.until is not None:
        terms.append(Analysis.finished_at < wanted.until)
    return reduce(and_, terms)


def page(
    database: peewee.Database, wanted: Filter, limit: int, before: int | None
) -> tuple[list[RecordRow], int]:
    """At most `limit` matching analyses with numbers below `before`, newest first, and the number of all
    matches."""
    matching = condition(wanted)
    total = int(Analysis.select(peewee.fn.COUNT(Analysis.id)).where(matching).scalar(database))
    if before is not None:
        matching = matching & (Analysis.id < min(before, _LARGEST_NUMBER))
    query = Analysis.select().where(matching).order_by(Analysis.id.desc())
    rows = list(query.limit(min(max(limit, 1), PAGE_LIMIT)).execute(database))
    numbers = [row.id for row in rows]
    said, images = _said(database, numbers), _images(database, numbers)
    return [_row(row, said.get(row.id), images.get(row.id, {})) for row in rows], total


def activity(database: peewee.Database, since: dt.datetime) -> Activity:
    columns = (Analysis.started_at, Analysis.error_code, Analysis.degraded, Analysis.missing)
    newest = Analysis.select(*columns).order_by(Analysis.id.desc()).limit(MOST_COUNTED).tuples()
    failed = 0
    minutes: Counter[int] = Counter()
    without_full: Counter[str] = Counter()
    without: Counter[str] = Counter()
    for started_at, error_code, degraded, missing in newest.execute(database):
        if started_at >= since:
            minutes[int(started_at.timestamp()) // 60] += 1
            failed += error_code is not None
            without_full.update(json.loads(degraded))
            without.update(json.loads(missing))
    return Activity(dict(minutes), failed, dict(without_full), dict(without))


def stream_of(database: peewee.Database, wanted: Filter) -> str | None:
    """The stream id of the newest analysis that matches."""
    query = Analysis.select(Analysis.stream_id).where(condition(wanted)).order_by(Analysis.id.desc())
    found = query.limit(1).tuples().first(database)
    return None if found is None else str(found[0])


def _said(database: peewee.Database, numbers: Sequence[int]) -> dict[int, Feedback]:
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


def _row(row: Analysis, said: Feedback | None, images: dict[str, str]) -> RecordRow:
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
        said.agreement if said else "",
        images,
        said.comment if said else "",
        corrections(said.verdict, said.pin_id, said.price) if said else Corrections(),
    )
