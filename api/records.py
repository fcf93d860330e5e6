"""Recorded analyses: a page of them, or one with its whole answer. A caller sees only its own analyses."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import Any

from quart import Blueprint, Response, request

from pinactors.api.answers import Events, Record, RecordPage
from pinactors.api.auth import authenticate
from pinactors.api.errors import whole_number
from pinactors.api.operations import json_answer, number_of, text_of, value_of
from pinactors.api.services import current_services
from pinactors.protocol import ErrorCode, PinactorsError, Verdict, invalid_field, merge, timestamp
from pinactors.records import DeliveryTally, Filter, RecordRow, Records
from pinactors.records.listing import VERDICTS, moment_of
from pinactors.records.models import page_size

DEFAULT_LIMIT = 50

_UNESCAPED_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$", re.ASCII)
"""A time whose offset a client has sent with an unescaped `+`, which means a space in a query."""

blueprint = Blueprint("records", __name__)


@blueprint.get("/api/records")
async def page() -> Response:
    """Analyses of the caller's key, newest first, by `verdict`, `pin`, `since` and `until`."""
    services = current_services()
    owner = await authenticate(request.headers, services.records)
    found, total, following = await requested_page(services.records, Filter(owner=owner))
    return json_answer(
        RecordPage(
            records=[Record(**fields) for _, fields in found],
            total=total,
            next=following,
            timestamp=timestamp(),
        )
    )


async def requested_page(
    records: Records, within: Filter
) -> tuple[list[tuple[RecordRow, dict[str, Any]]], int, int | None]:
    """Selects analyses `within` a filter by the request's query. Returns one page of rows, each with the
    fields of its `Record`; the number of all matching analyses; and the `before` of the next page (None on
    the last page). Raises `PinactorsError` (`invalid_format`)."""
    asked = number_of("limit")
    limit = page_size(DEFAULT_LIMIT if asked is None else asked)
    wanted = dataclasses.replace(
        within,
        verdict=_verdict(),
        pin=text_of("pin"),
        since=_moment("since"),
        until=_moment("until"),
    )
    rows, total = await records.page(wanted, limit, number_of("before"))
    tallies = await records.delivery_tallies([row.stream_id for row in rows])
    found = [(row, _fields(row, tallies.get(row.stream_id))) for row in rows]
    return found, total, rows[-1].number if rows and len(rows) == limit else None


@blueprint.get("/api/records/<number>")
async def one(number: str) -> Response:
    """The whole answer of one analysis, as a desktop receives it."""
    services = current_services()
    owner = await authenticate(request.headers, services.records)
    asked = whole_number(number)
    found = await services.records.record(Filter(owner=owner, number=asked)) if asked is not None else None
    if found is None:
        raise PinactorsError(
            ErrorCode.RECORD_NOT_FOUND, "Record not found", "None of this key's analyses has this number"
        )
    return json_answer(merge.merge(found.packets))


def _fields(row: RecordRow, events: DeliveryTally | None) -> dict[str, Any]:
    return {
        "record_number": row.number,
        "session_id": row.session_id,
        "created_at": timestamp(row.finished_at),
        "verdict": Verdict(row.verdict) if row.verdict else None,
        "authenticity_rating": row.rating,
        "confidence": row.confidence,
        "pin_id": row.pin_id,
        "name": row.pin_name,
        "views": sorted(row.images),
        "degraded": row.degraded,
        "missing": row.missing,
        "error_code": row.error_code,
        "user_agreement": row.agreement or None,
        "webhook": Events(events.pending, events.delivered, events.dead, events.error) if events else None,
    }


def _verdict() -> str | None:
    value = value_of("verdict")
    if value is not None and value not in VERDICTS:
        raise invalid_field("verdict", f"it must be one of {', '.join(VERDICTS)}")
    return value


def _moment(name: str) -> dt.datetime | None:
    value = value_of(name)
    if value is None:
        return None
    try:
        return moment_of(_UNESCAPED_PLUS.sub(r"\1+\2", value))
    except ValueError:
        raise invalid_field(name, "it must be a date or a time of ISO 8601, such as 2026-06-30") from None
