"""The requests: what each takes, and each answer it may give."""

from __future__ import annotations

from typing import Any, Literal

from pinactors.api.openapi.schemas import ANALYSIS, Json, reference
from pinactors.api.streams.framings import JSON_TYPE, NDJSON_TYPE, SSE_TYPE
from pinactors.api.uploads.fields import BINARY_FIELDS, REGION_FIELDS, SESSION_FIELD, TEXT_FIELDS

Service = Literal["master", "proxy"]

HTML_TYPE, MULTIPART_TYPE, PARTIAL_TYPE = "text/html", "multipart/form-data", "application/partial-upload"
PROBLEM_TYPE = "application/problem+json"
VERDICTS = ["authentic", "counterfeit", "undetermined", "not_a_pin", "error"]

TAGS = {
    "Analyse": "Photographs in, packets out.",
    "Read again": "A session's packets from any place on, and its end.",
    "Feedback": "What people say about analyses.",
    "Operate": "How the service is, and what it looks like.",
}

_STATUSES = {
    400: "Malformed; the body names the field, as it was sent",
    401: "A key is needed: `unauthorized`",
    404: "Unknown, or another key's",
    409: "The upload was broken off or cancelled, or its offset is another one",
    410: "Gone: it has expired",
    413: "Too large",
    415: "Unknown content type",
    422: "The same Idempotency-Key came with other photographs: `session_conflict`",
    429: "Too many requests; `Retry-After` says when to come back",
    500: "The server failed: `processing_error`",
    503: "Overloaded, draining or out of storage: `overloaded`; `Retry-After` says when to come back",
}
_RETRY = {
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_WHO = {
    "WWW-Authenticate": {"description": "How to say who you are.", "schema": {"type": "string"}},
}


def _content(*kinds: str, schema: Json | None = None) -> Json:
    return {kind: {"schema": schema} if schema else {} for kind in kinds}


def _parameter(name: str, where: str, description: str, **schema: Any) -> Json:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": description,
        "schema": {"type": "string"} | schema,
    }


def _failures(*statuses: int, problem: bool = False) -> Json:
    kinds = (JSON_TYPE, PROBLEM_TYPE) if problem else (JSON_TYPE,)
    return {
        str(status): {
            "description": _STATUSES[status],
            "content": _content(*kinds, schema=reference("Failure")),
        }
        | ({"headers": _RETRY} if status in (429, 503) else {})
        | ({"headers": _WHO} if status == 401 else {})
        for status in statuses
    }


def _answer(name: str, description: str = "Done") -> Json:
    return {"200": {"description": description, "content": _content(JSON_TYPE, schema=reference(name))}}


def _operation(
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


_STREAM_ID = _parameter(
    "streamId",
    "path",
    "From `CONNECTION_ESTABLISHED`",
    minLength=16,
    maxLength=64,
    pattern="^[A-Za-z0-9_-]+$",
)
_UPLOAD_ID = _parameter("uploadId", "path", "From the `Location` of the upload", minLength=1, maxLength=64)
_EVENT = {
    "type": "object",
    "description": "A packet as an event. Its id, the offset behind the packet, is for `Last-Event-ID`.",
    "properties": {
        "data": {
            "type": "string",
            "description": "The packet.",
            "contentMediaType": JSON_TYPE,
            "contentSchema": reference("Packet"),
        },
        "id": {"type": "string", "description": "The offset behind the packet."},
        "event": {"type": "string", "description": "`data` and `control`, where `live=sse` was asked for."},
    },
    "required": ["data"],
}


def _streams(version: str) -> Json:
    """The media types of a stream; OpenAPI 3.2 can say what each item of one is."""
    if version == "3.2":
        return {NDJSON_TYPE: {"itemSchema": reference("Packet")}, SSE_TYPE: {"itemSchema": _EVENT}}
    lines = {"type": "string", "description": "A `Packet` in JSON a line; blank lines are signs of life."}
    events = {"type": "string", "description": "A `Packet` an event; comments are signs of life."}
    return _content(NDJSON_TYPE, schema=lines) | _content(SSE_TYPE, schema=events)


def _upload_body() -> Json:
    text = {"type": ["string", "null"], "contentEncoding": "base64"}
    session = {
        "type": ["string", "null"],
        "maxLength": 128,
        "description": "The client's name for the session; the server makes one where there is none.",
    }
    photograph = "The {} view, as base64, with or without a `data:` URL's head."
    file = "The {} view: JPEG, PNG, WebP, HEIC or AVIF."
    texts = {field: text | {"description": photograph.format(view)} for field, view in TEXT_FIELDS.items()}
    texts["frontImageData"]["type"] = "string"
    where = "Where the pin is in the {} view, sent before it: x, y, width, height as shares of the picture."
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
                    "properties": {SESSION_FIELD: session} | regions | texts,
                }
            },
            MULTIPART_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["front_image"],
                    "properties": {SESSION_FIELD: session | {"type": "string"}} | written | parts,
                }
            },
        },
    }


