"""CORS: header fields on every answer, and answers to browsers' preflight requests on every route."""

from __future__ import annotations

import re

from quart import Quart, Response, request

from pinactors.api.answers import empty

METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
ALLOWED = ("Content-Type", "Authorization", "x-api-key", "x-session-id")
"""Request headers of the protocol. Other headers that a preflight asks for are granted too: libraries and
monitoring add some (`Cache-Control`, `traceparent`), and no right here depends on cookies.
"""

MAX_GRANTED = 50
"""Most header names granted to one preflight besides `ALLOWED`."""

EXPOSED = ", ".join(
    [
        *("Stream-Next-Offset", "Stream-Up-To-Date", "Stream-Closed", "Stream-Cursor", "Stream-Location"),
        *("ETag", "Location", "Retry-After", "Preference-Applied"),
        *("Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length", "Upload-Limit"),
        *("Upload-Draft-Interop-Version", "Upload-Expires", "Upload-Metadata"),
        *("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"),
    ]
)
MAX_AGE = "86400"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
"""A header's name (RFC 9110, 5.6.2)."""


def preflight() -> Response:
    """The answer to `OPTIONS` on any route."""
    known = {name.lower() for name in ALLOWED}
    asked = [
        name.strip().title()
        for line in request.headers.getlist("Access-Control-Request-Headers")
        for name in line.split(",")
    ]
    also = [name for name in asked if _NAME.fullmatch(name) and name.lower() not in known][:MAX_GRANTED]
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": ", ".join([*ALLOWED, *also]),
        "Access-Control-Max-Age": MAX_AGE,
        "Vary": "Access-Control-Request-Headers",
    }
    return empty(204, headers)


def install(app: Quart) -> None:
    """Installs CORS for all answers, including errors and unknown routes, so that a browser can read
    errors."""

    @app.before_request
    async def answer_preflight() -> Response | None:
        return preflight() if request.method == "OPTIONS" else None

    @app.after_request
    async def allow(response: Response) -> Response:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        response.headers.setdefault("Access-Control-Allow-Headers", ", ".join(ALLOWED))
        response.headers.setdefault("Access-Control-Expose-Headers", EXPOSED)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")  # never show JSON as HTML
        return response
