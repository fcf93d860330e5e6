"""CORS on every answer, and the preflight that browsers ask first, on every route."""

from __future__ import annotations

from quart import Quart, Response, request

METHODS = "GET, POST, DELETE, OPTIONS"
ALLOWED = "Content-Type, Authorization, x-api-key, x-session-id"
ALSO_ALLOWED = ("Idempotency-Key", "If-None-Match", "Last-Event-ID", "Prefer")
"""Ours: allowed when a preflight asks for them, so that clients of the fixed list see the fixed list."""

EXPOSED = "Stream-Next-Offset, Stream-Up-To-Date, Stream-Closed, Stream-Cursor, ETag, Location, Retry-After"
MAX_AGE = "86400"


def preflight() -> Response:
    asked = {
        name.strip().lower() for name in request.headers.get("Access-Control-Request-Headers", "").split(",")
    }
    also = [name for name in ALSO_ALLOWED if name.lower() in asked]
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": ", ".join([ALLOWED, *also]),
        "Access-Control-Max-Age": MAX_AGE,
        "Vary": "Access-Control-Request-Headers",
    }
    return Response(b"", 204, headers)


def install(app: Quart) -> None:
    """Errors and routes that do not exist get the headers too: a browser must be able to read a refusal."""

    @app.before_request
    async def answer_preflight() -> Response | None:
        return preflight() if request.method == "OPTIONS" else None

    @app.after_request
    async def allow(response: Response) -> Response:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        response.headers.setdefault("Access-Control-Allow-Headers", ALLOWED)
        response.headers.setdefault("Access-Control-Expose-Headers", EXPOSED)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")  # JSON that holds HTML stays JSON
        return response