_UPLOADING = [
    _parameter("response", "query", "Which answer, whoever asks", enum=["stream", "sse", "json"]),
    _parameter(
        "Idempotency-Key",
        "header",
        "Joins uploads that carry the same one",
        minLength=1,
        maxLength=255,
        pattern="^[!-~]+$",
    ),
    _parameter("x-session-id", "header", "The session id, when the body names none", maxLength=128),
    _parameter(
        "Prefer", "header", "`respond-async`: be told the stream's address at once (202)", maxLength=200
    ),
]
_UPLOAD_FAILURES = (400, 401, 409, 413, 415, 422, 429, 500, 503)


def _upload(version: str, operation_id: str, who: str) -> Json:
    object_or_failure = {"oneOf": [reference(ANALYSIS), reference("Failure")]}
    return {
        "post": _operation(
            operation_id,
            "Analyse",
            "Analyse photographs of a pin",
            {
                "200": {
                    "description": f"{who} With `response=json` it is always one object, whose "
                    "`success` says whether it worked: what takes longer than eight seconds begins with 200 "
                    "and white space.",
                    "content": _content(JSON_TYPE, schema=object_or_failure) | _streams(version),
                },
                "202": {
                    "description": "The analysis goes on; its packets are read at `Location`",
                    "content": _content(JSON_TYPE, schema=_ACCEPTED),
                },
            }
            | _failures(*_UPLOAD_FAILURES, problem=True),
            "Photographs are JPEG, PNG, WebP, HEIC or AVIF. The same upload sent again joins the analysis "
            "under way and gets every packet from the first.",
            parameters=_UPLOADING,
            body=_upload_body(),
            example="curl -F front_image=@front.jpg '{server}/mobile-upload?response=json'",
        )
    }


_ACCEPTED: Json = {
    "type": "object",
    "properties": {
        "success": {"type": "boolean", "description": "Whether the request did what it should."},
        "message": {"type": "string", "description": "What happened, for a person."},
        "sessionId": {"type": "string", "description": "The client's name for the session."},
        "streamId": {"type": "string", "description": "The name of the stream."},
    },
    "required": ["success", "message", "sessionId", "streamId"],
}


