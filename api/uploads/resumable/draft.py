"""Resumable uploads on `/mobile-upload`: draft-ietf-httpbis-resumable-upload in several versions.

The content is the same body as in a plain upload, of any type accepted there. A client that asks for a
resumable upload in its `POST` receives the upload's URL, in an informational response or in the answer. After
a break it asks for the offset (`HEAD`) and sends the rest to that URL (`PATCH`). The request that completes
the upload receives the answer that a plain `POST` would.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response, g, request

from pinactors.api.auth import UPLOADS, authenticate
from pinactors.api.errors import body_of, headers_of, status_of
from pinactors.api.errors import respond as refuse
from pinactors.api.http.body import BodyReader
from pinactors.api.http.calls import inform
from pinactors.api.services import Services, services
from pinactors.api.streams.framings import NDJSON, PHONE, SSE, Framing, choose
from pinactors.api.streams.reader import respond
from pinactors.api.uploads import mobile_upload
from pinactors.api.uploads.mobile_upload import Reception, content_type, deadline, idempotency_key, parser_of
from pinactors.api.uploads.resumable import draft_headers
from pinactors.api.uploads.resumable.draft_headers import Asked
from pinactors.api.uploads.resumable.upload import Completed, Description, Mismatch, PartialUpload
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, check_session_id, new_stream_id, said
from pinactors.tracing import correlation

PROTOCOL = "draft"

PROGRESS_SECONDS = 1.0
"""Shortest pause between two informational responses with the offset."""

FRAMINGS: dict[str, Framing | None] = {"json": None, "phone": PHONE, "ndjson": NDJSON, "sse": SSE}
"""Framings of the answer, by the name stored in `Description.framing`."""

blueprint = Blueprint("resumable", __name__)


@blueprint.post("/mobile-upload")
async def create() -> Response:
    """Handles a plain upload, or a resumable one if the client asked for it and can receive its URL."""
    given = services()
    asked = draft_headers.read(request.headers)
    informed = asked.spoken is not None and given.settings.informational_responses
    if not asked.resumes(informed):
        return await mobile_upload.upload_photographs()
    owner = await authenticate(request.headers, given.records, UPLOADS)
    limit = given.settings.max_request_bytes
    try:
        length = asked.whole_length(0)
        if length is not None and length > limit:
            raise PinactorsError(
                ErrorCode.TOO_LARGE, "Upload too large", f"At most {limit} bytes are accepted"
            )
        upload = await given.uploads.create(describe(owner, length))
    except PinactorsError as error:
        return _refused(asked, error, draft_headers.limits(limit), complete=False)
    location = f"{request.path}/{upload.id}"
    if informed:
        kept = draft_headers.limits(limit, given.settings.upload_expiry)
        await inform(request, 104, draft_headers.created(asked, location, kept))
    response = await _append(given, upload, asked, 0)
    if response.status_code < 300:
        response.headers["Location"] = location
        if not asked.complete:
            response.status_code = 201
    return response


@blueprint.patch("/mobile-upload/<upload_id>")
async def append(upload_id: str) -> Response:
    given = services()
    asked = draft_headers.read(request.headers)
    upload = await _find(given, upload_id)
    try:
        offset = draft_headers.check_append(asked, request.headers.get("Content-Type", ""))
        if upload.complete:
            return await _once_more(given, upload, asked, offset)
        if upload.offset == offset:
            _settle_length(upload, asked.whole_length(offset))
    except PinactorsError as error:
        return _refused(asked, error, {}, complete=False)
    return await _append(given, upload, asked, offset)


@blueprint.route("/mobile-upload/<upload_id>", methods=["GET", "HEAD"])
async def tell(upload_id: str) -> Response:
    """Returns the offset. Ends a request that still appends: the client that asks has given it up."""
    given = services()
    asked = draft_headers.read(request.headers)
    upload = await _find(given, upload_id)
    draft_headers.check_question(asked, request.headers)
    if upload.refusal is not None:
        raise upload.refusal
    offset = await upload.settled_offset()
    state = draft_headers.state(
        asked, complete=upload.complete, offset=offset, length=upload.description.length
    )
    return _empty(204, {**state, **_limits(given, upload), "Cache-Control": "no-store"})


@blueprint.delete("/mobile-upload/<upload_id>")
async def give_up(upload_id: str) -> Response:
    given = services()
    upload = await _find(given, upload_id)
    draft_headers.check_question(draft_headers.read(request.headers), request.headers)
    await given.uploads.remove(upload)
    return _empty(204, {})


@blueprint.after_app_request
async def announce(response: Response) -> Response:
    """Adds `Upload-Limit` to answers to `OPTIONS`: uploads are resumable here, up to that size."""
    if request.method == "OPTIONS" and request.path == "/mobile-upload":
        response.headers.update(draft_headers.limits(services().settings.max_request_bytes))
    return response


def describe(owner: str, length: int | None) -> Description:
    """The description of the upload that this request creates. Raises `PinactorsError` for invalid header
    fields."""
    parser_type = content_type(request)
    boundary = request.mimetype_params.get("boundary")
    parser_of(parser_type, boundary)
    named = said(request.headers.get("x-session-id"))
    framing = choose(request)
    seconds = deadline(request)
    return Description(
        protocol=PROTOCOL,
        owner=owner,
        session_id=check_session_id(named),
        idempotency_key=idempotency_key(request) or f"upload:{new_stream_id()}",
        named=bool(named),
        deadline=None if seconds == math.inf else seconds,
        content_type=parser_type,
        boundary=boundary,
        framing=next(name for name, value in FRAMINGS.items() if value is framing),
        length=length,
        correlation=correlation(request.headers.items()),
    )


def receiver(given: Services) -> Callable[[PartialUpload], Awaitable[PacketLog]]:
    """The receiver of such uploads, also of those that an earlier process began: parses one into its
    session."""

    async def receive(upload: PartialUpload) -> PacketLog:
        told = upload.description
        begun = given.registry.unfinished(told.owner, told.idempotency_key)
        if begun is None:
            seconds = math.inf if told.deadline is None else told.deadline
            named = Upload(told.session_id, told.owner, told.idempotency_key, seconds, resumable=True)
            opened = None
        else:
            named, opened = begun
        named.span = given.tracing.begin("upload", told.correlation.items())
        parser = parser_of(told.content_type, told.boundary)
        reception = Reception(given, named, upload, parser, named=told.named, opened=opened, kept=True)
        return await reception.receive(None)

    return receive


async def _find(given: Services, upload_id: str) -> PartialUpload:
    owner = await authenticate(request.headers, given.records, UPLOADS)
    upload = given.uploads.find(upload_id, owner, PROTOCOL)
    g.session_id = upload.description.session_id
    return upload


async def _append(given: Services, upload: PartialUpload, asked: Asked, offset: int) -> Response:
    """Appends the request's body to the upload and returns the response."""
    most = given.settings.max_request_bytes
    try:
        reader = BodyReader(request, given.settings, max(0, most - upload.offset))
        given.uploads.receive(upload)
        await upload.append(offset, reader, most, _Progress(asked, given.settings.informational_responses))
        if not asked.completes:
            state = draft_headers.state(asked, complete=False, offset=await upload.settled_offset())
            return _empty(draft_headers.accepted_status(asked), {**state, **_limits(given, upload)})
        await upload.finish()
    except PinactorsError as error:
        # A refusal by the parser is the upload's answer; an error of this request alone is not.
        return _refused(asked, error, _limits(given, upload), complete=error is upload.refusal, upload=upload)
    return await _answer(given, upload, asked)


