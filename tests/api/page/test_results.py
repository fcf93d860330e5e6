"""A result at its own address: its preview, packets and photographs, and who may read them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from pinactors.api.page.results import describe
from tests.api.conftest import running
from tests.api.page.conftest import HOSTILE, Site, choose, opened
from tests.api.wire import JSON, ask, json_body

UPLOAD = "/mobile-upload?response=stream"


HTML = {"Accept": "text/html"}


def result(**more: Any) -> dict[str, Any]:
    candidate = {"pinId": "P1", "name": "Marlo the Fox"}
    estimate = {"currency": "USD", "low": 22.8, "median": 24.85, "high": 27.49}
    return {
        "verdict": "authentic",
        "identified": True,
        "candidates": [candidate],
        "estimate": estimate,
    } | more


def test_a_preview_says_name_verdict_and_price() -> None:
    head = describe(result(demonstration=True), "https://pins.example/", "abc")
    assert '<meta property="og:title" content="Marlo the Fox: looks genuine">' in head
    assert "If genuine: 22.80 to 27.49 USD." in head
    assert "Demonstration" in head
    assert '<meta property="og:url" content="https://pins.example/results/abc">' in head
    assert "A genuine one sells for" in describe(
        result(verdict="counterfeit"), "https://pins.example/", "abc"
    )
    unknown = describe(result(identified=False, estimate=None), "https://pins.example/", "abc")
    assert "A pin: looks genuine" in unknown
    assert "Marlo" not in unknown


def test_a_preview_runs_nothing_that_a_catalogue_says() -> None:
    hostile = result(candidates=[{"pinId": "x", "name": f'"><script>{HOSTILE}'}])
    hostile["estimate"]["currency"] = '"><b>'
    head = describe(hostile, 'https://pins.example/"><i>', '"><u>')
    assert "<script" not in head
    assert "<b>" not in head
    assert "<i>" not in head
    assert "<u>" not in head
    assert "<img" not in head


async def test_files_are_packed_for_whom_can_unpack_them(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for path in ("/static/page.js", "/admin"):
            plain = await ask(server.port, "GET", path)
            packed = await ask(server.port, "GET", path, headers={"Accept-Encoding": "br;q=1, gzip;q=0.5"})
            refused = await ask(server.port, "GET", path, headers={"Accept-Encoding": "gzip;q=0"})
            assert plain.body == refused.body == gzip.decompress(packed.body)
            assert len(packed.body) < len(plain.body) / 2
            assert packed.headers["content-encoding"] == "gzip"
            assert "content-encoding" not in plain.headers
            assert {plain.headers["vary"], packed.headers["vary"]} == {"Accept-Encoding"}
            assert plain.headers["etag"] != packed.headers["etag"]
            known = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}
            assert (await ask(server.port, "GET", path, headers=known)).status == 304
            weakened = known | {"If-None-Match": f"W/{packed.headers['etag']}"}
            assert (await ask(server.port, "GET", path, headers=weakened)).status == 304


async def _analysed(port: int, key: dict[str, str] | None = None) -> str:
    body = json_body(sessionId="shared", frontImageData=b"PHOTO")
    answer = await ask(port, "POST", UPLOAD, body, JSON | (key or {}))
    return str(json.loads(answer.body.splitlines()[0])["streamId"])


async def test_on_an_open_server_the_address_is_enough(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        stream_id = await _analysed(server.port)
        page = await ask(server.port, "GET", f"/results/{stream_id}", headers=HTML)
        assert page.status == 200
        assert b"og:title" in page.body
        assert b'data-view="result"' in page.body
        assert "script-src 'self'" in page.headers["content-security-policy"]
        packets = await ask(server.port, "GET", f"/results/{stream_id}/packets")
        kinds = [packet["packetType"] for packet in json.loads(packets.body)]
        assert (kinds[0], kinds[-1]) == ("CONNECTION_ESTABLISHED", "ANALYSIS_COMPLETE")
        assert (await ask(server.port, "GET", f"/results/{stream_id}/back")).status == 404
        assert (await ask(server.port, "GET", f"/results/{stream_id}/nonsense")).status == 404
        assert (await ask(server.port, "GET", "/results/unknown/packets")).status == 404
        unknown = await ask(server.port, "GET", "/results/unknown", headers=HTML)
        assert unknown.status == 200, "the page says so itself"
        assert b"og:title" not in unknown.body


async def test_where_keys_are_configured_a_result_is_its_owners(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        from pinactors.records import Records

        records = await Records.open(server.settings)
        mine, other = [{"x-api-key": await records.add_key(name)} for name in ("mine", "other")]
        await records.close()
        stream_id = await _analysed(server.port, mine)
        address = f"/results/{stream_id}/packets"
        assert (await ask(server.port, "GET", address, headers=mine)).status == 200
        assert (await ask(server.port, "GET", address, headers=other)).status == 404
        assert (await ask(server.port, "GET", address)).status == 401
        page = await ask(server.port, "GET", f"/results/{stream_id}", headers=HTML)
        assert page.status == 200
        assert b"og:title" not in page.body


def test_a_result_opens_elsewhere(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        address = page.url
        assert "/results/" in address
    with opened(browser, address) as elsewhere:
        elsewhere.wait_for_selector(".gauge[role=img]")
        assert elsewhere.locator(".stage .tab").count() == 3
        assert elsewhere.is_visible(".stage-screen canvas")
        assert HOSTILE in elsewhere.inner_text("#results-heading")
        assert elsewhere.evaluate("window.hacked") is None
        assert HOSTILE[:10] in elsewhere.title()


def test_an_address_of_nothing_says_so(browser: Any, site: Site) -> None:
    with opened(browser, f"{site.url}results/unknown", refused="Failed to load resource") as page:
        page.wait_for_selector("#notice.wrong:has-text('not on this device')")
        assert page.is_visible("#guide")