def _stream(version: str) -> Json:
    headers = {
        "Stream-Next-Offset": "The offset to read on from",
        "Stream-Up-To-Date": "`true` where there is nothing more for now",
        "Stream-Closed": "`true` where nothing more will come",
    }
    described = {
        name: {"description": f"{text}.", "schema": {"type": "string"}} for name, text in headers.items()
    }
    batch = {"type": "array", "items": reference("Packet")}
    responses: Json = {
        "200": {
            "description": "Packets from the offset on",
            "headers": described,
            "content": _content(JSON_TYPE, schema=batch) | _streams(version),
        },
        "204": {"description": "A long-poll without news", "headers": described},
        "304": {"description": "Nothing new since `If-None-Match`"},
    }
    parameters = [
        _parameter(
            "offset",
            "query",
            "`-1` (from the start), `now`, or an offset from an earlier answer",
            pattern="^(-1|now|[0-9]{16})$",
        ),
        _parameter("live", "query", "How to wait for more", enum=["long-poll", "sse"]),
        _parameter("Last-Event-ID", "header", "Where an event reader stopped", pattern="^([0-9]{16})?$"),
    ]
    return {
        "parameters": [_STREAM_ID],
        "get": _operation(
            "readStream",
            "Read again",
            "Read a session's packets again, and follow them",
            responses | _failures(400, 401, 404, 410, 429, 503),
            "The read side of the Durable Streams protocol: catch-up, long-poll and SSE.",
            parameters=parameters,
        ),
        "delete": _operation(
            "cancelStream",
            "Read again",
            "Cancel a session",
            {"204": {"description": "It has ended"}} | _failures(401, 404, 410, 503),
            "Idempotent; every reader gets a terminal ERROR.",
        ),
    }


def _feedback() -> Json:
    return {
        "post": _operation(
            "confirmPin",
            "Feedback",
            "Say whether an analysis is right",
            _answer("PinConfirmed") | _failures(400, 401, 404, 413, 503),
            body={"required": True, "content": _content(JSON_TYPE, schema=reference("PinConfirmation"))},
        )
    }


def _get(
    operation_id: str, tag: str, summary: str, responses: Json, *, parameters: list[Json] | None = None
) -> Json:
    return {"get": _operation(operation_id, tag, summary, responses, parameters=parameters)}


def _plain(*kinds: str) -> Json:
    return {"200": {"description": "OK", "content": _content(*kinds)}}


def _provisional() -> Json:
    number = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
    parameters = [
        _parameter("limit", "query", "At most so many (never more than 200)", **number),
        _parameter("offset", "query", "Leave out so many", **number),
    ]
    return _get(
        "provisionalPins",
        "Feedback",
        "Analyses without a confirmation yet",
        _answer("ProvisionalPins") | _failures(400, 401, 503),
        parameters=parameters,
    )


_EITHER: Json = {"oneOf": [reference(ANALYSIS), reference("Failure")]}


def _records() -> Json:
    number = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
    day = {"maxLength": 40}
    parameters = [
        _parameter("verdict", "query", "Only those of this verdict", enum=VERDICTS),
        _parameter("pin", "query", "Only those of this catalogue entry", maxLength=64),
        _parameter("since", "query", "Only those from this date or time on, ISO 8601", **day),
        _parameter("until", "query", "Only those before this date or time", **day),
        _parameter("limit", "query", "At most so many (never more than 200)", **number),
        _parameter("before", "query", "Only numbers below: the `next` of the page before", **number),
    ]
    return _get(
        "records",
        "Read again",
        "What was analysed, the newest first",
        _answer("RecordPage") | _failures(400, 401, 503),
        parameters=parameters,
    )


def _health(service: Service) -> Json:
    name = "ProxyHealth" if service == "proxy" else "Health"
    responses = _answer(name, "`status` says whether all of it works")
    if service == "proxy":
        responses |= {
            "503": {"description": "No master is up", "content": _content(JSON_TYPE, schema=reference(name))}
        }
    return responses