async def _answer(given: Services, upload: PartialUpload, asked: Asked) -> Response:
    try:
        answer = await given.uploads.answer(upload)
    except PinactorsError as error:
        return _refused(asked, error, {}, complete=error.code is not ErrorCode.OVERLOADED, upload=upload)
    g.session_id = answer.session_id
    response = await respond(request, FRAMINGS[upload.description.framing], answer, given.settings)
    response.headers.update(draft_headers.state(asked, complete=True, offset=upload.offset))
    return response


async def _once_more(given: Services, upload: PartialUpload, asked: Asked, offset: int) -> Response:
    """Answers a client that did not receive the answer and completes the upload again, with an empty body."""
    if offset == upload.offset and asked.completes and not asked.content:
        return await _answer(given, upload, asked)
    raise Completed()


def _settle_length(upload: PartialUpload, length: int | None) -> None:
    known = upload.description.length
    if length is not None and known is not None and length != known:
        raise draft_headers.inconsistent(f"Upload-Length was {known} before, so it cannot be {length}")
    upload.description.length = length if known is None else known


class _Progress:
    """Sends the client informational responses with the offset while its request runs, at most one per
    `PROGRESS_SECONDS`."""

    def __init__(self, asked: Asked, allowed: bool) -> None:
        self._asked = asked if allowed and asked.spoken is not None else None
        self._last = trio.current_time()

    async def __call__(self, offset: int) -> None:
        now = trio.current_time()
        if self._asked is None or now < self._last + PROGRESS_SECONDS:
            return
        self._last = now
        fields = draft_headers.progress(self._asked, offset)
        if fields is not None:
            await inform(request, 104, fields)


def _limits(given: Services, upload: PartialUpload) -> dict[str, str]:
    return draft_headers.limits(given.settings.max_request_bytes, given.uploads.left(upload))


def _refused(
    asked: Asked,
    error: PinactorsError,
    limit: Mapping[str, str],
    *,
    complete: bool,
    upload: PartialUpload | None = None,
) -> Response:
    """The response for `error`, as a problem document (RFC 9457) if the draft defines a type for it."""
    response = refuse(error, g.get("session_id"))
    problem = _problem(error)
    if problem is not None:
        body = msgspec.to_builtins(body_of(error, g.get("session_id")))
        content = msgspec.json.encode({**problem, "status": status_of(error), **body})
        fields = {**headers_of(error), "Content-Type": draft_headers.PROBLEM_TYPE}
        response = Response(content, status_of(error), fields)
    offset = None if upload is None else upload.offset
    response.headers.update(draft_headers.state(asked, complete=complete, offset=offset))
    response.headers.update(limit)
    return response


def _problem(error: PinactorsError) -> dict[str, Any] | None:
    match error:
        case Mismatch(provided=provided, expected=expected):
            title = "offset from request does not match offset of resource"
            return {
                "type": draft_headers.MISMATCH,
                "title": title,
                "expected-offset": expected,
                "provided-offset": provided,
            }
        case Completed():
            return {"type": draft_headers.COMPLETED, "title": "upload is already completed"}
        case PinactorsError(field="Upload-Length"):
            return {"type": draft_headers.INCONSISTENT, "title": "inconsistent length values for upload"}
    return None


def _empty(status: int, fields: Mapping[str, str]) -> Response:
    response = Response(b"", status, dict(fields))
    del response.headers["Content-Type"]
    if status == 204:  # RFC 9110, 8.6: no Content-Length in a 204
        del response.headers["Content-Length"]
    return response
