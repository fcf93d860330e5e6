"""The documentation as pages at `/docs/…`, rendered from the repository's Markdown files.

HTML in a file is escaped and shown as text; links between files become links between pages.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import trio
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from quart import Blueprint, Response

import pinactors
from pinactors.api.page.pages import answer, template
from pinactors.api.services import current_services
from pinactors.protocol import ErrorCode, PinactorsError

PAGES = {
    "readme": "README.md",
    "protocol": "docs/protocol.md",
    "operations": "docs/operations.md",
    "deploy": "docs/deploy/README.md",
    "model-card": "docs/model-card.md",
    "architecture": "docs/architecture.md",
    "python": "docs/python.md",
    "javascript": "api/page/client/README.md",
    "swift": "docs/swift.md",
    "kotlin": "docs/kotlin.md",
    "vision": "docs/vision.md",
    "contributing": "docs/contributing.md",
    "mcp": "docs/mcp.md",
    "plugins": "docs/plugins.md",
    "security": "docs/security.md",
    "licenses": "docs/licenses.md",
    "benchmarks": "benchmarks/README.md",
    "changes": "CHANGELOG.md",
}
"""Maps each page's name to its file in the repository."""

PICTURES = {"page.png": "image/png", "terminal.svg": "image/svg+xml"}
"""Pictures of the pages, each with its media type; all of them are in `docs/pictures`."""

_NAMES = {file: name for name, file in PAGES.items()} | {"docs/deploy": "deploy"}

blueprint = Blueprint("documents", __name__)


def _file(path: str) -> Traversable:
    """The file: in an installed package below `pages`, otherwise in the repository."""
    inside = resources.files("pinactors")
    if path.startswith("api/"):
        return inside / path
    packed = inside / "pages" / path
    return packed if packed.is_file() else Path(pinactors.__file__).parents[1] / path


def _picture(name: str) -> bytes:
    return _file(f"docs/pictures/{name}").read_bytes()


@cache
def rendered(name: str) -> bytes:
    """The page `name` as HTML. Raises `KeyError` for an unknown name."""
    path = PAGES[name]
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(_file(path).read_text("utf-8"))
    for position, token in enumerate(tokens):
        token.attrs.pop("style", None)  # alignment of cells: the policy forbids inline styles
        if token.type == "heading_open":
            token.attrSet("id", _anchor(tokens[position + 1].content))
        for inner in token.children or ():
            _lead(inner, path)
            _show(inner, path)
    body = Markup(parser.renderer.render(tokens, parser.options, {}))
    page = template("document.html")
    return page.render(name=name, names=list(PAGES), body=body, version=pinactors.__version__).encode()


def _lead(token: Token, path: str) -> None:
    """Replaces the target of a link in the file at `path` by the target's page; removes the link if there is
    no such page."""
    if token.type != "link_open":
        return
    target = str(token.attrs["href"])
    if re.match(r"[a-z]+:|[#/]", target):
        return
    file, mark, fragment = target.partition("#")
    name = _NAMES.get(posixpath.normpath(posixpath.join(posixpath.dirname(path), file)))
    if name is None:
        del token.attrs["href"]
    else:
        token.attrSet("href", f"{name}{mark}{fragment}")


def _show(token: Token, path: str) -> None:
    """Replaces the source of a picture in the file at `path` by the URL where it is served."""
    if token.type == "image":
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), str(token.attrs["src"])))
        token.attrSet("src", file.removeprefix("docs/"))


def _anchor(heading: str) -> str:
    """The heading's anchor, which links name behind `#`."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@blueprint.get("/docs/pictures/<name>")
async def picture(name: str) -> Response:
    kind = PICTURES.get(name)
    if kind is None:
        raise PinactorsError(ErrorCode.NOT_FOUND, "Not found", f"No picture named {name[:80]!r}", status=404)
    content = await trio.to_thread.run_sync(_picture, name, limiter=current_services().disk)
    return answer(content, kind)


@blueprint.get("/docs/<name>")
async def document(name: str) -> Response:
    if name not in PAGES:
        raise PinactorsError(ErrorCode.NOT_FOUND, "Not found", f"No page named {name[:80]!r}", status=404)
    content = await trio.to_thread.run_sync(rendered, name, limiter=current_services().disk)
    return answer(content, "text/html; charset=utf-8")
