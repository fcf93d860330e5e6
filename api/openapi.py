"""The API described once, from the types it speaks: `/openapi.json`, and the same as a page at `/docs`."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata, resources
from typing import Any, get_args

import msgspec
from jinja2 import Environment
from markupsafe import Markup, escape
from quart import Blueprint, Response

from api.answers import Card, Failure, Health, PinConfirmed, ProvisionalPins
from api.page.pages import HEADERS
from api.streams.framings import JSON_TYPE, NDJSON_TYPE, SSE_TYPE
from api.uploads.fields import SESSION_FIELD, TEXT_FIELDS
from pinactors.protocol import AnyPacket
from pinactors.records.feedback import PinConfirmation

Json = dict[str, Any]

_PACKETS = get_args(AnyPacket)
_REFERENCE = "#/components/schemas/{name}"


def _content(*kinds: str, schema: Json | None = None) -> Json:
    return {kind: {"schema": schema} if schema else {} for kind in kinds}


def _parameter(name: str, where: str, description: str, *, required: bool = False, **schema: Any) -> Json:
    return {
        "name": name,
        "in": where,
        "required": required or where == "path",
        "description": description,
        "schema": {"type": "string"} | schema,
    }


def _failures(*statuses: int) -> Json:
    what = {
        400: "Malformed; the body names the field",
        401: "A key is needed",
        404: "Unknown, or another key's",
        405: "Method not allowed",
        409: "Cancelled",
        410: "Gone: its packets have expired",
        413: "Too large",
        415: "Unknown content type",
        422: "The same Idempotency-Key came with other photographs",
        429: "Too many uploads with this key; see Retry-After",
        500: "The server failed",
        503: "Overloaded or draining; see Retry-After",
    }
    schema = {"$ref": _REFERENCE.format(name="Failure")}
    return {
        str(status): {"description": what[status], "content": _content(JSON_TYPE, schema=schema)}
        for status in statuses
    }


_PACKET_LINES = {"$ref": _REFERENCE.format(name="Packet")}
_STREAM_ID = _parameter("streamId", "path", "From CONNECTION_ESTABLISHED")
_EVENT = {
    "type": "object",
    "description": "An event; its id is the offset behind it, for `Last-Event-ID`.",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": JSON_TYPE, "contentSchema": _PACKET_LINES},
    },
    "required": ["data"],
}
_FOLLOWED = _content(NDJSON_TYPE, schema=_PACKET_LINES) | _content(SSE_TYPE, schema=_EVENT)
_UPLOAD_ANSWER = {
    "description": "A line, or an event, for each packet the moment it exists; or one object for desktops. "
    "Who gets which is decided by `response`, then `Accept`, then `User-Agent`. Phones get the lines as "
    "`application/json`, which is why that type has no schema here.",
    "content": _content(JSON_TYPE) | _FOLLOWED,
}


def _upload_body() -> Json:
    text = {"type": ["string", "null"], "contentEncoding": "base64"}
    named = {SESSION_FIELD: {"type": ["string", "null"], "maxLength": 128}}
    parts = {f"{view}_image": {"type": "string", "format": "binary"} for view in TEXT_FIELDS.values()}
    required = [field for field, view in TEXT_FIELDS.items() if view == "front"]
    return {
        "required": True,
        "content": {
            JSON_TYPE: {
                "schema": {
                    "type": "object",
                    "required": required,
                    "properties": named | dict.fromkeys(TEXT_FIELDS, text),
                }
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {SESSION_FIELD: {"type": "string"}} | parts,
                    "required": ["front_image"],
                }
            },
        },
    }


def _upload() -> Json:
    return {
        "post": {
            "summary": "Analyse photographs of a pin",
            "description": "Photographs are JPEG, PNG, WebP, HEIC or AVIF. The same upload sent again joins "
            "the analysis under way and gets every packet from the first.",
            "parameters": [
                _parameter("response", "query", "Which answer", enum=["stream", "sse", "json"]),
                _parameter(
                    "Idempotency-Key", "header", "Joins uploads that carry the same one", maxLength=255
                ),
                _parameter("x-session-id", "header", "The session id, when the body names none"),
            ],
            "requestBody": _upload_body(),
            "responses": {"200": _UPLOAD_ANSWER} | _failures(400, 401, 409, 413, 415, 422, 429, 500, 503),
        }
    }


def _stream() -> Json:
    reading = {
        "summary": "Read a session's packets again, and follow them",
        "description": "The read side of the Durable Streams protocol: catch-up, long-poll and SSE.",
        "parameters": [
            _parameter("offset", "query", "-1 (from the start), now, or an offset from an earlier answer"),
            _parameter("live", "query", "How to wait for more", enum=["long-poll", "sse"]),
            _parameter("Last-Event-ID", "header", "Where an event reader stopped"),
        ],
        "responses": {
            "200": {
                "description": "Packets from the offset on",
                "headers": {
                    name: {"schema": {"type": "string"}}
                    for name in ("Stream-Next-Offset", "Stream-Up-To-Date", "Stream-Closed")
                },
                "content": _content(JSON_TYPE, schema={"type": "array", "items": _PACKET_LINES}) | _FOLLOWED,
            },
            "204": {"description": "A long-poll without news"},
            "304": {"description": "Nothing new since If-None-Match"},
        }
        | _failures(400, 401, 404, 410, 503),
    }
    return {
        "parameters": [_STREAM_ID],
        "get": reading,
        "delete": {
            "summary": "Cancel a session",
            "description": "Idempotent; every reader gets a terminal ERROR.",
            "responses": {"204": {"description": "It has ended"}} | _failures(401, 404, 410),
        },
    }


def _answer(name: str, description: str = "Done") -> Json:
    schema = {"$ref": _REFERENCE.format(name=name)}
    return {"200": {"description": description, "content": _content(JSON_TYPE, schema=schema)}}


def _feedback() -> Json:
    schema = {"$ref": _REFERENCE.format(name="PinConfirmation")}
    return {
        "post": {
            "summary": "Say whether an analysis is right",
            "requestBody": {"required": True, "content": _content(JSON_TYPE, schema=schema)},
            "responses": _answer("PinConfirmed") | _failures(400, 401, 404, 413, 503),
        }
    }


def _plain(summary: str, *kinds: str, parameters: list[Json] | None = None) -> Json:
    answer = {"200": {"description": "OK", "content": _content(*kinds)}}
    return {
        "get": {"summary": summary, "responses": answer} | ({"parameters": parameters} if parameters else {})
    }


def _paths() -> Json:
    provisional = _plain("Analyses without a confirmation yet", JSON_TYPE)
    provisional["get"]["responses"] = _answer("ProvisionalPins") | _failures(400, 401, 503)
    provisional["get"]["parameters"] = [
        _parameter("limit", "query", "At most so many", type="integer", minimum=0),
        _parameter("offset", "query", "Leave out so many", type="integer", minimum=0),
    ]
    picture = [
        _parameter("pinId", "path", "A candidate's pinId"),
        _parameter("view", "path", "front or back"),
    ]
    catalog = _plain("A catalogue picture", "image/*", parameters=picture)
    catalog["get"]["responses"] |= _failures(401, 404)
    health = _plain("Whether it works, and how busy it is", JSON_TYPE)
    health["get"]["responses"] = _answer("Health", "`status` says whether all of it works")
    card = _plain("The page, or the service's card", "text/html")
    card["get"]["responses"] = _answer("Card", "A browser gets the page, anything else the card")
    card["get"]["responses"]["200"]["content"] |= _content("text/html")
    return {
        "/mobile-upload": _upload(),
        "/streams/{streamId}": _stream(),
        "/api/mobile/confirm-pin": _feedback(),
        "/api/mobile/provisional-pins": provisional,
        "/catalog/{pinId}/{view}": catalog,
        "/health": health,
        "/metrics": _plain("Prometheus metrics", "text/plain"),
        "/": card,
        "/openapi.json": _plain("This description", JSON_TYPE),
        "/docs": _plain("This description as a page", "text/html"),
    }


_TAGS = {
    "Analyse": "Photographs in, packets out.",
    "Read again": "A session's packets from any place on, and its end.",
    "Feedback": "What people say about analyses.",
    "Operate": "How the service is, and what it looks like.",
}

_OPERATIONS = {
    "/mobile-upload": {"post": ("analyse", "Analyse")},
    "/streams/{streamId}": {"get": ("readStream", "Read again"), "delete": ("cancelStream", "Read again")},
    "/api/mobile/confirm-pin": {"post": ("confirmPin", "Feedback")},
    "/api/mobile/provisional-pins": {"get": ("provisionalPins", "Feedback")},
    "/catalog/{pinId}/{view}": {"get": ("catalogPicture", "Analyse")},
    "/health": {"get": ("health", "Operate")},
    "/metrics": {"get": ("metrics", "Operate")},
    "/": {"get": ("card", "Operate")},
    "/openapi.json": {"get": ("description", "Operate")},
    "/docs": {"get": ("documentation", "Operate")},
}


@cache
def description() -> Json:
    """The OpenAPI 3.1 document. Schemas come from the structs that are encoded and decoded."""
    types = [*_PACKETS, Failure, PinConfirmation, PinConfirmed, ProvisionalPins, Health, Card]
    paths = _paths()
    for path, name in _OPERATIONS.items():
        for method, (operation, tag) in name.items():
            paths[path][method] |= {"operationId": operation, "tags": [tag]}
    _, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schemas["Packet"] = {
        "description": "One line of a stream; `packetType` says which.",
        "oneOf": [{"$ref": _REFERENCE.format(name=packet.__name__)} for packet in _PACKETS],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pinactors",
            "version": metadata.version("pinactors"),
            "description": "Photographs of a trading pin in, each real result out the moment it exists. "
            "Also `/ws`, a WebSocket: a text frame naming the images, a binary frame for each, packets back.",
        },
        "tags": [{"name": tag, "description": meaning} for tag, meaning in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}, {"bearer": []}],
    }


blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
async def document() -> Response:
    return Response(_encoded(), 200, {"Content-Type": JSON_TYPE, "Cache-Control": "no-cache"})


@blueprint.get("/docs")
async def docs() -> Response:
    return Response(_page(), 200, HEADERS | {"Content-Type": "text/html; charset=utf-8"})


@cache
def _encoded() -> bytes:
    return msgspec.json.format(msgspec.json.encode(description()), indent=1)


@cache
def _page() -> str:
    source = resources.files("api.page").joinpath("templates", "docs.html").read_text("utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["marked"] = _marked
    return environment.from_string(source).render(api=description())


def _marked(text: str | None) -> Markup:
    """Text whose `words` in backquotes are code."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", escape(text or "")))
