"""Descriptions of the requests: parameters, bodies and all possible answers."""

from __future__ import annotations

from pinactors.api.openapi.parts import (
    HTML_TYPE,
    LIMIT,
    RETRY,
    VIEW,
    WHOLE_NUMBER,
    Service,
    answer,
    content,
    failures,
    get,
    operation,
    parameter,
    plain,
)
from pinactors.api.openapi.reading import reading_paths
from pinactors.api.openapi.schemas import Json, reference
from pinactors.api.openapi.uploads import upload_paths
from pinactors.api.streams.framings import JSON_TYPE
from pinactors.records.tokens import MAX_SECONDS, MIN_SECONDS


def _feedback() -> Json:
    return {
        "post": operation(
            "confirmPin",
            "Feedback",
            "Say whether an analysis is right",
            answer("PinConfirmed") | failures(400, 401, 404, 413, 503),
            body={"required": True, "content": content(JSON_TYPE, schema=reference("PinConfirmation"))},
        )
    }


def _provisional() -> Json:
    parameters = [LIMIT, parameter("offset", "query", "Skip this many", **WHOLE_NUMBER)]
    return get(
        "provisionalPins",
        "Feedback",
        "Analyses without a confirmation yet",
        answer("ProvisionalPins") | failures(400, 401, 503),
        parameters=parameters,
    )


def _tokens() -> Json:
    schema = {
        "type": "object",
        "properties": {
            "seconds": {
                "type": ["integer", "null"],
                "minimum": MIN_SECONDS,
                "maximum": MAX_SECONDS,
                "description": "How long it lasts; ten minutes by default.",
            },
            "streamId": {
                "type": ["string", "null"],
                "maxLength": 64,
                "description": "The one stream it is for; without it, the token is for uploads.",
            },
        },
    }
    return {
        "post": operation(
            "makeToken",
            "Analyse",
            "Make a short-lived token of a key",
            answer("TokenMade") | failures(400, 401, 404, 413, 429, 503),
            "A key inside an app leaks. A token is sent like a key, and is good for uploads (and for reading "
            "and cancelling their streams) or for one stream. A revoked key ends its tokens.",
            body={"required": False, "content": {JSON_TYPE: {"schema": schema, "example": {"seconds": 600}}}},
        )
    }


def webhooks() -> Json:
    """Requests that the service sends to the URLs of webhooks."""
    signed = {
        "webhook-id": "The same for every repetition of an event",
        "webhook-timestamp": "When it was sent, in seconds since 1970",
        "webhook-signature": "`v1,` and an HMAC-SHA256 in base64 (Standard Webhooks)",
    }
    told = operation(
        "event",
        "Events",
        "A session has a result, or has ended",
        {
            "2XX": {
                "description": "It was accepted; after any other answer it is sent again, with longer pauses"
            }
        },
        "`result.<component>` as results come, then `session.completed` or `session.failed`: signed, at "
        "least once, in the order of the stream. 410 ends the events of that session.",
        parameters=[parameter(name, "header", text, required=True) for name, text in signed.items()],
        body={"required": True, "content": content(JSON_TYPE, schema=reference("Event"))},
    )
    return {"event": {"post": told}}


def _health(service: Service) -> Json:
    name = "ProxyHealth" if service == "proxy" else "Health"
    responses = answer(name, "`status` says whether everything works")
    if service == "proxy":
        responses |= {
            "503": {"description": "No master is up", "content": content(JSON_TYPE, schema=reference(name))}
        }
    return responses


def paths(service: Service, version: str) -> Json:
    """All paths of `service`, in the form of OpenAPI `version`."""
    picture = [
        parameter("pinId", "path", "A candidate's pinId", minLength=1, maxLength=64),
        parameter("view", "path", "Which side", enum=["front", "back"]),
    ]
    ready = answer("Readiness", "Uploads may be sent here") | {
        "503": {
            "description": "Not now",
            "content": content(JSON_TYPE, schema=reference("Readiness")),
            "headers": RETRY,
        }
    }
    card = answer("Card", "A browser gets the page, anything else the card")
    card["200"]["content"] |= content(HTML_TYPE)
    found = upload_paths(service, version) | reading_paths(version)
    if service == "proxy":
        found["/api/proxy/health"] = get(
            "proxyHealth", "Operate", "Whether the masters work", _health("proxy")
        )
    return found | {
        "/tokens": _tokens(),
        "/api/mobile/confirm-pin": _feedback(),
        "/api/mobile/provisional-pins": _provisional(),
        "/catalog": get(
            "searchCatalogue",
            "Analyse",
            "Pins of the catalogue by name",
            answer("FoundPins") | failures(400, 401),
            parameters=[
                parameter(
                    "search", "query", "In id, name, characters, series or code", minLength=1, maxLength=100
                )
            ],
        ),
        "/example/{view}": get(
            "example",
            "Analyse",
            "A photograph of the demonstration",
            plain("image/jpeg") | failures(404, 503),
            parameters=[VIEW],
        ),
        "/catalog/{pinId}/{view}": get(
            "catalogPicture",
            "Analyse",
            "A catalogue picture",
            plain("image/*") | failures(401, 404),
            parameters=picture,
        ),
        "/health": get("health", "Operate", "Whether it works, and how busy it is", _health(service)),
        "/livez": get("alive", "Operate", "Whether the process answers", answer("Liveness")),
        "/readyz": get("ready", "Operate", "Whether uploads should be sent here", ready),
        "/metrics": get("metrics", "Operate", "Prometheus metrics", plain("text/plain")),
        "/": get("card", "Operate", "The page, or the service's card", card),
        "/openapi.json": get("description", "Operate", "This description, as OpenAPI 3.1", plain(JSON_TYPE)),
        "/openapi-3.2.json": get(
            "descriptionWithItems", "Operate", "This description, as OpenAPI 3.2", plain(JSON_TYPE)
        ),
        "/docs": get("documentation", "Operate", "This description as a page", plain(HTML_TYPE)),
    }
