"""Descriptions of uploads in several requests: the IETF draft, at the upload's own URL, and tus."""

from __future__ import annotations

from pinactors.api.openapi.parts import (
    UPLOAD_ID,
    content,
    failures,
    headers,
    operation,
    parameter,
)
from pinactors.api.openapi.schemas import Json
from pinactors.api.uploads.resumable import draft_headers, tus_headers

RESUMING = [
    parameter(
        "Upload-Complete",
        "header",
        "Asks for an upload that can be resumed: `?0` if more follows, `?1` if the body is the rest",
        pattern=r"^\?[01]$",
    ),
    parameter(
        "Upload-Draft-Interop-Version",
        "header",
        "The version of the draft the client speaks; one that names it gets a 104 with the upload's URL",
        enum=[str(version) for version in draft_headers.SUPPORTED_VERSIONS],
    ),
    parameter("Upload-Length", "header", "Bytes of the whole upload", type="integer", minimum=0),
]
UPLOAD_FAILURES = (400, 401, 409, 413, 415, 422, 429, 500, 503)
STATE = headers(
    {
        "Upload-Offset": "The number of bytes received",
        "Upload-Complete": "`?1` if all bytes are in; up to interop version 3 `Upload-Incomplete` says so",
        "Upload-Limit": "How large an upload may be, and how long it is kept if no byte arrives",
    }
)
_OFFSET = parameter(
    "Upload-Offset",
    "header",
    "The offset at which this body begins",
    type="integer",
    minimum=0,
    required=True,
)


def resumed(name: str, whole: Json) -> Json:
    """The requests on a created upload of the draft; `whole` are the answers to the one that completes it."""
    told = {"204": {"description": "Where it is", "headers": STATE}}
    part = {"201": {"description": "The bytes were added; more are to come", "headers": STATE}}
    return {
        "parameters": [UPLOAD_ID],
        "head": operation(
            f"{name}State",
            "Resume",
            "The offset at which an upload continues",
            told | failures(400, 401, 404, 503, problem=True),
            "After a connection broke: `Upload-Offset` says how many bytes are stored, also after a "
            "restart of the server.",
            parameters=[RESUMING[1]],
        ),
        "patch": operation(
            f"{name}Append",
            "Resume",
            "Send more of an upload",
            whole | part | told | failures(404, *UPLOAD_FAILURES, problem=True),
            "From `Upload-Offset` on, which must be the upload's offset (409 names it). The request that "
            "completes the upload is answered with the analysis.",
            parameters=[_OFFSET, *RESUMING],
            body={"required": True, "content": content(draft_headers.PARTIAL_TYPE, schema=_BYTES)},
            example=_IN_TWO_REQUESTS,
        ),
        "delete": operation(
            f"{name}Cancel",
            "Resume",
            "Cancel an upload",
            {"204": {"description": "It is gone"}} | failures(400, 401, 404, 503, problem=True),
            parameters=[RESUMING[1]],
        ),
    }


_IN_TWO_REQUESTS = r"""part='Content-Disposition: form-data; name="front_image"; filename="f"'
{ printf -- '--b\r\n%s\r\n\r\n' "$part"; cat front.jpg; printf '\r\n--b--\r\n'; } > body
upload=$(curl -si -X POST -H 'Content-Type: multipart/form-data; boundary=b' -H 'Upload-Complete: ?0' \
  '{server}/mobile-upload?response=json' | sed -n 's/^[Ll]ocation: //p' | tr -d '\r')
curl -s -X PATCH -H 'Content-Type: application/partial-upload' \
  -H 'Upload-Offset: 0' -H 'Upload-Complete: ?1' --data-binary @body "{server}$upload" """
_BYTES: Json = {"type": "string", "format": "binary", "description": "A part of the upload's body."}
_TUS = parameter("Tus-Resumable", "header", "The version of tus", enum=[tus_headers.VERSION], required=True)
_TUS_STATE = headers(
    {
        "Tus-Resumable": "The version of tus",
        "Upload-Offset": "The number of bytes received",
        "Upload-Expires": "When an incomplete upload is removed",
        "Stream-Location": "The URL at which the packets of its session are read",
    }
)
_CHECKSUM = parameter(
    "Upload-Checksum",
    "header",
    f"An algorithm ({', '.join(tus_headers.ALGORITHMS)}) and the checksum of this body in base64",
    maxLength=200,
)


def tus_created() -> Json:
    metadata = parameter(
        "Upload-Metadata",
        "header",
        "`sessionId`, `view` (front, back, angled), `complete` on the last one, and `stream` or `webhook`, "
        "each with its value in base64, separated by commas",
        maxLength=tus_headers.METADATA_LIMIT,
    )
    length = parameter(
        "Upload-Length", "header", "Bytes of the photograph", type="integer", minimum=1, required=True
    )
    made = {
        "description": "The upload is created; send its bytes to `Location`",
        "headers": headers({"Location": "The upload's URL"}) | _TUS_STATE,
    }
    return {
        "post": operation(
            "tusCreate",
            "Resume",
            "Begin to upload a photograph with tus 1.0",
            {"201": made} | failures(400, 401, 404, 409, 412, 413, 415, 429, 460, 503),
            "One upload is one photograph; those of one `sessionId` are analysed together, and work on each "
            "begins when it is in. Core, creation, creation-with-upload, expiration, checksum, termination.",
            parameters=[_TUS, length, metadata, _CHECKSUM],
        )
    }


def tus() -> Json:
    return {
        "parameters": [UPLOAD_ID],
        "head": operation(
            "tusState",
            "Resume",
            "The offset at which a photograph continues",
            {
                "200": {
                    "description": "Where it is",
                    "headers": _TUS_STATE | headers({"Upload-Length": "Bytes of the photograph"}),
                }
            }
            | failures(*_TUS_FAILURES),
            parameters=[_TUS],
        ),
        "patch": operation(
            "tusAppend",
            "Resume",
            "Send more of a photograph",
            {"204": {"description": "The bytes were added", "headers": _TUS_STATE}}
            | failures(*_TUS_FAILURES, 409, 415, 422, 460),
            "Clients that cannot send `PATCH` send `POST` with `X-HTTP-Method-Override: PATCH`.",
            parameters=[_TUS, _OFFSET, _CHECKSUM],
            body={"required": True, "content": content(tus_headers.OFFSET_TYPE, schema=_BYTES)},
        ),
        "delete": operation(
            "tusCancel",
            "Resume",
            "Cancel a photograph",
            {"204": {"description": "It is gone"}} | failures(*_TUS_FAILURES),
            parameters=[_TUS],
        ),
    }


_TUS_FAILURES = (400, 401, 404, 409, 410, 412, 413, 422, 429, 500, 503)
"""Statuses of errors, including those of an upload that failed earlier, which every later request repeats."""
