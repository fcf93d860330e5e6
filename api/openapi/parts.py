"""Helpers for descriptions of requests: media types, parameters, answers, errors."""

from __future__ import annotations

from typing import Any, Literal

from pinactors.api.openapi.schemas import ANALYSIS, Json, reference
from pinactors.api.streams.framings import JSON_TYPE, NDJSON_TYPE, SSE_TYPE
from pinactors.api.uploads.resumable.draft_headers import PROBLEM_TYPE

Service = Literal["master", "proxy"]

HTML_TYPE = "text/html"

TAGS = {
    "Analyse": "Photographs in, packets out.",
    "Resume": "Uploads that continue after a connection broke.",
    "Read again": "A session's packets from any place on, and its end.",
    "Events": "What the service sends to webhooks.",
    "Feedback": "What people say about analyses.",
    "Operate": "Health, metrics, the page and this description.",
}

_STATUSES = {
    400: "Malformed; the body names the field, as it was sent",
    401: "A key is needed: `unauthorized`",
    404: "Unknown, or another key's",
    409: "The upload was broken off or cancelled, or its offset is another one",
    410: "Gone: it has expired",
    412: "Another version of tus",
    413: "Too large",
    415: "Unknown content type",
    422: "The same Idempotency-Key came with other photographs: `session_conflict`",
    429: "Too many requests; `Retry-After` says when to come back",
    460: "The content does not match the checksum",
    500: "The server failed: `processing_error`",
    503: "Overloaded, draining or out of storage: `overloaded`; `Retry-After` says when to come back",
}
RETRY = {
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
WHO = {
    "WWW-Authenticate": {"description": "How to say who you are.", "schema": {"type": "string"}},
}


def content(*kinds: str, schema: Json | None = None) -> Json:
    return {kind: {"schema": schema} if schema else {} for kind in kinds}


def parameter(name: str, where: str, description: str, *, required: bool = False, **schema: Any) -> Json:
    return {
        "name": name,
        "in": where,
        "required": where == "path" or required,
        "description": description,
        "schema": {"type": "string"} | schema,
    }


def headers(described: dict[str, str]) -> Json:
    """Descriptions of an answer's header fields, by name."""
    return {
        name: {"description": f"{text}.", "schema": {"type": "string"}} for name, text in described.items()
    }


def failures(*statuses: int, problem: bool = False) -> Json:
    kinds = (JSON_TYPE, PROBLEM_TYPE) if problem else (JSON_TYPE,)
    return {
        str(status): {
            "description": _STATUSES[status],
            "content": content(*kinds, schema=reference("Failure")),
        }
        | ({"headers": RETRY} if status in (429, 503) else {})
        | ({"headers": WHO} if status == 401 else {})
        for status in statuses
    }


def answer(name: str, description: str = "Done") -> Json:
    return {"200": {"description": description, "content": content(JSON_TYPE, schema=reference(name))}}


def operation(
    operation_id: str,
    tag: str,
    summary: str,
    responses: Json,
    description: str = "",
    *,
    parameters: list[Json] | None = None,
    body: Json | None = None,
    example: str = "",
) -> Json:
    operation: Json = {"operationId": operation_id, "tags": [tag], "summary": summary}
    operation["description"] = description or f"{summary}."
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = body
    if example:
        operation["x-codeSamples"] = [{"lang": "Shell", "source": example}]
    return operation | {"responses": responses}


def get(
    operation_id: str, tag: str, summary: str, responses: Json, *, parameters: list[Json] | None = None
) -> Json:
    return {"get": operation(operation_id, tag, summary, responses, parameters=parameters)}


def plain(*kinds: str) -> Json:
    return {"200": {"description": "OK", "content": content(*kinds)}}


STREAM_ID = parameter(
    "streamId",
    "path",
    "From `CONNECTION_ESTABLISHED`",
    minLength=16,
    maxLength=64,
    pattern="^[A-Za-z0-9_-]+$",
)
UPLOAD_ID = parameter("uploadId", "path", "From the `Location` of the upload", minLength=1, maxLength=64)
VIEW = parameter("view", "path", "front, back or angled")
WHOLE_NUMBER: Json = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
LIMIT = parameter("limit", "query", "Return at most this many (never more than 200)", **WHOLE_NUMBER)
ANALYSIS_OR_FAILURE: Json = {"oneOf": [reference(ANALYSIS), reference("Failure")]}
_EVENT = {
    "type": "object",
    "description": "A packet as an event. Its id, the offset after the packet, is for `Last-Event-ID`.",
    "properties": {
        "data": {
            "type": "string",
            "description": "The packet.",
            "contentMediaType": JSON_TYPE,
            "contentSchema": reference("Packet"),
        },
        "id": {"type": "string", "description": "The offset after the packet."},
        "event": {"type": "string", "description": "`data` and `control`, if `live=sse` was asked for."},
    },
    "required": ["data"],
}


def streams(version: str) -> Json:
    """The media types of a stream; OpenAPI 3.2 can describe each item of a stream."""
    if version == "3.2":
        return {NDJSON_TYPE: {"itemSchema": reference("Packet")}, SSE_TYPE: {"itemSchema": _EVENT}}
    lines = {"type": "string", "description": "One `Packet` in JSON per line; blank lines are keep-alives."}
    events = {"type": "string", "description": "One `Packet` per event; comments are keep-alives."}
    return content(NDJSON_TYPE, schema=lines) | content(SSE_TYPE, schema=events)
