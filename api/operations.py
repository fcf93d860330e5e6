"""Routes other than analyses: health, metrics, the service's card, feedback."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import msgspec
import prometheus_client
from quart import Blueprint, Response, request

from pinactors.api.answers import (
    Card,
    CatalogueState,
    DatabaseState,
    DiskState,
    Health,
    Liveness,
    PinConfirmed,
    ProvisionalPin,
    ProvisionalPins,
    Readiness,
    StorageState,
)
from pinactors.api.auth import authenticate
from pinactors.api.errors import MOST_DIGITS, RETRY_AFTER, whole_number
from pinactors.api.http.body import BodyReader
from pinactors.api.json_text import parse
from pinactors.api.services import Services, current_services
from pinactors.catalog.reader import Catalog
from pinactors.protocol import (
    ErrorCode,
    PinactorsError,
    invalid_field,
    invalid_value,
    is_text,
    none_if_missing,
    timestamp,
)
from pinactors.records.feedback import Agreement, PinConfirmation
from pinactors.storage.logs.database import is_shared

T = TypeVar("T")

SERVICE = "pinactors"
FEEDBACK_BYTES = 64 * 1024

PROVISIONAL_LIMIT = 200
"""Provisional pins in an answer, unless the query has a `limit`."""

TOKEN_FIELDS = ("seconds", "streamId")
"""Fields of a request for a token."""

ENDPOINTS = {
    "upload": "POST /mobile-upload",
    "websocket": "GET /ws",
    "stream": "GET /streams/{streamId}",
    "cancel": "DELETE /streams/{streamId}",
    "confirmPin": "POST /api/mobile/confirm-pin",
    "provisionalPins": "GET /api/mobile/provisional-pins",
    "records": "GET /api/records",
    "tokens": "POST /tokens",
    "health": "GET /health",
    "live": "GET /livez",
    "ready": "GET /readyz",
    "metrics": "GET /metrics",
}

blueprint = Blueprint("operations", __name__)


def json_answer(body: msgspec.Struct | dict[str, Any]) -> Response:
    """A JSON response that caches must not store."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), 200, headers)


@blueprint.get("/")
async def card() -> Response:
    """Returns the service's card, or the page if a browser asks and there is one."""
    services = current_services()
    if (
        services.page is not None
        and request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    ):
        return await services.page()
    return json_answer(Card(SERVICE, "running", timestamp(), ENDPOINTS))


@blueprint.get("/livez")
async def live() -> Response:
    """200 while the process answers, that is, while its event loop runs."""
    return json_answer(Liveness("alive", timestamp()))


@blueprint.get("/readyz")
async def ready() -> Response:
    """503 unless database, catalogue, workers and disk are available and uploads are accepted."""
    services = current_services()
    actors = services.registry.statistics()
    checks, _ = await working(services)
    checks["workers"] = bool(actors.get("compute", {}).get("workers"))
    checks["accepting"] = bool(actors.get("accepting", True))
    return readiness(checks)


def readiness(checks: dict[str, bool]) -> Response:
    """The response of `/readyz`: 503 if a check failed."""
    if all(checks.values()):
        return json_answer(Readiness("ready", timestamp(), checks))
    response = json_answer(Readiness("not_ready", timestamp(), checks))
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


@blueprint.get("/health")
async def health() -> Response:
    """`ok`, or `degraded` if not everything works. A draining server accepts no connection, so it does not
    answer."""
    services = current_services()
    checks, catalogue = await working(services)
    actors = services.registry.statistics()
    queue = {name: value for name, value in actors.pop("compute", {}).items() if name != "pids"}
    storage = StorageState(services.store.shared.waiting if services.store.shared is not None else 0)
    shared = actors.get("sharedLog", True) and queue.get("reachable", True) and not storage.waiting
    refused = actors.get("breakers") or queue.get("scratchFull")
    works = all(checks.values()) and shared and not refused and not catalogue.outdated
    return json_answer(
        Health(
            "ok" if works else "degraded",
            timestamp(),
            actors,
            queue,
            DatabaseState(checks["database"]),
            catalogue,
            storage,
            DiskState(checks["disk"]),
            "shared" if is_shared(services.settings) else "own",
        )
    )


async def working(services: Services) -> tuple[dict[str, bool], CatalogueState]:
    """Results of the checks of database, catalogue and disk, and the state of the catalogue."""
    settings = services.settings
    folders = [settings.data, services.store.spool]
    optional = [settings.scratch_folder, settings.journal_folder]
    catalogue = CatalogueState(available=False)

    async def opened() -> bool:
        nonlocal catalogue
        catalogue = await services.checks.in_thread(_catalogue, services, otherwise=catalogue)
        return catalogue.available

    checks = await services.checks.all(
        {
            "database": services.records.check,
            "catalogue": opened,
            "disk": partial(services.checks.disk, folders, optional),
        }
    )
    return checks, catalogue


