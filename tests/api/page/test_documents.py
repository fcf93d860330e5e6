"""The documentation at `/docs/…`."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pinactors.api.page import documents
from pinactors.api.page.documents import PAGES, rendered
from tests.api.conftest import Running
from tests.api.wire import ask

ROOT = Path(__file__).parents[3]


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.found if (value := attributes.get(attribute))]


def test_every_markdown_file_for_people_has_a_page() -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    assert files <= set(PAGES.values())


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_pages_and_headings(name: str) -> None:
    page = Elements(rendered(name).decode())
    assert "h1" in {tag for tag, _ in page.found}
    assert not page.named("style")
    assert "script" not in {tag for tag, _ in page.found}
    pictures = [f"pictures/{picture}" for picture in documents.PICTURES]
    assert set(page.named("src")) <= {*pictures, "../static/icons/pin.svg"}
    for target in page.named("href"):
        if re.match(r"https?:|\.\./", target):
            continue
        other, _, fragment = target.partition("#")
        assert not other or other in PAGES, target
        if fragment:
            there = page if not other else Elements(rendered(other).decode())
            assert fragment in there.named("id"), target


def test_a_file_cannot_bring_html_or_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# A\n\n<script>alert(1)</script>\n\n[go](javascript:alert(1)) <b onclick='x'>b</b>\n"
    (tmp_path / "README.md").write_text(text)
    monkeypatch.setattr(documents, "_file", lambda path: tmp_path / path)
    rendered.cache_clear()
    try:
        html = rendered("readme").decode()
    finally:
        rendered.cache_clear()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<b " not in html
    assert 'href="javascript:' not in html


async def test_they_are_served_beside_the_description(server: Running) -> None:
    answer = await ask(server.port, "GET", "/docs/architecture")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b'<a href="plugins">' in (await ask(server.port, "GET", "/docs/contributing")).body
    again = await ask(
        server.port, "GET", "/docs/architecture", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status == 304
    assert b"<h1>pinactors API</h1>" in (await ask(server.port, "GET", "/docs")).body
    picture = await ask(server.port, "GET", "/docs/pictures/page.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.body == (ROOT / "docs" / "pictures" / "page.png").read_bytes()
    assert (await ask(server.port, "GET", "/docs/pictures/draw.py")).status == 404
    absent = await ask(server.port, "GET", "/docs/..%2fpyproject")
    assert (absent.status, absent.json()["errorCode"]) == (404, "not_found")
