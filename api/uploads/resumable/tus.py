"""tus 1.0 at `/uploads/`: one upload is one photograph.

Core, creation, creation-with-upload, expiration, checksum and termination. Every answer about an upload
carries `Stream-Location`, the URL at which the packets of its session are read.
"""

from __future__ import annotations

import time

from quart import Blueprint, Response, g, request

from pinactors.api.answers import empty
from pinactors.api.auth import UPLOADS, authenticate
from pinactors.api.http.body import BodyReader, too_large
from pinactors.api.services import Services, current_services
from pinactors.api.uploads.mobile_upload import Source
from pinactors.api.uploads.resumable import tus_headers
from pinactors.api.uploads.resumable.groups import PROTOCOL
from pinactors.api.uploads.resumable.tus_headers import Checksum
from pinactors.api.uploads.resumable.upload import PartialUpload
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.tracing import correlation

blueprint = Blueprint("tus", __name__)


@blueprint.post("/uploads")
@blueprint.post("/uploads/")
async def create() -> Response:
    services = current_services()
    owner = await _authenticate(services)
    metadata = request.headers.get("Upload-Metadata", "")
    photograph = tus_headers.photograph(metadata)
    length, limit = tus_headers.length(request.headers), services.settings.max_request_bytes
    if length == 0:
        raise PinactorsError(
            ErrorCode.INVALID_FORMAT, "Empty photograph", "Upload-Length is 0", field="Upload-Length"
        )
    if length > limit:
        raise too_large(limit)
    trace_context = correlation(request.headers.items())
    upload = await services.groups.join(owner, photograph, metadata, length, trace_context)
    if request.mimetype == tus_headers.OFFSET_TYPE:
        await _append(services, upload, 0)
    return _state_response(services, upload, 201, {"Location": f"/uploads/{upload.id}"})


@blueprint.patch("/uploads/<upload_id>")
async def append(upload_id: str) -> Response:
    services = current_services()
    upload = await _find_continuing(services, upload_id)
    offset = tus_headers.offset(request.headers, request.headers.get("Content-Type", ""))
    if not (upload.complete and offset == upload.offset and not request.content_length):
        await _append(services, upload, offset)
    return _state_response(services, upload, 204)


@blueprint.route("/uploads/<upload_id>", methods=["HEAD"])
async def get_offset(upload_id: str) -> Response:
    services = current_services()
    upload = await _find_continuing(services, upload_id)
    services.uploads.receive_group(upload)
    await upload.settled_offset()
    await upload.finish_at_length()
    state = {"Upload-Length": str(upload.description.length), "Cache-Control": "no-store"}
    if upload.description.metadata:
        state["Upload-Metadata"] = upload.description.metadata
    return _state_response(services, upload, 200, state)


@blueprint.delete("/uploads/<upload_id>")
async def remove_upload(upload_id: str) -> Response:
    services = current_services()
    await services.uploads.remove(await _find(services, upload_id))
    return empty(204)


@blueprint.post("/uploads/<upload_id>")
async def override_method(upload_id: str) -> Response:
    """Runs the method in `X-HTTP-Method-Override`, for clients that cannot send `PATCH`, `DELETE` or
    `HEAD`."""
    match request.headers.get("X-HTTP-Method-Override", "").upper():
        case "PATCH":
            return await append(upload_id)
        case "DELETE":
            return await remove_upload(upload_id)
        case "HEAD":
            return await get_offset(upload_id)
    raise PinactorsError(
        ErrorCode.INVALID_FORMAT,
        "Method not allowed",
        "POST here needs X-HTTP-Method-Override: PATCH, DELETE or HEAD",
        field="X-HTTP-Method-Override",
        status=405,
    )


@blueprint.after_request
async def sign(response: Response) -> Response:
    """Adds the tus version to every response, including errors."""
    response.headers.update(tus_headers.signature(response.status_code))
    return response


@blueprint.after_app_request
async def announce(response: Response) -> Response:
    """Adds version, extensions and limits to answers to `OPTIONS`."""
    if request.method == "OPTIONS" and request.path.startswith("/uploads"):
        response.headers.update(tus_headers.capabilities(current_services().settings.max_request_bytes))
    return response


class _ChecksummedBody:
    """A request's body whose checksum is verified at the end. `chunk` raises `ChecksumMismatch`."""

    def __init__(self, source: Source, checksum: Checksum) -> None:
        self._source, self._checksum = source, checksum

    async def chunk(self) -> bytes:
        data = await self._source.chunk()
        if data:
            self._checksum.feed(data)
        else:
            self._checksum.check()
        return data


async def _append(services: Services, upload: PartialUpload, offset: int) -> None:
    checksum = tus_headers.checksum(request.headers)
    length = upload.description.length or 0
    reader = BodyReader(request, services.settings, services.settings.max_request_bytes)
    source = reader if checksum is None else _ChecksummedBody(reader, checksum)
    services.uploads.receive_group(upload)
    try:
        await upload.append(offset, source, length, all_or_nothing=checksum is not None)
    finally:  # also if the request breaks off behind the last byte
        await upload.finish_at_length()  # noqa: ASYNC102 - shields itself, two disk operations


async def _authenticate(services: Services) -> str:
    """Checks the tus version and the key; returns the key's owner id. Raises `PinactorsError` (401, 412)."""
    tus_headers.check_version(request.headers)
    return await authenticate(request.headers, services.records, UPLOADS)


async def _find(services: Services, upload_id: str) -> PartialUpload:
    upload = services.uploads.find(upload_id, await _authenticate(services), PROTOCOL)
    g.session_id = upload.description.session_id
    return upload


async def _find_continuing(services: Services, upload_id: str) -> PartialUpload:
    """The upload. Raises its refusal, if it has one."""
    upload = await _find(services, upload_id)
    if upload.refusal is not None:
        raise upload.refusal
    return upload


def _state_response(
    services: Services, upload: PartialUpload, status: int, extra_headers: dict[str, str] | None = None
) -> Response:
    """A response with the upload's state and the URL of its stream."""
    fields = {"Upload-Offset": str(upload.offset), **(extra_headers or {})}
    if not upload.complete:
        fields |= tus_headers.expires(time.time() + services.uploads.seconds_left(upload))
    stream_id = upload.announced_stream or upload.description.stream_id
    if stream_id is not None:  # None if the upload failed in an earlier process
        fields["Stream-Location"] = f"/streams/{stream_id}"
    return empty(status, fields)
