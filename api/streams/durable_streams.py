"""`GET /streams/{id}`: replays and follows a session's packets by the read side of the public Durable Streams
protocol.

Besides the protocol's catch-up, long-poll and batched SSE reads, a log can be followed packet by packet: as
lines (`Accept: application/x-ndjson`) or as events (`Accept: text/event-stream`, resumed with
`Last-Event-ID`). Every kind of read returns the same bytes for a packet.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Literal

import trio
from quart import Blueprint, Request, Response, current_app, request

from pinactors.api.answers import empty
from pinactors.api.auth import authenticate
from pinactors.api.services import current_services
from pinactors.api.streams.framings import JSON_BATCH, SSE, BatchEvents, Encoding, Framing, accepted
from pinactors.api.streams.polls import EXTENSION, Polls
from pinactors.api.streams.reader import Log, elsewhere, follow
from pinactors.protocol import invalid_value, none_if_missing
from pinactors.protocol.offsets import to_offset, to_position
from pinactors.settings import Settings

CURSOR_EPOCH = dt.datetime(2024, 10, 9, tzinfo=dt.UTC)
CURSOR_INTERVAL = 20
"""Seconds. A live answer's cursor is the number of this interval since the protocol's epoch, so that cached
answers expire."""

CURSOR_JITTER = 3600
"""Most seconds by which a cursor is advanced if the client has the current one already."""

CURSOR_LIMIT = 10**15

NO_STORE = "no-store"
REVALIDATE = "private, no-cache"
"""For batches of an open log, which grows within seconds: a cache may store the batch but must revalidate
it."""

FINAL = "private, max-age=60, stale-while-revalidate=300"
VARY = "Accept, Authorization, X-Api-Key"

LAST_EVENT_ID, LAST_EVENT_PARAMETER = "Last-Event-ID", "lastEventId"

blueprint = Blueprint("streams", __name__)

Live = Literal["long-poll", "sse"]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A parsed GET. `position` is None for the log's tail (`now`); `resumed` is True if an SSE reader
    reconnected."""

    position: int | None
    live: Live | None
    following: Framing | None
    resumed: bool
    cursor: int | None


def parse(request: Request) -> ReadRequest:
    """Parses the query and the headers. Raises `PinactorsError` (`invalid_format`)."""
    live = request.args.get("live")
    if live not in (None, "long-poll", "sse"):
        raise invalid_value("live", "live must be long-poll or sse")
    following = accepted(request) if live is None else None
    name, last_event = _last_event(request) if live == "sse" or following is SSE else ("", None)
    resumed = none_if_missing(last_event) is not None
    if resumed:
        offsets = [last_event or ""]
    else:  # an SSE reader that has received no event yet sends an empty id
        name, offsets = "offset", request.args.getlist("offset") or ["-1"] * (last_event is not None)
    if len(offsets) > 1:
        raise invalid_value("offset", "offset must be given only once")
    if live is not None and not offsets:
        raise invalid_value("offset", "live reads need an offset; -1 reads from the start")
    return ReadRequest(
        position=_position(offsets[0], name) if offsets else 0,
        live=live,  # type: ignore[arg-type]  # checked above
        following=following,
        resumed=resumed,
        cursor=_cursor(request.args.get("cursor")),
    )


def _last_event(request: Request) -> tuple[str, str | None]:
    """Name and value of the header or parameter with the id of the last event that an SSE reader received;
    the value is None if neither is sent.

    A browser's `EventSource` sends a header; the usual replacement for it (`event-source-polyfill` on npm)
    adds a parameter to the URL.
    """
    for name, value in (
        (LAST_EVENT_ID, request.headers.get(LAST_EVENT_ID)),
        (LAST_EVENT_PARAMETER, request.args.get(LAST_EVENT_PARAMETER)),
    ):
        if value is not None:
            return name, value
    return LAST_EVENT_ID, None


def _position(value: str, name: str = "offset") -> int | None:
    if value == "-1":
        return 0
    if value == "now":
        return None
    try:
        return to_position(value)
    except ValueError as error:
        raise invalid_value(name, f"{name} is not an offset that this server issued") from error


def _cursor(value: str | None) -> int | None:
    # A cursor only controls caches, so an invalid one is ignored.
    usable = (
        value is not None and value.isascii() and value.isdigit() and len(value) <= len(str(CURSOR_LIMIT))
    )
    return int(value) if value is not None and usable else None


