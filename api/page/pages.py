"""Routes of the page's files: HTML, modules, styles, icons, and the service worker that makes it
installable."""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import trio
from jinja2 import DictLoader, Environment, Template
from markupsafe import Markup
from quart import Blueprint, Response, request

from pinactors.api.services import current_services
from pinactors.catalog.reader import is_demonstration
from pinactors.protocol import ErrorCode, PinactorsError

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types pinactors",
    ]
)
"""Forbids other hosts, inline scripts and styles, and HTML from strings except through the page's one parser,
which makes inert documents."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}

CLIENT = ("pinactors.js", "pinactors.d.ts")
"""Files of the JavaScript client: the npm package's own, served to the page and to other users."""

TYPES = {".js": "text/javascript", ".woff2": "font/woff2", ".webmanifest": "application/manifest+json"}
"""Media types that are missing or different in the tables of some systems."""

blueprint = Blueprint("page", __name__)


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _read_files() -> dict[str, tuple[bytes, str, str]]:
    found = {}
    root = resources.files("pinactors.api.page")
    client = [(name, root / "client" / name) for name in CLIENT]
    for name, file in [*_below(root / "static", ""), *client]:
        content = file.read_bytes()
        suffix = name[name.rfind(".") :]
        kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        found[name] = (content, kind, _tag(content))
    return found


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def _read_templates() -> Environment:
    folder = resources.files("pinactors.api.page") / "templates"
    sources = {name: file.read_text("utf-8") for name, file in _below(folder, "")}
    return Environment(loader=DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True)


FILES = _read_files()
"""Maps each path below `static` to (content, content type, entity tag); no other files are served. Like the
templates, the files are read when the module is imported, so that no request waits for a disk."""

_TEMPLATES = _read_templates()


async def shell(head: str | None = None, view: str = "start") -> Response:
    """The page, which shows `view` at once. `head` (escaped HTML) replaces its title and description unless
    it is None."""
    services = current_services()
    demonstration = await trio.to_thread.run_sync(
        is_demonstration, services.catalog_folder, limiter=services.disk
    )
    return _page("index.html", Markup(head) if head is not None else None, view, demonstration)


@lru_cache(64)
def _rendered(name: str, head: Markup | None, view: str, demonstration: bool) -> bytes:
    page = template(name).render(head=head, view=view, demonstration=demonstration, modules=_modules())
    return page.encode()


def _page(name: str, head: Markup | None, view: str, demonstration: bool = False) -> Response:
    content = _rendered(name, head, view, demonstration)
    return answer(content, "text/html; charset=utf-8")


def _modules() -> list[str]:
    """The page's modules, which the HTML announces so that no module waits for the one that imports it."""
    apart = ("page.js", "worker.js")
    return [
        name
        for name in sorted(FILES)
        if name.endswith(".js") and not name.startswith("admin/") and name not in apart
    ]


def template(name: str, **filters: Callable[..., Any]) -> Template:
    """A template of `templates`; values that are inserted into it are escaped."""
    environment = _TEMPLATES.overlay()
    environment.filters = environment.filters | filters
    return environment.get_template(name)


@blueprint.get("/admin")
async def admin() -> Response:
    """The operator's page; its data needs a key with the right to administer."""
    return _page("admin.html", None, "admin")


@blueprint.get("/static/<path:name>")
async def static(name: str) -> Response:
    if name not in FILES:
        raise PinactorsError(ErrorCode.NOT_FOUND, "Not found", f"No file named {name[:80]!r}", status=404)
    return answer(*FILES[name])


@blueprint.get("/worker.js")
async def service_worker() -> Response:
    """The service worker, preceded by the list of files to cache and their version, which changes with each
    file."""
    kept = {f"/static/{name}": tag for name, (_, _, tag) in sorted(FILES.items()) if _is_kept(name)}
    version = hashlib.sha256(repr(kept).encode()).hexdigest()[:16]
    head = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(list(kept))};\n"
    content = head.encode() + FILES["worker.js"][0]
    return answer(content, "text/javascript; charset=utf-8")


def _is_kept(name: str) -> bool:
    return name.endswith((".js", ".css", ".woff2", ".svg", ".png")) and not name.startswith(
        ("admin/", "worker")
    )


def answer(content: bytes, kind: str, tag: str | None = None) -> Response:
    """A response with a file, compressed if the browser accepts that; 304 if the browser has the file. `tag`
    is the content's entity tag if that is known."""
    tag = tag or _tag(content)
    headers = HEADERS | {"Content-Type": kind}
    if kind.startswith("text/"):
        headers["Vary"] = "Accept-Encoding"
        if request.accept_encodings.quality("gzip") > 0:
            headers["Content-Encoding"] = "gzip"
            content, tag = _packed(content), f"{tag}-gzip"
    headers["ETag"] = f'"{tag}"'
    if request.if_none_match.contains_weak(tag):  # proxies that compress weaken tags
        return Response(b"", 304, headers)
    return Response(content, 200, headers)


@lru_cache(256)
def _packed(content: bytes) -> bytes:
    """`content` compressed. Cached: there are a few dozen small files, and each takes a millisecond."""
    return gzip.compress(content, mtime=0)
