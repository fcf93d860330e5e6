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

from pinactors.api.answers import empty
from pinactors.api.auth import UPLOADS, authenticate
from pinactors.api.errors import body_of, headers_of, status_of
from pinactors.api.errors import respond as refuse
from pinactors.api.http.body import BodyReader, sent_at, too_large
from pinactors.api.http.calls import inform
from pinactors.api.services import Services, current_services
from pinactors.api.streams.framings import NDJSON, PHONE, SSE, Framing, choose
from pinactors.api.streams.reader import ASYNC, accepted_only, prefers, respond
from pinactors.api.uploads import mobile_upload
from pinactors.api.uploads.mobile_upload import Reception, content_type, deadline, idempotency_key, parser_of
from pinactors.api.uploads.multipart import boundary_of
from pinactors.api.uploads.resumable import draft_headers
from pinactors.api.uploads.resumable.draft_headers import UploadRequest
from pinactors.api.uploads.resumable.refusals import Completed, Mismatch, inconsistent
from pinactors.api.uploads.resumable.upload import Description, PartialUpload
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    ErrorCode,
    PinactorsError,
    check_session_id,
    forget_frames,
    new_stream_id,
    none_if_missing,
)
from pinactors.tracing import correlation

PROTOCOL = "draft"

PROGRESS_SECONDS = 1.0
"""Shortest pause between two informational responses with the offset."""

FRAMINGS: dict[str, Framing | None] = {"json": None, "phone": PHONE, "ndjson": NDJSON, "sse": SSE}
"""Framings of the answer, by the name stored in `Description.framing`."""

blueprint = Blueprint("resumable", __name__)


@blueprint.post("/mobile-upload", strict_slashes=False)  # clients append / to a base address
async def create() -> Response:
    """Handles a plain upload, or a resumable one if the client asked for it and can receive its URL."""
    services = current_services()
    upload_request = draft_headers.read(request.headers)
    can_inform = upload_request.can_be_informed(services.settings.informational_responses)
    if not upload_request.resumes(can_inform):
        return await mobile_upload.upload_photographs()
    owner = await authenticate(request.headers, services.records, UPLOADS)
    limit = services.settings.max_request_bytes
    try:
        length = upload_request.whole_length(0)
        if length is not None and length > limit:
            raise too_large(limit)
        upload = await services.uploads.create(describe(owner, length))
    except PinactorsError as error:
        return _refused(upload_request, error, draft_headers.limits(limit), complete=False)
    location = f"{request.path}/{upload.id}"
    if can_inform:
        limits = draft_headers.limits(limit, services.settings.upload_expiry)
        await inform(request, 104, draft_headers.created(upload_request, location, limits))
    response = await _append(services, upload, upload_request, 0)
    if response.status_code < 300:
        response.headers["Location"] = location
        if not upload_request.complete:
            response.status_code = 201
    return response


@blueprint.patch("/mobile-upload/<upload_id>")
async def append(upload_id: str) -> Response:
    services = current_services()
    upload_request = draft_headers.read(request.headers)
    upload = await _find(services, upload_id)
    try:
        offset = draft_headers.check_append(upload_request, request.headers.get("Content-Type", ""))
        if upload.complete:
            return await _answer_repeated(services, upload, upload_request, offset)
        if upload.offset == offset:
            _set_length(upload, upload_request.whole_length(offset))
    except PinactorsError as error:
        return _refused(upload_request, error, {}, complete=False)
    return await _append(services, upload, upload_request, offset)


@blueprint.route("/mobile-upload/<upload_id>", methods=["GET", "HEAD"])
async def get_offset(upload_id: str) -> Response:
    """Returns the offset. Ends a request that still appends: the client that asks has given it up."""
    services = current_services()
    upload_request = draft_headers.read(request.headers)
    upload = await _find(services, upload_id)
    draft_headers.check_question(upload_request, request.headers)
    if upload.refusal is not None:
        raise upload.refusal
    offset = await upload.settled_offset()
    state = draft_headers.state(
        upload_request, complete=upload.complete, offset=offset, length=upload.description.length
    )
    return empty(204, {**state, **_limits(services, upload), "Cache-Control": "no-store"})


@blueprint.delete("/mobile-upload/<upload_id>")
async def cancel(upload_id: str) -> Response:
    services = current_services()
    upload = await _find(services, upload_id)
    draft_headers.check_question(draft_headers.read(request.headers), request.headers)
    await services.uploads.remove(upload)
    return empty(204)


@blueprint.after_app_request
async def announce(response: Response) -> Response:
    """Adds `Upload-Limit` to answers to `OPTIONS`: uploads are resumable here, up to that size."""
    if request.method == "OPTIONS" and request.path.rstrip("/") == "/mobile-upload":
        response.headers.update(draft_headers.limits(current_services().settings.max_request_bytes))
    return response


def describe(owner: str, length: int | None) -> Description:
    """The description of the upload that this request creates. Raises `PinactorsError` for invalid header
    fields."""
    parser_type = content_type(request)
    boundary = boundary_of(request.headers["Content-Type"])
    parser_of(parser_type, boundary)
    named = none_if_missing(request.headers.get("x-session-id"))
    framing = choose(request)
    seconds = deadline(request)
    return Description(
        protocol=PROTOCOL,
        owner=owner,
        session_id=check_session_id(named, "x-session-id"),
        idempotency_key=idempotency_key(request) or f"upload:{new_stream_id()}",
        named=bool(named),
        deadline=None if seconds == math.inf else seconds,
        content_type=parser_type,
        boundary=boundary,
        framing=next(name for name, value in FRAMINGS.items() if value is framing),
        respond_async=prefers(request, ASYNC),
        length=length,
        correlation=correlation(request.headers.items()),
    )