def paths(service: Service, version: str) -> Json:
    """Every path of `service`, as OpenAPI `version` writes it."""
    view = _parameter("view", "path", "front, back or angled")
    stream = _parameter("streamId", "path", "From CONNECTION_ESTABLISHED")
    packets = {"type": "array", "items": reference("Packet")}
    picture = [
        _parameter("pinId", "path", "A candidate's pinId", minLength=1, maxLength=64),
        _parameter("view", "path", "Which side", enum=["front", "back"]),
    ]
    ready = _answer("Readiness", "Uploads may be sent here") | {
        "503": {
            "description": "Not now",
            "content": _content(JSON_TYPE, schema=reference("Readiness")),
            "headers": _RETRY,
        }
    }
    card = _answer("Card", "A browser gets the page, anything else the card")
    card["200"]["content"] |= _content(HTML_TYPE)
    by_agent = (
        "Phones get a line for each packet the moment it exists, by User-Agent, as `application/json`; "
        "anything else gets one object. `response`, then `Accept`, decide otherwise."
    )
    found: Json = {"/mobile-upload": _upload(version, "analyse", by_agent)}
    if service == "proxy":
        asked = "One object, whoever asks; a stream where `response` or `Accept` asks for one."
        found["/api/proxy/mobile-upload"] = _upload(version, "analyseAsObject", asked)
        found["/api/proxy/health"] = _get(
            "proxyHealth", "Operate", "Whether the masters work", _health("proxy")
        )
    return found | {
        "/streams/{streamId}": _stream(version),
        "/api/mobile/confirm-pin": _feedback(),
        "/api/mobile/provisional-pins": _provisional(),
        "/api/records": _records(),
        "/api/records/{recordNumber}": _get(
            "record",
            "Read again",
            "The whole answer of one analysis",
            {"200": {"description": "As a desktop got it", "content": _content(JSON_TYPE, schema=_EITHER)}}
            | _failures(401, 404, 503),
            parameters=[
                _parameter(
                    "recordNumber", "path", "From the list", type="integer", minimum=1, maximum=999_999_999
                )
            ],
        ),
        "/catalog": _get(
            "searchCatalogue",
            "Analyse",
            "Pins of the catalogue by name",
            _answer("FoundPins") | _failures(400, 401),
            parameters=[
                _parameter(
                    "search", "query", "In id, name, characters, series or code", minLength=1, maxLength=100
                )
            ],
        ),
        "/example/{view}": _get(
            "example",
            "Analyse",
            "A photograph of the demonstration",
            _plain("image/jpeg") | _failures(404, 503),
            parameters=[view],
        ),
        "/results/{streamId}": _get(
            "resultPage", "Read again", "A result as a page", _plain(HTML_TYPE), parameters=[stream]
        ),
        "/results/{streamId}/packets": _get(
            "resultPackets",
            "Read again",
            "The packets of a finished analysis as one array, however long ago it was",
            {"200": {"description": "OK", "content": _content(JSON_TYPE, schema=packets)}}
            | _failures(401, 404),
            parameters=[stream],
        ),
        "/results/{streamId}/{view}": _get(
            "resultPhotograph",
            "Read again",
            "A photograph of a finished analysis, scaled down and without its metadata",
            _plain("image/jpeg") | _failures(401, 404, 503),
            parameters=[stream, view],
        ),
        "/catalog/{pinId}/{view}": _get(
            "catalogPicture",
            "Analyse",
            "A catalogue picture",
            _plain("image/*") | _failures(401, 404),
            parameters=picture,
        ),
        "/health": _get("health", "Operate", "Whether it works, and how busy it is", _health(service)),
        "/livez": _get("alive", "Operate", "Whether the process answers", _answer("Liveness")),
        "/readyz": _get("ready", "Operate", "Whether uploads should be sent here", ready),
        "/metrics": _get("metrics", "Operate", "Prometheus metrics", _plain("text/plain")),
        "/": _get("card", "Operate", "The page, or the service's card", card),
        "/openapi.json": _get(
            "description", "Operate", "This description, as OpenAPI 3.1", _plain(JSON_TYPE)
        ),
        "/openapi-3.2.json": _get(
            "descriptionWithItems", "Operate", "This description, as OpenAPI 3.2", _plain(JSON_TYPE)
        ),
        "/docs": _get("documentation", "Operate", "This description as a page", _plain(HTML_TYPE)),
    }
