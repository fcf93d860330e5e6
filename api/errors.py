"""HTTP answers for domain errors, with the status of each error code."""

from __future__ import annotations

import math
from urllib.parse import quote

import msgspec
import structlog
from quart import Quart, Response, g, has_request_context, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import WebsocketMismatch

from pinactors.api.answers import Failure
from pinactors.protocol import (
    UPLOAD_BROKEN_OFF,
    ErrorCode,
    PinactorsError,
    View,
    forget_frames,
    storage_unavailable,
    timestamp,
)

log = structlog.get_logger(__name__)

STATUS = {
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.MISSING_IMAGE: 400,
    ErrorCode.INVALID_FORMAT: 400,
    ErrorCode.MISSING_FIELDS: 400,
    ErrorCode.INVALID_AGREEMENT: 400,
    ErrorCode.CANCELLED: 409,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.RECORD_NOT_FOUND: 404,
    ErrorCode.STREAM_NOT_FOUND: 404,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.SESSION_CONFLICT: 422,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.PROCESSING_ERROR: 500,
}

MOST_DIGITS = 9
"""Most digits of a number in a URL or a header."""

RETRY_AFTER = 5
"""Seconds in `Retry-After` if the error names none."""

SESSION_ID = "session_id"
"""Name in `quart.g` under which a handler stores the session id for error responses."""

INSUFFICIENT_SCOPE = 'error="insufficient_scope"'
"""Part of `WWW-Authenticate` in the answer to a valid token that is for something else (RFC 6750, 3.1)."""


class OtherPurpose(PinactorsError):
    """The error for a valid token that is for something else."""


UNEXPECTED = PinactorsError(
    ErrorCode.PROCESSING_ERROR, "Processing error", "The server failed; the log has the reason"
)


def status_of(error: PinactorsError) -> int:
    return error.status or STATUS[error.code]


def body_of(error: PinactorsError, session_id: str | None = None) -> Failure:
    """The error's JSON object; `field` and `view` are present only if the error names them."""
    return Failure(
        message=error.message,
        error=error.detail,
        error_code=error.code,
        session_id=session_id,
        timestamp=timestamp(),
        field=error.field or msgspec.UNSET,
        view=View(error.view) if error.view else msgspec.UNSET,
    )


def headers_of(error: PinactorsError) -> dict[str, str]:
    status = status_of(error)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if status in (429, 503):
        headers["Retry-After"] = str(math.ceil(error.retry_after or RETRY_AFTER))
    if status == 426:
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    if status == 401:
        scope = f", {INSUFFICIENT_SCOPE}" if isinstance(error, OtherPurpose) else ""
        headers["WWW-Authenticate"] = f'Bearer realm="pinactors"{scope}'
    return headers


def respond(error: PinactorsError, session_id: str | None = None) -> Response:
    """The response for an error."""
    body = msgspec.json.encode(body_of(error, session_id))
    return Response(body, status_of(error), headers_of(error))


_HTTP_CODES = {404: ErrorCode.NOT_FOUND, 413: ErrorCode.TOO_LARGE}


def from_http(error: HTTPException) -> PinactorsError:
    """The domain error for an HTTP error of the router (404, 405, 426, …)."""
    if isinstance(error, WebsocketMismatch):
        if has_request_context():
            detail = "This URL accepts WebSocket connections only: send Upgrade: websocket"
            return PinactorsError(ErrorCode.INVALID_FORMAT, "Upgrade required", detail, status=426)
        detail = "This URL accepts no WebSocket connections: the WebSocket is at /ws"
        return PinactorsError(ErrorCode.INVALID_FORMAT, "Not a WebSocket", detail, status=400)
    status = error.code or 500
    code = _HTTP_CODES.get(status, ErrorCode.INVALID_FORMAT if status < 500 else ErrorCode.PROCESSING_ERROR)
    return PinactorsError(code, error.name, error.description or error.name, status=status)


def one_error(group: BaseException) -> BaseException:
    """The first domain error among the leaves of an exception group; if there is none, the first leaf."""
    if not isinstance(group, BaseExceptionGroup):
        return group
    leaves = [one_error(member) for member in group.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, PinactorsError)), leaves[0])


def install(app: Quart) -> None:
    """Installs error handlers that answer every failure in the protocol's form. Unexpected exceptions are
    logged and not shown to the client."""

    @app.errorhandler(PinactorsError)
    async def refused(error: PinactorsError) -> Response:
        forget_frames(error)
        return respond(error, g.get(SESSION_ID))

    @app.errorhandler(HTTPException)
    async def not_routed(error: HTTPException) -> Response:
        response = _without_slash(app) if error.code == 404 and has_request_context() else None
        response = response or respond(from_http(error))
        for name, value in error.get_headers():
            if name.lower() == "allow":
                response.headers[name] = value
        forget_frames(error)
        return response

    @app.errorhandler(Exception)
    async def failed(error: Exception) -> Response:
        # Unexpected exceptions of a handler are logged here with their traceback.
        route = str(request.url_rule) if has_request_context() else "websocket"
        log.error("request failed", route=route, exc_info=error)
        return respond(UNEXPECTED, g.get(SESSION_ID))


def _without_slash(app: Quart) -> Response | None:
    """The redirection of a reader to the same path without the slash at its end, if something is there."""
    path = request.path.rstrip("/")
    adapter = app.create_url_adapter(request)
    if path == request.path or adapter is None or request.method not in ("GET", "HEAD"):
        return None
    if not adapter.test(path, request.method):
        return None
    query = request.query_string.decode("ascii")
    return Response(b"", 308, {"Location": quote(path) + (f"?{query}" if query else "")})


def broken_off() -> PinactorsError:
    """The error of an upload whose sender has disconnected."""
    detail = "The connection ended before the upload was complete"
    return PinactorsError(ErrorCode.CANCELLED, UPLOAD_BROKEN_OFF, detail)


def whole_number(text: str) -> int | None:
    """The number that a client wrote, if it has one to `MOST_DIGITS` decimal digits and nothing else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def not_stored(error: OSError, session_id: str | None = None) -> PinactorsError:
    """Logs that an upload could not be written to disk, and returns the error for the client."""
    log.error("upload not stored", session=session_id, error=str(error))
    return storage_unavailable()
