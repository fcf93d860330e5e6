"""What is not an analysis: health, metrics, the service's card, confirmations."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import prometheus_client
import trio
from quart import Blueprint, Response, request

from api.answers import (
    Card,
    CatalogueState,
    DatabaseState,
    Health,
    PinConfirmed,
    ProvisionalPin,
    ProvisionalPins,
    StorageState,
)
from api.auth import authenticate
from api.http.body import BodyReader
from api.services import Services, services
from pinactors.catalog.reader import Catalog
from pinactors.protocol import ErrorCode, PinactorsError, timestamp
from pinactors.records.feedback import Agreement, PinConfirmation

SERVICE = "pinactors"
FEEDBACK_BYTES = 64 * 1024

DATABASE_SECONDS = 2.0
"""How long the database has to answer to count as available."""

ENDPOINTS = {
    "upload": "POST /mobile-upload",
    "websocket": "GET /ws",
    "stream": "GET /streams/{streamId}",
    "cancel": "DELETE /streams/{streamId}",
    "confirmPin": "POST /api/mobile/confirm-pin",
    "provisionalPins": "GET /api/mobile/provisional-pins",
    "health": "GET /health",
    "metrics": "GET /metrics",
}

blueprint = Blueprint("operations", __name__)


def _json(body: msgspec.Struct) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), 200, headers)


@blueprint.get("/")
async def card() -> Response:
    """A browser gets the page where there is one."""
    given = services()
    if (
        given.page is not None
        and request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    ):
        return await given.page()
    return _json(Card(SERVICE, "running", timestamp(), ENDPOINTS))


@blueprint.get("/health")
async def health() -> Response:
    """`ok`, or `degraded`: it answers, but not everything works. A draining server accepts no connection."""
    given = services()
    database = False
    with trio.move_on_after(DATABASE_SECONDS):
        database = await given.records.check()
    catalogue = await trio.to_thread.run_sync(_catalogue, given, limiter=given.disk)
    actors = given.registry.statistics()
    queue = {name: value for name, value in actors.pop("compute", {}).items() if name != "pids"}
    storage = StorageState(given.store.shared.waiting if given.store.shared is not None else 0)
    works = database and catalogue.available and not storage.waiting and not actors.get("breakers")
    status: Literal["ok", "degraded"] = "ok" if works else "degraded"
    return _json(Health(status, timestamp(), actors, queue, DatabaseState(database), catalogue, storage))


def _catalogue(given: Services) -> CatalogueState:
    folder = given.catalog_folder
    if folder != given.settings.catalog_folder and not folder.is_dir():
        return CatalogueState(available=False)  # named by whoever started the server, and not there
    try:
        catalog = Catalog.open(folder)
    except (OSError, ValueError):  # damaged: analyses go on and find nothing
        return CatalogueState(available=False)
    return CatalogueState(True, catalog.size, catalog.version, catalog.demonstration)


@blueprint.get("/metrics")
async def metrics() -> Response:
    """Prometheus' text format. Counts only: no session's and no key's name."""
    text = prometheus_client.generate_latest(services().metrics)
    return Response(text, 200, {"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})


@blueprint.post("/api/mobile/confirm-pin")
async def confirm_pin() -> Response:
    given = services()
    owner = await authenticate(request.headers, given.records)
    body = _object(await BodyReader(request, given.settings, FEEDBACK_BYTES).whole())
    fields = msgspec.structs.fields(PinConfirmation)
    number, pin_id, agreement, comment = (body.get(field.encode_name) for field in fields)
    saved = await given.records.confirm(number, pin_id, agreement, comment, owner)
    return _json(
        PinConfirmed(
            message="Feedback recorded",
            timestamp=timestamp(saved.confirmed_at),
            session_id=saved.session_id,
            record_number=saved.record_number,
            pin_id=saved.pin_id,
            user_agreement=Agreement(saved.user_agreement),
            feedback_comment=saved.feedback_comment,
        )
    )


@blueprint.get("/api/mobile/provisional-pins")
async def provisional_pins() -> Response:
    given = services()
    owner = await authenticate(request.headers, given.records)
    pins, total = await given.records.provisional(owner, _number("limit", 200), _number("offset", 0))
    listed = [
        ProvisionalPin(pin.pin_id, pin.record_number, pin.name, timestamp(pin.created_at)) for pin in pins
    ]
    return _json(ProvisionalPins(provisional_pins=listed, total=total, timestamp=timestamp()))


def _number(name: str, default: int) -> int:
    value = request.args.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise PinactorsError(
            ErrorCode.INVALID_FORMAT, f"Invalid {name}", f"{name} must be a number", field=name
        )
    return int(value)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PinactorsError(
            ErrorCode.INVALID_FORMAT, "Invalid request", "The body must be a JSON object"
        ) from None
