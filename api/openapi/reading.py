"""Descriptions of requests that read a session's packets, its record and its page."""

from __future__ import annotations

from pinactors.api.openapi.parts import (
    ANALYSIS_OR_FAILURE,
    HTML_TYPE,
    LIMIT,
    STREAM_ID,
    VIEW,
    WHOLE_NUMBER,
    answer,
    content,
    failures,
    get,
    headers,
    operation,
    parameter,
    plain,
    streams,
)
from pinactors.api.openapi.schemas import Json, reference
from pinactors.api.streams.framings import JSON_TYPE
from pinactors.records.listing import VERDICTS


def _stream(version: str) -> Json:
    described = headers(
        {
            "Stream-Next-Offset": "The offset to read on from",
            "Stream-Up-To-Date": "`true` if there is nothing more for now",
            "Stream-Closed": "`true` if nothing more will come",
        }
    )
    batch = {"type": "array", "items": reference("Packet")}
    responses: Json = {
        "200": {
            "description": "Packets from the offset on",
            "headers": described,
            "content": content(JSON_TYPE, schema=batch) | streams(version),
        },
        "204": {"description": "A long-poll without news", "headers": described},
        "304": {"description": "Nothing new since `If-None-Match`"},
    }
    parameters = [
        parameter(
            "offset",
            "query",
            "`-1` (from the start), `now`, or an offset from an earlier answer",
            pattern="^(-1|now|[0-9]{16})$",
        ),
        parameter("live", "query", "How to wait for more", enum=["long-poll", "sse"]),
        parameter(
            "Last-Event-ID",
            "header",
            "Id of the last event that an event reader received",
            pattern="^([0-9]{16})?$",
        ),
        parameter(
            "lastEventId",
            "query",
            "The same, for event readers that cannot send that header",
            pattern="^([0-9]{16})?$",
        ),
    ]
    return {
        "parameters": [STREAM_ID],
        "get": operation(
            "readStream",
            "Read again",
            "Read a session's packets again, and follow them",
            responses | failures(400, 401, 404, 410, 429, 503),
            "The read side of the Durable Streams protocol: catch-up, long-poll and SSE.",
            parameters=parameters,
        ),
        "delete": operation(
            "cancelStream",
            "Read again",
            "Cancel a session",
            {"204": {"description": "It has ended"}} | failures(401, 404, 410, 503),
            "Idempotent; every reader gets a terminal ERROR.",
        ),
    }


def _records() -> Json:
    day: Json = {"maxLength": 40}
    parameters = [
        parameter("verdict", "query", "Only those with this verdict", enum=list(VERDICTS)),
        parameter("pin", "query", "Only those of this catalogue entry", maxLength=64),
        parameter("since", "query", "Only those from this date or time on, ISO 8601", **day),
        parameter("until", "query", "Only those before this date or time", **day),
        LIMIT,
        parameter("before", "query", "Only numbers below: the `next` of the page before", **WHOLE_NUMBER),
    ]
    return get(
        "records",
        "Read again",
        "What was analysed, the newest first",
        answer("RecordPage") | failures(400, 401, 503),
        parameters=parameters,
    )


def reading_paths(version: str) -> Json:
    """The paths that read a session's packets, records and result pages."""
    stream = parameter("streamId", "path", "From CONNECTION_ESTABLISHED")
    packets = {"type": "array", "items": reference("Packet")}
    return {
        "/streams/{streamId}": _stream(version),
        "/api/records": _records(),
        "/api/records/{recordNumber}": get(
            "record",
            "Read again",
            "The whole answer of one analysis",
            {
                "200": {
                    "description": "As a desktop client got it",
                    "content": content(JSON_TYPE, schema=ANALYSIS_OR_FAILURE),
                }
            }
            | failures(401, 404, 503),
            parameters=[
                parameter(
                    "recordNumber", "path", "From the list", type="integer", minimum=1, maximum=999_999_999
                )
            ],
        ),
        "/results/{streamId}": get(
            "resultPage",
            "Read again",
            "A result as a page",
            plain(HTML_TYPE) | failures(404),
            parameters=[stream],
        ),
        "/results/{streamId}/packets": get(
            "resultPackets",
            "Read again",
            "The packets of a finished analysis as one array, however long ago it was",
            {"200": {"description": "OK", "content": content(JSON_TYPE, schema=packets)}}
            | failures(401, 404),
            parameters=[stream],
        ),
        "/results/{streamId}/{view}": get(
            "resultPhotograph",
            "Read again",
            "A photograph of a finished analysis, scaled down and without its metadata",
            plain("image/jpeg") | failures(401, 404, 503),
            parameters=[stream, VIEW],
        ),
    }