def receiver(services: Services) -> Callable[[PartialUpload], Awaitable[PacketLog]]:
    """The receiver of such uploads, also of those that an earlier process began: parses one into its
    session."""

    async def receive(upload: PartialUpload) -> PacketLog:
        description = upload.description
        unfinished = services.registry.unfinished(description.owner, description.idempotency_key)
        if unfinished is None:
            seconds = math.inf if description.deadline is None else description.deadline
            named = Upload(
                description.session_id,
                description.owner,
                description.idempotency_key,
                seconds,
                resumable=True,
            )
            opened = None
        else:
            named, opened = unfinished
        named.span = services.tracing.begin("upload", description.correlation.items())
        parser = parser_of(description.content_type, description.boundary)
        reception = Reception(
            services, named, upload, parser, named=description.named, opened=opened, kept=True
        )
        return await reception.receive(None)

    return receive


async def _find(services: Services, upload_id: str) -> PartialUpload:
    owner = await authenticate(request.headers, services.records, UPLOADS)
    upload = services.uploads.find(upload_id, owner, PROTOCOL)
    g.session_id = upload.description.session_id
    return upload


async def _append(
    services: Services, upload: PartialUpload, upload_request: UploadRequest, offset: int
) -> Response:
    """Appends the request's body to the upload and returns the response."""
    limit = services.settings.max_request_bytes
    try:
        reader = BodyReader(request, services.settings, max(0, limit - upload.offset))
        services.uploads.receive(upload)
        can_inform = upload_request.can_be_informed(services.settings.informational_responses)
        await upload.append(offset, reader, limit, _Progress(upload_request) if can_inform else None)
        if not upload_request.completes:
            state = draft_headers.state(upload_request, complete=False, offset=await upload.settled_offset())
            return empty(
                draft_headers.accepted_status(upload_request), {**state, **_limits(services, upload)}
            )
        await upload.finish()
    except PinactorsError as error:
        # A refusal by the parser is the upload's answer; an error of this request alone is not.
        return _refused(
            upload_request, error, _limits(services, upload), complete=error is upload.refusal, upload=upload
        )
    return await _answer(services, upload, upload_request)


async def _answer(services: Services, upload: PartialUpload, upload_request: UploadRequest) -> Response:
    try:
        answer = await services.uploads.answer(upload)
    except PinactorsError as error:
        return _refused(
            upload_request, error, {}, complete=error.code is not ErrorCode.OVERLOADED, upload=upload
        )
    g.session_id = answer.session_id
    if upload.description.respond_async:
        response = accepted_only(answer)
    else:
        framing = FRAMINGS[upload.description.framing]
        response = await respond(request, framing, answer, services.settings, since=sent_at(request))
    response.headers.update(draft_headers.state(upload_request, complete=True, offset=upload.offset))
    return response


async def _answer_repeated(
    services: Services, upload: PartialUpload, upload_request: UploadRequest, offset: int
) -> Response:
    """Answers a client that did not receive the answer and completes the upload again, with an empty body."""
    if offset == upload.offset and upload_request.completes and not upload_request.content:
        return await _answer(services, upload, upload_request)
    raise Completed()


def _set_length(upload: PartialUpload, length: int | None) -> None:
    known = upload.description.length
    if length is not None and known is not None and length != known:
        raise inconsistent(f"Upload-Length was {known} before, so it cannot be {length}")
    upload.description.length = length if known is None else known


class _Progress:
    """Sends the client informational responses with the offset while its request runs, at most one per
    `PROGRESS_SECONDS`."""

    def __init__(self, upload_request: UploadRequest) -> None:
        self._upload_request = upload_request
        self._last = trio.current_time()

    async def __call__(self, offset: int) -> None:
        now = trio.current_time()
        if now < self._last + PROGRESS_SECONDS:
            return
        self._last = now
        fields = draft_headers.progress(self._upload_request, offset)
        if fields is not None:
            await inform(request, 104, fields)


def _limits(services: Services, upload: PartialUpload) -> dict[str, str]:
    return draft_headers.limits(services.settings.max_request_bytes, services.uploads.seconds_left(upload))


def _refused(
    upload_request: UploadRequest,
    error: PinactorsError,
    limit: Mapping[str, str],
    *,
    complete: bool,
    upload: PartialUpload | None = None,
) -> Response:
    """The response for `error`, as a problem document (RFC 9457) if the draft defines a type for it."""
    forget_frames(error)
    response = refuse(error, g.get("session_id"))
    problem = _problem(error)
    if problem is not None:
        body = msgspec.to_builtins(body_of(error, g.get("session_id")))
        content = msgspec.json.encode({**problem, "status": status_of(error), **body})
        fields = {**headers_of(error), "Content-Type": draft_headers.PROBLEM_TYPE}
        response = Response(content, status_of(error), fields)
    offset = None if upload is None else upload.offset
    response.headers.update(draft_headers.state(upload_request, complete=complete, offset=offset))
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
