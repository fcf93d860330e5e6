"""The page a person sees, its files, and the catalogue's pictures it shows beside the photographs."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from importlib import resources
from pathlib import Path

import trio
from quart import Blueprint, Response, request

from api.auth import authenticate
from api.services import services
from pinactors.catalog.reader import Catalog
from pinactors.protocol import ErrorCode, PinactorsError, View

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types pinactors",
    ]
)
"""No other host, nothing inline, no HTML from a string except through the page's one inert parser."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}

CLIENT = ("pinactors.js", "pinactors.d.ts")
"""The JavaScript client: the page and whoever else wants it get the npm package's own files."""

blueprint = Blueprint("page", __name__)


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Name to (content, content type, entity tag): the only files there are, read once."""
    files = {}
    root = resources.files("api.page")
    client = [root / "client" / name for name in CLIENT]
    for file in [*root.joinpath("static").iterdir(), *client]:
        content = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        files[file.name] = (content, kind, hashlib.sha256(content).hexdigest()[:32])
    return files


async def page() -> Response:
    """The page itself."""
    return _serve("index.html")


@blueprint.get("/static/<name>")
async def static(name: str) -> Response:
    return _serve(name)


def _serve(name: str) -> Response:
    if name not in _files():
        raise PinactorsError(ErrorCode.NOT_FOUND, "Not found", f"No file named {name[:80]!r}", status=404)
    content, kind, tag = _files()[name]
    headers = HEADERS | {"Content-Type": kind, "ETag": f'"{tag}"'}
    if tag in request.if_none_match:
        return Response(b"", 304, headers)
    return Response(content, 200, headers)


@blueprint.get("/catalog/<pin_id>/<view>")
async def catalog_picture(pin_id: str, view: str) -> Response:
    """The bounded catalogue picture of a pin; 404 where there is none."""
    given = services()
    await authenticate(request.headers, given.records)
    picture = None
    if view in (View.FRONT, View.BACK):
        picture = await trio.to_thread.run_sync(
            _picture, given.catalog_folder, pin_id, View(view), limiter=given.disk
        )
    if picture is None:
        raise PinactorsError(
            ErrorCode.NOT_FOUND, "Not found", "The catalogue has no such picture", status=404
        )
    content, kind = picture
    headers = {
        "Content-Type": kind,
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, 200, headers)


def _picture(folder: Path, pin_id: str, view: View) -> tuple[bytes, str] | None:
    path = Catalog.open(folder).picture(pin_id, view)
    if path is None:
        return None
    return path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"
