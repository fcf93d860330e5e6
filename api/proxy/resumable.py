"""Relays resumable uploads to one master as they arrive, without storing them at the proxy.

An upload's URL names its master, so that every proxy in front of the same masters finds it, also after a
restart. The offsets are the master's. While the master is unreachable, so are its uploads: their clients ask
again later and continue from the offset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress

import trio
from quart import Blueprint, Response, request

from pinactors.api.http.body import BodyReader
from pinactors.api.http.calls import inform
from pinactors.api.proxy.forward import passed_back
from pinactors.api.proxy.masters.fleet import Master, in_turn
from pinactors.api.proxy.masters.requests import key_headers
from pinactors.api.proxy.masters.routing import route_of
from pinactors.api.proxy.relay.keys import owner_of
from pinactors.api.proxy.relay.refusals import no_master
from pinactors.api.proxy.relay.services import HOP
from pinactors.api.proxy.state import Proxy, current_proxy, key_in
from pinactors.api.streams.framings import SSE, choose
from pinactors.api.streams.pieces import Pieces
from pinactors.api.streams.reader import SILENCE_SECONDS
from pinactors.api.uploads.mobile_upload import content_type
from pinactors.api.uploads.resumable import draft_headers, tus_headers
from pinactors.api.uploads.resumable.draft_headers import UploadRequest
from pinactors.api.uploads.resumable.refusals import not_found
from pinactors.client.connecting import Broken, NotPinactors, Unreachable
from pinactors.client.http import Body, Connection, HttpAnswer
from pinactors.logs import begin_logged
from pinactors.protocol import ErrorCode, PinactorsError, none_if_missing
from pinactors.storage.partial_uploads import UPLOAD_ID
from pinactors.tracing import SpanKind

PASSED_ON = (
    *("Accept", "User-Agent", "Prefer", "Idempotency-Key", "x-session-id", "x-deadline-ms"),
    *("Tus-Resumable", "Upload-Metadata", "Upload-Checksum", "X-HTTP-Method-Override"),
    *("Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length", draft_headers.VERSION_FIELD),
)

SEPARATOR = "."

blueprint = Blueprint("proxy-resumable", __name__)


async def create(upload_request: UploadRequest, can_inform: bool) -> Response:
    """Creates an upload of the IETF draft: an empty one at a master, to which this request's body is
    appended.

    A client that can be informed (`can_inform`) receives the upload's URL before its body is read.
    """
    proxy = current_proxy()
    content_type(request)
    framing = choose(request, by_agent=not request.path.startswith("/api/proxy/"))
    style = "json" if framing is None else "sse" if framing is SSE else "stream"
    api_key = key_in(request.headers)
    named = none_if_missing(request.headers.get("Idempotency-Key")) or none_if_missing(
        request.headers.get("x-session-id")
    )
    route = route_of(owner_of(api_key), None, named, b"" if named else str(request.scope["client"]).encode())
    empty = {**_headers(upload_request, complete=False), "Content-Type": request.headers["Content-Type"]}
    if upload_request.length is None and upload_request.complete and upload_request.content is not None:
        empty["Upload-Length"] = str(upload_request.content)
    empty.pop("Upload-Offset", None)
    created, master = await _first(proxy, route, f"/mobile-upload?response={style}", empty)
    if created.status_code != 201:
        return created
    location = created.headers["Location"]
    if can_inform:
        limit = {"Upload-Limit": created.headers.get("Upload-Limit", "")}
        await inform(request, 104, draft_headers.created(upload_request, location, limit))
    appending = {**_headers(upload_request, complete=upload_request.complete is True), "Upload-Offset": "0"}
    if upload_request.version >= 6:
        appending["Content-Type"] = draft_headers.PARTIAL_TYPE
    path = f"/mobile-upload/{location.rpartition(SEPARATOR)[2]}"
    response = await _relay(proxy, master, "PATCH", path, appending, body=True)
    if response.status_code < 300:
        response.headers["Location"] = location
        if not upload_request.complete:
            response.status_code = 201
    return response


@blueprint.route("/mobile-upload/<name>", methods=["GET", "HEAD", "PATCH", "DELETE"])
@blueprint.route("/api/proxy/mobile-upload/<name>", methods=["GET", "HEAD", "PATCH", "DELETE"])
async def go_on(name: str) -> Response:
    return await _at_its_master(name, "/mobile-upload")


@blueprint.post("/uploads")
@blueprint.post("/uploads/")
async def create_tus() -> Response:
    """Creates a tus upload. The session id chooses the master, so that all photographs of a session reach the
    same one. A photograph that names only a stream is offered to one master after the other; those without
    the stream answer 404."""
    proxy = current_proxy()
    tus_headers.check_version(request.headers)
    photograph = tus_headers.photograph(request.headers.get("Upload-Metadata", ""))
    api_key = key_in(request.headers)
    seed = str(request.scope["client"]).encode()
    route = route_of(owner_of(api_key), None, photograph.session_id, seed)
    length = {"Upload-Length": str(tus_headers.length(request.headers))}
    created, master = await _first(proxy, route, "/uploads/", {**_passed_on(), **length})
    begins = request.mimetype == tus_headers.OFFSET_TYPE and request.content_length != 0
    if created.status_code != 201 or not begins:
        return created
    fields = {**_passed_on(), "Upload-Offset": "0", "Content-Type": tus_headers.OFFSET_TYPE}
    path = f"/uploads/{created.headers['Location'].rpartition(SEPARATOR)[2]}"
    appended = await _relay(proxy, master, "PATCH", path, fields, body=True)
    if appended.status_code != 204:
        return appended
    created.headers["Upload-Offset"] = appended.headers["Upload-Offset"]
    return created


@blueprint.route("/uploads/<name>", methods=["HEAD", "PATCH", "DELETE", "POST"])
async def go_on_tus(name: str) -> Response:
    return await _at_its_master(name, "/uploads")


@blueprint.after_request
async def sign(response: Response) -> Response:
    """Adds the tus version to every response about tus uploads, also if no master was asked."""
    if request.path.startswith("/uploads"):
        response.headers.update(tus_headers.signature(response.status_code))
    return response


@blueprint.after_app_request
async def announce(response: Response) -> Response:
    """Adds protocol versions and limits to answers to `OPTIONS`."""
    if request.method == "OPTIONS":
        max_bytes = current_proxy().services.settings.max_request_bytes
        if request.path.startswith("/uploads"):
            response.headers.update(tus_headers.capabilities(max_bytes))
        elif request.path.rstrip("/") in ("/mobile-upload", "/api/proxy/mobile-upload"):
            response.headers.update(draft_headers.limits(max_bytes))
    return response


class RelayedBody(Pieces):
    """A master's answer, piece by piece, from a connection of its own that is closed with it."""

    def __init__(self, answer: HttpAnswer, connection: Connection, first: bytes) -> None:
        self._answer, self._connection, self._first = answer, connection, first

    async def open(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self._connection.close)

    async def __anext__(self) -> bytes:
        """Raises `Broken` if the answer breaks off: the phone's connection then ends too, and the phone
        resumes."""
        data, self._first = self._first or await self._answer.chunk(), b""
        if not data:
            raise StopAsyncIteration
        return data