def next_cursor(client_cursor: int | None, now: dt.datetime | None = None) -> str:
    """The current interval's number, or a random number beyond `client_cursor` if the client has the current
    one already."""
    current = int(((now or dt.datetime.now(dt.UTC)) - CURSOR_EPOCH).total_seconds() // CURSOR_INTERVAL)
    if client_cursor is None or client_cursor < current:
        return str(current)
    return str(client_cursor + max(1, (1 + secrets.randbelow(CURSOR_JITTER)) // CURSOR_INTERVAL))


def position_headers(log: Log, position: int, *, cursor: str | None = None) -> dict[str, str]:
    """Header fields for an answer that ends at `position`: the next offset, and whether the log's end is
    reached. A log that was closed before its end does not count as closed here: clients would never ask for
    the rest."""
    headers = {"Stream-Next-Offset": to_offset(position)}
    if position == len(log.packets):
        headers["Stream-Up-To-Date"] = "true"
        if log.ended:
            headers["Stream-Closed"] = "true"
    if cursor is not None and "Stream-Closed" not in headers:
        headers["Stream-Cursor"] = cursor
    return headers


async def read(request: Request, log: Log, settings: Settings, encoding: Encoding = JSON_BATCH) -> Response:
    """Answers a GET on `log`. Raises `PinactorsError`: for an invalid offset; 429 for too many reads of a
    stream that has ended; 503 if the log is closed, before its end, while a long-poll waits for packets."""
    read_request = parse(request)
    tail = len(log.packets)
    position = tail if read_request.position is None else read_request.position
    if position > tail:
        raise invalid_value("offset", "this offset is beyond the end of the stream")
    count_read(log, empty=position == tail)
    if read_request.live == "sse" or read_request.following is not None:
        # Only `live=sse` says the end by an event of its own.
        if (read_request.resumed or read_request.following is SSE) and log.ended and position == tail:
            return empty(204, position_headers(log, position))  # makes an EventSource stop reconnecting
        framing = read_request.following or BatchEvents(encoding, next_cursor(read_request.cursor))
        response = follow(request, log, framing, settings, position=position)
        response.headers["Stream-Next-Offset"] = to_offset(position)
        if read_request.live and not encoding.text:
            response.headers["Stream-SSE-Data-Encoding"] = "base64"
        return response
    cursor = None
    if read_request.live == "long-poll":
        # Waits less than the ten seconds after which clients give up: no keep-alive can be sent before a
        # status.
        with log.watching(), trio.move_on_after(settings.keepalive):
            await log.wait_beyond(position)
        cursor = next_cursor(read_request.cursor)
        if len(log.packets) == position:
            if log.closed and not log.ended:
                raise elsewhere("read the stream again")
            return empty(204, position_headers(log, position, cursor=cursor))
    return _batch(request, log, read_request, position, encoding, cursor)


def _batch(
    request: Request,
    log: Log,
    read_request: ReadRequest,
    position: int,
    encoding: Encoding,
    cursor: str | None,
) -> Response:
    packets = log.packets[position:]
    end = position + len(packets)
    headers = {
        **position_headers(log, end, cursor=cursor),
        "Content-Type": encoding.content_type,
        "Cache-Control": (FINAL if log.ended else REVALIDATE) if packets else NO_STORE,
        "Vary": VARY,
    }
    if read_request.position is None and not read_request.live:
        return Response(encoding.batch([]), 200, {**headers, "Cache-Control": NO_STORE})
    tag = f"{log.stream_id}:{to_offset(position)}:{to_offset(end)}{':c' if log.ended else ''}"
    headers["ETag"] = f'"{tag}"'
    if not read_request.live and request.if_none_match.contains_weak(tag):
        count_read(log, empty=True)
        return empty(304, headers)
    return Response(encoding.batch(packets), 200, headers)


def count_read(log: Log, *, empty: bool) -> None:
    """Counts a read of a stream that has ended. Raises `PinactorsError` (429) if there were too many."""
    if log.ended:
        polls: Polls = current_app.extensions.setdefault(EXTENSION, Polls())
        polls.take(log.stream_id, empty=empty)


def describe(log: Log, encoding: Encoding = JSON_BATCH) -> Response:
    """Answers a HEAD with the log's tail and whether that is its end. Raises `PinactorsError` (429)."""
    count_read(log, empty=True)
    headers = {
        **position_headers(log, len(log.packets)),
        "Content-Type": encoding.content_type,
        "Cache-Control": NO_STORE,
    }
    response = Response(b"", 200, headers)
    del response.headers["Content-Length"]  # 0 would be that of a GET (RFC 9110, 8.6)
    return response


async def protect(response: Response) -> Response:
    """Adds header fields that keep browsers from guessing the content type and from storing errors."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers.setdefault("Cache-Control", NO_STORE)
    return response


blueprint.after_request(protect)


@blueprint.get("/streams/<stream_id>")
async def get_stream(stream_id: str) -> Response:
    services = current_services()
    owner = await authenticate(request.headers, services.records, stream_id)
    log = await services.registry.find(stream_id, owner)
    return describe(log) if request.method == "HEAD" else await read(request, log, services.settings)


@blueprint.delete("/streams/<stream_id>")
async def cancel_stream(stream_id: str) -> Response:
    services = current_services()
    owner = await authenticate(request.headers, services.records, stream_id)
    await services.registry.cancel(stream_id, owner)
    return empty(204)