def _catalogue(services: Services) -> CatalogueState:
    folder = services.catalog_folder
    if folder != services.settings.catalog_folder and not folder.is_dir():
        return CatalogueState(available=False)  # a folder named at the start that does not exist
    try:
        catalog = Catalog.open(folder)
    except (OSError, ValueError):  # damaged: analyses continue without identifying pins
        return CatalogueState(available=False)
    return CatalogueState(
        True, catalog.size, catalog.version, catalog.demonstration, catalog.outdated or None
    )


@blueprint.get("/metrics")
async def metrics() -> Response:
    return metrics_answer(current_services().metrics)


def metrics_answer(registry: prometheus_client.CollectorRegistry) -> Response:
    """Metrics in Prometheus' text format, without names of sessions or keys."""
    text = prometheus_client.generate_latest(registry)
    return Response(text, 200, {"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})


@blueprint.post("/api/mobile/confirm-pin")
async def confirm_pin() -> Response:
    services = current_services()
    owner = await authenticate(request.headers, services.records)
    fields = msgspec.structs.fields(PinConfirmation)
    sent = await BodyReader(request, services.settings, FEEDBACK_BYTES).whole()
    body = object_in(sent, *(field.encode_name for field in fields))
    number, pin_id, agreement, comment, *corrected = (body.get(field.encode_name) for field in fields)
    saved = await services.records.confirm(number, pin_id, agreement, comment, owner, *corrected)
    return json_answer(
        PinConfirmed(
            message="Feedback recorded",
            timestamp=timestamp(saved.confirmed_at),
            session_id=saved.session_id,
            record_number=saved.record_number,
            pin_id=saved.pin_id,
            user_agreement=Agreement(saved.user_agreement),
            feedback_comment=saved.feedback_comment,
            corrected_verdict=_unset_if_none(saved.corrected.verdict),
            corrected_pin_id=_unset_if_none(saved.corrected.pin_id),
            corrected_price=_unset_if_none(saved.corrected.price),
        )
    )


def _unset_if_none(value: T | None) -> T | msgspec.UnsetType:
    return msgspec.UNSET if value is None else value


@blueprint.get("/api/mobile/provisional-pins")
async def provisional_pins() -> Response:
    services = current_services()
    owner = await authenticate(request.headers, services.records)
    limit = number_of("limit")
    pins, total = await services.records.provisional(
        owner, PROVISIONAL_LIMIT if limit is None else limit, number_of("offset") or 0
    )
    listed = [
        ProvisionalPin(pin.pin_id, pin.record_number, pin.name, timestamp(pin.created_at)) for pin in pins
    ]
    return json_answer(ProvisionalPins(provisional_pins=listed, total=total, timestamp=timestamp()))


def value_of(name: str) -> str | None:
    """A value in the query that is no free text; None if it is not given or one of `MISSING_VALUES`, which
    clients put into URLs."""
    return none_if_missing(request.args.get(name))


def number_of(name: str) -> int | None:
    """A number in the query, None if it is not given. Raises `PinactorsError` (`invalid_format`)."""
    value = value_of(name)
    if value is None:
        return None
    number = whole_number(value)
    if number is None:
        raise invalid_field(name, f"it must be a whole number of at most {MOST_DIGITS} digits")
    return number


def text_of(name: str) -> str | None:
    """A text in the query, None if it is not given. Raises `PinactorsError` (`invalid_format`)."""
    value = request.args.get(name)
    if value:
        _check_text(name, value)
    return value or None


def _check_text(name: str, value: str) -> None:
    if not is_text(value):
        raise invalid_value(name, f"{name} contains characters that are not valid text")


def object_in(body: bytes, *used: str) -> dict[str, Any]:
    """Parses a small body as a JSON object. Characters that are not valid text are refused only in the fields
    named in `used`. Raises `PinactorsError` (`invalid_format`), naming such a field."""
    detail = "The body must be a JSON object"
    try:
        found = parse(body)
    except ValueError as error:
        found, detail = None, f"{detail}: {error}"
    if not isinstance(found, dict):
        raise PinactorsError(ErrorCode.INVALID_FORMAT, "Invalid request", detail)
    for name in used:
        if isinstance(found.get(name), str):
            _check_text(name, found[name])
    return found
