"""Requests to one master, by the HTTP code of `pinactors.client`: h11 over a trio stream sends and receives
at the same time, is a dependency of the server already, and leaves each byte and each close to the caller
(httpx and asks buffer, or close one direction by themselves).

All functions raise `Broken` (another connection may help), `NotPinactors` (the master misbehaves) or
`PinactorsError` (the master refuses, with a reason).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import trio

from pinactors.api.auth import unauthorized
from pinactors.api.errors import INSUFFICIENT_SCOPE, OtherPurpose
from pinactors.api.proxy.masters.fleet import Master, in_turn
from pinactors.api.proxy.relay.spool import Spool
from pinactors.api.streams.framings import JSON_TYPE, NDJSON_TYPE
from pinactors.api.streams.reader import EARLY, SILENCE_SECONDS
from pinactors.api.uploads.mobile_upload import DEADLINE_HEADER, SECRET_HEADER
from pinactors.client.connecting import Broken, NotPinactors
from pinactors.client.http import BODY_LIMIT, LINE_LIMIT, Body, Connection, Headers, HttpAnswer
from pinactors.client.transports import check as check_any
from pinactors.lines import LineSplitter
from pinactors.protocol import ErrorCode, PinactorsError, stream_not_found
from pinactors.protocol.offsets import to_offset, to_position
from pinactors.settings import Settings
from pinactors.tracing import NO_SPAN, Span

NO_STREAM = "-"
"""A stream id that no stream has."""

QUESTION_SECONDS = 5.0
"""Time limit of a small request to a master, if it is the only one asked."""

OnPackets = Callable[[list[bytes]], Awaitable[bool]]
"""Receives packets that arrived together; returns False if no more are needed."""


@dataclass(frozen=True, slots=True)
class Head:
    """The properties of a phone's request that are forwarded to a master. `api_key` is the phone's key;
    `size` is the body's length, None if it is chunked.

    `early` is True if the phone reads packets while it sends. `span` is the request's.
    """

    content_type: str
    size: int | None
    api_key: str | None
    idempotency_key: str
    session_id: str | None
    early: bool = False
    span: Span = NO_SPAN

    def headers(self, remaining: float, secret: str, hop: Span = NO_SPAN) -> Headers:
        """Header fields for a master. `remaining` is the phone's time left in seconds, infinite before its
        upload is in; a master accepts it only with the `secret`. `hop` is the span of the request to the
        master."""
        headers = {
            "Accept": NDJSON_TYPE,
            "Idempotency-Key": self.idempotency_key,
            **key_headers(self.api_key),
        }
        headers |= hop.correlation
        if self.session_id:
            headers["x-session-id"] = self.session_id
        if self.early:
            headers["Prefer"] = EARLY
        if remaining < math.inf:
            headers[DEADLINE_HEADER] = str(max(0, round(1000 * remaining)))
            headers[SECRET_HEADER] = secret
        return headers


def key_headers(api_key: str | None) -> Headers:
    return {"x-api-key": api_key} if api_key else {}


class Silence:
    """Cancels a request to a master that sends no whole line for `seconds`, counted from the last line or
    from the upload's end.

    Bytes that do not complete a line do not count.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.scope = trio.CancelScope()

    def pause(self) -> None:
        self.scope.deadline = math.inf

    def renew(self) -> None:
        self.scope.deadline = trio.current_time() + self._seconds

    def check(self) -> None:
        if self.scope.cancelled_caught:
            raise Broken(f"the master was silent for {self._seconds:g} s")


