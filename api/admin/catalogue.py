"""The catalogue for an operator: searches pins and returns all fields of a row of pins.csv."""

from __future__ import annotations

from pathlib import Path

import trio
from quart import Response, request

from pinactors.analysis.model import CatalogPin
from pinactors.api.admin.access import admin_blueprint
from pinactors.api.admin.answers import AdminPin, AdminPins
from pinactors.api.operations import json_answer, number_of, text_of
from pinactors.api.page.catalogue import SEARCH_CHARACTERS
from pinactors.api.services import current_services
from pinactors.catalog.reader import Catalog
from pinactors.protocol import ErrorCode, PinactorsError, View, invalid_field

PINS_A_PAGE = 30

blueprint = admin_blueprint("admin_catalogue", __name__)


@blueprint.get("/pins")
async def pins() -> Response:
    """Pins whose id, name, characters, series or code contain `search`, without the first `offset`."""
    services = current_services()
    text, offset = (text_of("search") or "").strip(), number_of("offset") or 0
    if len(text) > SEARCH_CHARACTERS:
        raise invalid_field("search", f"it must have at most {SEARCH_CHARACTERS} characters")
    found = await trio.to_thread.run_sync(
        _search, services.catalog_folder, text, offset, limiter=services.disk
    )
    return json_answer(AdminPins(found[:PINS_A_PAGE], len(found) > PINS_A_PAGE))


@blueprint.get("/pin")
async def pin() -> Response:
    """The pin whose id is `id`."""
    services = current_services()
    name = request.args.get("id", "")
    found = await trio.to_thread.run_sync(_find_pin, services.catalog_folder, name, limiter=services.disk)
    if found is None:
        raise PinactorsError(ErrorCode.NOT_FOUND, "Not found", "The catalogue has no pin with this id")
    return json_answer(found)


def _search(folder: Path, text: str, offset: int) -> list[AdminPin]:
    catalog = Catalog.open(folder)
    with catalog.connected:
        return [_admin_pin(catalog, pin) for pin in catalog.pins(text, PINS_A_PAGE + 1, offset)]


def _find_pin(folder: Path, pin_id: str) -> AdminPin | None:
    catalog = Catalog.open(folder)
    found = catalog.pin(pin_id)
    return None if found is None else _admin_pin(catalog, found)


def _admin_pin(catalog: Catalog, pin: CatalogPin) -> AdminPin:
    return AdminPin(
        pin.pin_id,
        pin.name,
        list(pin.characters),
        pin.series,
        pin.year,
        pin.edition_size,
        pin.brand,
        pin.factory_code,
        [view for view in (View.FRONT, View.BACK) if catalog.picture(pin.pin_id, view) is not None],
        len(catalog.sales(pin.pin_id)),
    )
