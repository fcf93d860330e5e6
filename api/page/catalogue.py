"""Routes of the catalogue for the page: pictures of pins, search by name, the example photographs."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response, request

from pinactors.api.answers import FoundPin, FoundPins
from pinactors.api.auth import authenticate
from pinactors.api.operations import text_of
from pinactors.api.services import current_services
from pinactors.catalog import demo
from pinactors.catalog.reader import Catalog, is_demonstration
from pinactors.protocol import ErrorCode, PinactorsError, View

MAX_FOUND = 20
"""Most pins in the answer to a search."""

SEARCH_CHARACTERS = 100

EXAMPLE_SEED = 3
"""Seed for drawing the example: photographs of the demonstration's first pin."""

_examples: dict[View, bytes] = {}

blueprint = Blueprint("page_catalogue", __name__)


async def in_worker(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `function` in a worker, after all waiting jobs of analyses."""
    async with current_services().compute.session("page", lambda: (math.inf,), lambda: 0.0) as jobs:
        return await jobs.run(function, *arguments)


def _absent(detail: str) -> PinactorsError:
    return PinactorsError(ErrorCode.NOT_FOUND, "Not found", detail, status=404)


def picture(content: bytes, kind: str, cache: str) -> Response:
    headers = {"Content-Type": kind, "Cache-Control": cache, "X-Content-Type-Options": "nosniff"}
    return Response(content, 200, headers)


@blueprint.get("/catalog/<path:pin_id>/<view>")
async def catalog_picture(pin_id: str, view: str) -> Response:
    """The catalogue's picture of a pin, of bounded size; 404 if there is none."""
    services = current_services()
    await authenticate(request.headers, services.records)
    found = None
    if view in (View.FRONT, View.BACK):
        found = await trio.to_thread.run_sync(
            _picture, services.catalog_folder, pin_id, View(view), limiter=services.disk
        )
    if found is None:
        raise _absent("The catalogue has no such picture")
    return picture(*found, "private, max-age=3600")


def _picture(folder: Path, pin_id: str, view: View) -> tuple[bytes, str] | None:
    path = Catalog.open(folder).picture(pin_id, view)
    if path is None:
        return None
    return path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"


@blueprint.get("/catalog")
async def search() -> Response:
    """Pins whose id, name, characters, series or code contain `search`."""
    services = current_services()
    await authenticate(request.headers, services.records)
    text = (text_of("search") or "").strip()
    if not text or len(text) > SEARCH_CHARACTERS:
        raise PinactorsError(
            ErrorCode.INVALID_FORMAT,
            "Invalid search",
            f"search must have 1 to {SEARCH_CHARACTERS} characters",
            field="search",
        )
    pins = await trio.to_thread.run_sync(_search, services.catalog_folder, text, limiter=services.disk)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(FoundPins(pins)), 200, headers)


def _search(folder: Path, text: str) -> list[FoundPin]:
    return [
        FoundPin(pin.pin_id, pin.name, ", ".join(pin.characters), pin.series, pin.year)
        for pin in Catalog.open(folder).pins(text, MAX_FOUND)
    ]


@blueprint.get("/example/<view>")
async def example(view: str) -> Response:
    """A photograph of a demonstration pin, drawn once; 404 if the catalogue is not the demonstration."""
    services = current_services()
    drawn = await trio.to_thread.run_sync(is_demonstration, services.catalog_folder, limiter=services.disk)
    if view not in tuple(View) or not drawn:
        raise _absent("There is an example only if the catalogue is the demonstration")
    wanted = View(view)
    if wanted not in _examples:
        _examples[wanted] = await in_worker(demo.photograph, demo.DESIGNS[0], wanted, EXAMPLE_SEED)
    return picture(_examples[wanted], "image/jpeg", "public, max-age=86400")