class SpoolBody:
    """The spool as a request's body. `ended` is True once it was read to its last byte."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.ended = False
        self.on_end: Callable[[], None] = lambda: None

    async def read(self, position: int) -> bytes:
        data = await self._spool.read(position)
        if not data:
            self.ended = True
            self.on_end()
        return data


async def upload(
    master: Master,
    head: Head,
    spool_body: SpoolBody,
    remaining: float,
    settings: Settings,
    on_packets: OnPackets,
    hop: Span,
) -> None:
    """Sends the spool, also while it grows, and passes the packets that come back to `on_packets`.

    Packets come after the end of the upload, or during the upload if `head.early`. The limit on the master's
    silence starts behind the last byte.
    """
    headers = head.headers(remaining, settings.proxy_secret, hop)
    limit = Silence(settings.proxy_silence)
    spool_body.on_end = limit.renew
    with limit.scope:
        async with connection_to(master, settings.proxy_silence) as connection:
            body = Body(head.content_type, head.size, [spool_body])
            receive = partial(_hand_over, limit=limit, on_packets=on_packets)
            if head.early:
                await connection.converse("/mobile-upload", headers, body, receive)
            else:
                await receive(await connection.request("POST", "/mobile-upload", headers, body))
    limit.check()


async def follow(
    master: Master,
    stream_id: str,
    position: int,
    api_key: str | None,
    silence: float,
    on_packets: OnPackets,
    hop: Span,
) -> None:
    """Passes the packets of a session from `position` on to `on_packets`."""
    limit = Silence(silence)
    limit.renew()
    headers = {"Accept": NDJSON_TYPE, **key_headers(api_key), **hop.correlation}
    with limit.scope:
        async with connection_to(master, silence) as connection:
            answer = await connection.request(
                "GET", f"{_path(stream_id)}?offset={to_offset(position)}", headers
            )
            await _hand_over(answer, limit, on_packets)
    limit.check()


async def tail(master: Master, stream_id: str, api_key: str | None, seconds: float = QUESTION_SECONDS) -> int:
    """The number of packets that the master has of a session, for the owner of `api_key`. Refusals are
    `unauthorized` and `stream_not_found` (404, 410)."""
    with trio.move_on_after(seconds):
        async with connection_to(master, seconds) as connection:
            answer = await connection.request("HEAD", _path(stream_id), key_headers(api_key))
            await answer.read()
            if answer.status == 401:
                raise _unauthorized(answer)
            if answer.status in (404, 410):
                raise stream_not_found(answer.status)
            await _check(answer)
            try:
                return to_position(answer.headers.get("stream-next-offset", ""))
            except ValueError:
                raise NotPinactors("it does not say where a stream ends") from None
    raise Broken("the master does not answer")


async def check_key(
    masters: Sequence[Master], api_key: str | None, stream_id: str = NO_STREAM, *, any_purpose: bool = False
) -> None:
    """Asks the first master that answers whether a key, or a token for that stream, is valid; with
    `any_purpose` also a token for something else. Without a key it asks whether none is needed.

    Raises `PinactorsError` (`unauthorized`). If no master answers, nothing is raised: the request for which
    the key is used reaches a master, which checks the key again.
    """
    for master, seconds in in_turn(masters, SILENCE_SECONDS):
        try:
            with trio.move_on_after(seconds):
                async with connection_to(master, seconds) as connection:
                    answer = await connection.request("HEAD", _path(stream_id), key_headers(api_key))
                    if answer.status == 401 and not (any_purpose and _is_for_other_purpose(answer)):
                        raise _unauthorized(answer)
                    if answer.status < 500:
                        return
        except (Broken, NotPinactors):
            continue


async def cancel(master: Master, stream_id: str, api_key: str | None) -> None:
    """Ends the session at the master."""
    with trio.move_on_after(QUESTION_SECONDS):
        async with connection_to(master, QUESTION_SECONDS) as connection:
            await _check(await connection.request("DELETE", _path(stream_id), key_headers(api_key)))
            return
    raise Broken("the master does not answer")


def connection_to(master: Master, silence: float) -> Connection:
    """A connection to `master` with the same limit of silence, in seconds, before and after the upload."""
    return Connection(master.url, silence=silence, upload_silence=silence)


def _path(stream_id: str) -> str:
    return f"/streams/{quote(stream_id, safe='')}"


async def _check(answer: HttpAnswer) -> None:
    """As `check_any`; the refusal of a token that is for something else stays one (`OtherPurpose`)."""
    try:
        await check_any(answer)
    except PinactorsError as refusal:
        if refusal.code is ErrorCode.UNAUTHORIZED and _is_for_other_purpose(answer):
            raise OtherPurpose(refusal.code, refusal.message, refusal.detail) from None
        raise


def _is_for_other_purpose(answer: HttpAnswer) -> bool:
    return INSUFFICIENT_SCOPE in answer.headers.get("www-authenticate", "")


def _unauthorized(answer: HttpAnswer) -> PinactorsError:
    """The refusal of a key or token in an answer to HEAD, which has no body that says why."""
    if _is_for_other_purpose(answer):
        return unauthorized("This token is for something else", OtherPurpose)
    return unauthorized()


async def _hand_over(answer: HttpAnswer, limit: Silence, on_packets: OnPackets) -> None:
    await _check(answer)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (NDJSON_TYPE, JSON_TYPE):
        raise NotPinactors(f"it answers with {kind[:80] or 'an unnamed type'}, not with packets")
    lines = LineSplitter(LINE_LIMIT, NotPinactors)
    received = 0
    while data := await answer.chunk():
        received += len(data)
        if received > BODY_LIMIT:
            raise NotPinactors("it sends without end")
        if complete_lines := lines.feed(data):
            limit.pause()  # time spent writing to our own disk does not count as the master's silence
            more_wanted = await on_packets([line for line in complete_lines if line.strip()])
            limit.renew()
            if not more_wanted:
                return