class PhoneFailed(OSError):
    """The phone's body could not be read to its end, because of `error`."""

    def __init__(self, error: PinactorsError) -> None:
        super().__init__(str(error))
        self.error = error


class _Coming:
    """The phone's body as the body of the request to a master."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader

    async def read(self, position: int) -> bytes:
        """Raises `PhoneFailed`."""
        try:
            return await self._reader.chunk()
        except PinactorsError as error:
            raise PhoneFailed(error) from error


async def _at_its_master(name: str, path: str) -> Response:
    proxy = current_proxy()
    tag, _, upload_id = name.partition(SEPARATOR)
    master = next((master for master in proxy.services.masters.all if _tag(master) == tag), None)
    if master is None or not UPLOAD_ID.fullmatch(upload_id):
        raise not_found()
    fields = _passed_on()
    if "Content-Type" in request.headers:
        fields["Content-Type"] = request.headers["Content-Type"]
    body = request.method in ("PATCH", "POST")
    return await _relay(proxy, master, request.method, f"{path}/{upload_id}", fields, body=body)


async def _first(proxy: Proxy, route: str, path: str, fields: dict[str, str]) -> tuple[Response, Master]:
    """Creates the upload at the first master that accepts it; if none does, returns the last refusal. Raises
    `PinactorsError` if no master answers."""
    refused: tuple[Response, Master] | None = None
    for master, seconds in in_turn(proxy.services.masters.order(route), SILENCE_SECONDS):
        response: Response | None = None
        with suppress(PinactorsError), trio.move_on_after(seconds):
            response = await _relay(proxy, master, "POST", path, fields, body=False)
        if response is None:
            continue
        if response.status_code not in (404, 429, 503):
            return response, master
        refused = response, master
    if refused is None:
        raise no_master()
    return refused


async def _relay(
    proxy: Proxy, master: Master, method: str, path: str, fields: Mapping[str, str], *, body: bool
) -> Response:
    """Sends one request to `master`, with this request's body or without one, and returns the answer.

    Raises `PinactorsError`: `unauthorized` for a text that cannot be a key, the error of the phone's body, or
    `overloaded` (503) if the master does not answer.
    """
    settings = proxy.services.settings
    connection = Connection(
        master.url,
        silence=settings.proxy_silence if body else min(settings.proxy_silence, SILENCE_SECONDS),
        upload_silence=max(settings.proxy_silence, settings.upload_floor_window),
    )
    span = begin_logged(proxy.services.tracing, request, HOP, SpanKind.CLIENT, master=master.name)
    headers = {**fields, **key_headers(key_in(request.headers)), **span.correlation}
    kind = headers.pop("Content-Type", "application/octet-stream")
    size: int | None = 0
    contents: list[_Coming] = []
    if body:
        reader = BodyReader(request, settings, settings.max_request_bytes)
        size, contents = request.content_length, [_Coming(reader)]
    sent = Body(kind, size, contents) if body or method == "POST" else None
    try:
        with span:
            answer = await connection.request(method, path, headers, sent)
            first = await answer.chunk()
    except PhoneFailed as failed:
        raise failed.error from None
    except (Broken, NotPinactors) as error:
        await connection.close()  # noqa: ASYNC120 - closes at once, waits for nothing
        if isinstance(error, Unreachable):
            proxy.services.masters.unreachable(master)
        raise PinactorsError(
            ErrorCode.OVERLOADED,
            "Upload not available now",
            "The server with this upload does not answer; it keeps what it received",
            status=503,
        ) from error
    return await _passed_back(answer, connection, first, master)


async def _passed_back(answer: HttpAnswer, connection: Connection, first: bytes, master: Master) -> Response:
    response = passed_back(answer, b"")
    if first:
        response.response = RelayedBody(answer, connection, first)
        response.timeout = None  # the session's deadline bounds it
    else:
        await connection.close()
    location = answer.headers.get("location", "")
    if answer.status == 201 and location:
        own = request.path.rstrip("/")
        response.headers["Location"] = f"{own}/{_tag(master)}{SEPARATOR}{location.rpartition('/')[2]}"
    return response


def _headers(upload_request: UploadRequest, *, complete: bool) -> dict[str, str]:
    """Header fields for one of the two requests (create, append) that replace the creating request."""
    fields = _passed_on()
    for name in ("Upload-Complete", "Upload-Incomplete"):
        fields.pop(name, None)
    return {**fields, **draft_headers.state(upload_request, complete=complete)}


def _passed_on() -> dict[str, str]:
    return {name: request.headers[name] for name in PASSED_ON if name in request.headers}


def _tag(master: Master) -> str:
    return hashlib.blake2b(master.url.encode(), digest_size=6).hexdigest()
