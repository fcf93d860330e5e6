"""Descriptions of uploads: in one request, resumable by the IETF draft, and tus."""

from __future__ import annotations

from pinactors.api.openapi.fields import meaning
from pinactors.api.openapi.parts import (
    ANALYSIS_OR_FAILURE,
    Service,
    content,
    failures,
    operation,
    parameter,
    streams,
)
from pinactors.api.openapi.resuming import UPLOAD_FAILURES, resumed, tus, tus_created
from pinactors.api.openapi.schemas import Json
from pinactors.api.streams.framings import JSON_TYPE
from pinactors.api.uploads.fields import (
    BINARY_FIELDS,
    REGION_FIELDS,
    SESSION_FIELD,
    TEXT_FIELDS,
    WEBHOOK_FIELD,
)
from pinactors.api.uploads.mobile_upload import MULTIPART_TYPE
from pinactors.webhooks.addresses import URL_LIMIT


def _upload_body() -> Json:
    text = {"type": ["string", "null"], "contentEncoding": "base64"}
    session = {
        "type": ["string", "null"],
        "maxLength": 128,
        "description": "The client's name for the session; the server makes one if there is none.",
    }
    photograph = "The {} view, as base64, with or without a `data:` URL's head."
    file = "The {} view: JPEG, PNG, WebP, HEIC or AVIF."
    texts = {field: text | {"description": photograph.format(view)} for field, view in TEXT_FIELDS.items()}
    texts["frontImageData"]["type"] = "string"
    where = "Where the pin is in the {} view, best sent before it: x, y, width, height as shares of it."
    regions = {
        field: {
            "type": ["array", "null"],
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 4,
            "maxItems": 4,
            "description": where.format(view),
        }
        for field, view in REGION_FIELDS.items()
    }
    written = {
        field: {"type": "string", "description": f"{where.format(view)[:-1]}, separated by commas."}
        for field, view in REGION_FIELDS.items()
    }
    webhook = {
        "type": ["string", "null"],
        "maxLength": URL_LIMIT,
        "pattern": "^https://",
        "description": "Where the session's events are sent (see `webhooks`), signed with the key's secret.",
    }
    parts = {
        field: {"type": "string", "format": "binary", "description": file.format(view)}
        for field, view in BINARY_FIELDS.items()
    }
    return {
        "required": True,
        "content": {
            JSON_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["frontImageData"],
                    "properties": {SESSION_FIELD: session, WEBHOOK_FIELD: webhook} | regions | texts,
                }
            },
            MULTIPART_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["front_image"],
                    "properties": {
                        SESSION_FIELD: session | {"type": "string"},
                        WEBHOOK_FIELD: webhook | {"type": "string"},
                    }
                    | written
                    | parts,
                }
            },
        },
    }


_UPLOADING = [
    parameter("response", "query", "Which answer, whoever asks", enum=["stream", "sse", "json"]),
    parameter(
        "Idempotency-Key",
        "header",
        "Joins uploads that carry the same one",
        minLength=1,
        maxLength=255,
        pattern="^[!-~]+$",
    ),
    parameter("x-session-id", "header", "The session id, when the body names none", maxLength=128),
    parameter("Prefer", "header", "`respond-async`: get the stream's URL immediately (202)", maxLength=200),
]
WHOLE = "The answer that the whole upload would have got in one request."
_DRAFT = (
    "The upload can be resumable, by draft-ietf-httpbis-resumable-upload (interop versions 3, 5, 6 and 8). A "
    "request with `Upload-Complete: ?0` creates an upload. Its answer is 201 with the upload's `Location`, "
    "to which `PATCH` sends the rest. A request with `Upload-Complete: ?1` and an "
    "`Upload-Draft-Interop-Version` gets the `Location` in a 104 before its answer."
)


def _upload(version: str, operation_id: str, who: str) -> Json:
    return {
        "post": operation(
            operation_id,
            "Analyse",
            "Analyse photographs of a pin",
            _whole(version, who) | failures(*UPLOAD_FAILURES, problem=True),
            "Photographs are JPEG, PNG, WebP, HEIC or AVIF. The same upload sent again joins the analysis "
            f"under way and gets every packet from the first. {_DRAFT}",
            parameters=_UPLOADING,
            body=_upload_body(),
            example="curl -F front_image=@front.jpg '{server}/mobile-upload?response=json'",
        )
    }


def _whole(version: str, who: str) -> Json:
    """The answers to a request that completes an upload."""
    return {
        "200": {
            "description": f"{who} With `response=json` it is always one object, whose "
            "`success` says whether it worked: an answer that takes longer than eight seconds begins "
            "with 200 and white space.",
            "content": content(JSON_TYPE, schema=ANALYSIS_OR_FAILURE) | streams(version),
        },
        "202": {
            "description": "The analysis goes on; its packets are read at `Location`",
            "content": content(JSON_TYPE, schema=_ACCEPTED),
        },
    }


_ACCEPTED: Json = {
    "type": "object",
    "properties": {
        "success": {"type": "boolean", "description": "Whether the request succeeded."},
        "message": {"type": "string", "description": "What happened, for a person."},
        "sessionId": {"type": "string", "description": "The client's name for the session."},
        **{
            name: {"type": "string", "description": meaning("ConnectionEstablished", name)}
            for name in ("streamId", "streamUrl", "cancelUrl", "statusUrl")
        },
    },
    "required": ["success", "message", "sessionId", "streamId", "streamUrl", "cancelUrl", "statusUrl"],
}


def upload_paths(service: Service, version: str) -> Json:
    """The paths that receive photographs."""
    by_agent = (
        "Phones get a line for each packet the moment it exists, by User-Agent, as `application/json`; "
        "anything else gets one object. `response`, then `Accept`, decide otherwise."
    )
    found: Json = {
        "/mobile-upload": _upload(version, "analyse", by_agent),
        "/mobile-upload/{uploadId}": resumed("upload", _whole(version, WHOLE)),
        "/uploads": tus_created(),
        "/uploads/{uploadId}": tus(),
    }
    if service == "proxy":
        asked = "One object, whoever asks; a stream if `response` or `Accept` asks for one."
        found["/api/proxy/mobile-upload"] = _upload(version, "analyseAsObject", asked)
        found["/api/proxy/mobile-upload/{uploadId}"] = resumed("uploadAsObject", _whole(version, WHOLE))
    return found
