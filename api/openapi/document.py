"""Builds and serves the description: `/openapi.json`, `/openapi-3.2.json`, and `/docs` as a page.

Each is made once, at its first request, in a thread: that takes longer than a step of the event loop may.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec
import trio
from markupsafe import Markup, escape
from quart import Blueprint, Response

from pinactors import __version__
from pinactors.api.openapi.operations import paths, webhooks
from pinactors.api.openapi.parts import TAGS, Service
from pinactors.api.openapi.schemas import Json, schemas
from pinactors.api.page.pages import HEADERS, template
from pinactors.api.streams.framings import JSON_TYPE

Version = Literal["3.1", "3.2"]

SERVER = "http://localhost:8080"
"""The server's address in the examples; the page replaces it by its own address."""

_NUMBERS: dict[Version, str] = {"3.1": "3.1.0", "3.2": "3.2.0"}
_TITLES: dict[Service, str] = {"master": "pinactors", "proxy": "pinactors proxy"}
_OWN: dict[Service, frozenset[str]] = {
    "master": frozenset({"MasterState", "ProxyHealth"}),
    "proxy": frozenset({"Health", "CatalogueState", "DatabaseState", "StorageState"}),
}
"""Schemas of the other service, which are left out of each service's document."""


@cache
def description(service: Service = "master", version: Version = "3.1") -> Json:
    """The OpenAPI document of `service`."""
    return {
        "openapi": _NUMBERS[version],
        "info": {
            "title": _TITLES[service],
            "version": __version__,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
            "description": "A client sends photographs of a trading pin, and gets each result as soon as it "
            "exists. The WebSocket `/ws` does the same: the client sends a text frame that names the images "
            "and a binary frame for each; the server sends one text frame per packet.",
        },
        "servers": [{"url": "/", "description": "The server this description came from"}],
        "tags": [{"name": tag, "description": meaning} for tag, meaning in TAGS.items()],
        "paths": paths(service, version),
        "webhooks": webhooks(),
        "components": {
            "schemas": {name: made for name, made in schemas().items() if name not in _OWN[service]},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}, {"bearer": []}],
    }


def blueprint_of(service: Service) -> Blueprint:
    """The routes that serve the description of `service`."""
    blueprint = Blueprint(f"description of the {service}", __name__)

    @blueprint.get("/openapi.json")
    async def document() -> Response:
        return await _json(service, "3.1")

    @blueprint.get("/openapi-3.2.json")
    async def document_with_items() -> Response:
        return await _json(service, "3.2")

    @blueprint.get("/docs")
    async def docs() -> Response:
        page = await trio.to_thread.run_sync(_page, service)
        return Response(page, 200, HEADERS | {"Content-Type": "text/html; charset=utf-8"})

    return blueprint


async def _json(service: Service, version: Version) -> Response:
    headers = {"Content-Type": JSON_TYPE, "Cache-Control": "no-cache"}
    return Response(await trio.to_thread.run_sync(_encoded, service, version), 200, headers)


@cache
def _encoded(service: Service, version: Version) -> bytes:
    return msgspec.json.format(msgspec.json.encode(description(service, version)), indent=1)


@cache
def _page(service: Service) -> str:
    api = description(service)
    return template("docs.html", marked=_marked).render(
        api=api, server=SERVER, version=api["info"]["version"]
    )


def _marked(text: str | None) -> Markup:
    """Escaped HTML in which `words` in backquotes are code."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(text or ""))))
