"""Analyses of all keys, for an operator: an overview, a page of analyses, one analysis, its photographs."""

from __future__ import annotations

import re
import time

from quart import Response

from pinactors.api.admin.access import admin_blueprint
from pinactors.api.admin.answers import AdminRecord, AdminRecords, Overview
from pinactors.api.operations import json_answer, text_of, value_of, working
from pinactors.api.page.results import shown_photograph
from pinactors.api.records import requested_page
from pinactors.api.services import current_services
from pinactors.protocol import ErrorCode, PinactorsError, invalid_field, merge
from pinactors.records import Filter, StoredStream
from pinactors.records.feedback import Agreement

OVERVIEW_MINUTES = 60
"""Period that the overview covers."""

blueprint = admin_blueprint("admin_analyses", __name__)


@blueprint.get("/overview")
async def overview() -> Response:
    """Uploads of the last hour by minute, the failures in that hour, and the state of the service."""
    services = current_services()
    activity = await services.records.activity(60 * OVERVIEW_MINUTES)
    _, catalogue = await working(services)
    actors = services.registry.statistics()
    queue = actors.get("compute", {})
    now = int(time.time()) // 60
    return json_answer(
        Overview(
            uploads=[activity.minutes.get(now - ago, 0) for ago in range(OVERVIEW_MINUTES - 1, -1, -1)],
            failed=activity.failed,
            degraded=activity.degraded,
            missing=activity.missing,
            breakers=actors.get("breakers", {}),
            sessions=actors.get("sessions", 0),
            queued=queue.get("queued", 0),
            workers=queue.get("workers", 0),
            disagreements=await services.records.count(Filter(agreement=Agreement.DISAGREE)),
            catalogue=catalogue,
            editable=services.settings.catalog_version in ("", "latest"),
        )
    )


@blueprint.get("/records")
async def page() -> Response:
    """Analyses of all keys, newest first, by `verdict`, `pin`, `since`, `until`, `agreement`, `degraded` (a
    component) and `key` (its name)."""
    services = current_services()
    agreement, degraded = value_of("agreement"), value_of("degraded")
    if agreement is not None and agreement not in tuple(Agreement):
        raise invalid_field("agreement", f"it must be one of {', '.join(Agreement)}")
    if degraded is not None and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", degraded):
        raise invalid_field("degraded", "it must be the name of a component")
    record_filter = Filter(agreement=agreement, degraded=degraded, key=text_of("key"))
    rows, total, following = await requested_page(services.records, record_filter)
    names = {str(key.id): key.name for key in await services.records.keys()}
    records = [
        AdminRecord(
            **fields,
            stream_id=row.stream_id,
            key=names.get(row.owner, ""),
            comment=row.comment,
            corrected_verdict=row.corrected.verdict,
            corrected_pin_id=row.corrected.pin_id,
            corrected_price=row.corrected.price,
        )
        for row, fields in rows
    ]
    return json_answer(AdminRecords(records, total, following))


@blueprint.get("/records/<int:number>")
async def record(number: int) -> Response:
    """The whole answer of one analysis."""
    return json_answer(merge.merge((await stored(number)).packets))


@blueprint.get("/records/<int:number>/<view>")
async def photograph(number: int, view: str) -> Response:
    """A photograph of one analysis, scaled down."""
    return await shown_photograph((await stored(number)).stream_id, view)


async def stored(number: int) -> StoredStream:
    """The analysis with that number. Raises `PinactorsError` (`record_not_found`)."""
    found = await current_services().records.record(Filter(number=number))
    if found is None:
        raise PinactorsError(ErrorCode.RECORD_NOT_FOUND, "Record not found", "No analysis has this number")
    return found
