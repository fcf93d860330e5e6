"""The page in a real browser, against a real server with a real (drawn) catalogue."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pinactors.catalog import demo
from pinactors.catalog.importer import import_catalog
from pinactors.protocol import View
from tests.api.conftest import launch

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>Fox'
PATIENCE = 60_000
"""Milliseconds a page may take: three photographs on two busy cores."""

PHONE = {
    "viewport": {"width": 320, "height": 640},
    "is_mobile": True,
    "has_touch": True,
    "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Mobile",
}


@dataclass(frozen=True)
class Site:
    port: int
    photographs: dict[View, Path]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose catalogue holds four drawn pins, the first with a hostile name, and its photographs."""
    folder = tmp_path_factory.mktemp("page")
    designs = [replace(demo.DESIGNS[0], name=HOSTILE, characters=(HOSTILE,)), *demo.DESIGNS[1:4]]
    today = dt.datetime.now(dt.UTC).date()
    demo.draw_demo(folder / "drawn", today, designs=designs)
    import_catalog(folder / "drawn", folder / "data" / "catalog")
    photographs = {}
    for view in View:
        photographs[view] = folder / f"{view}.jpg"
        photographs[view].write_bytes(demo.photograph(designs[0], view, 3))
    process, port = launch(folder / "data", analysis="pins")
    try:
        yield Site(port, photographs)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str, *, refused: str = "-", **options: Any) -> Iterator[Any]:
    """A page on which what the console calls an error fails the test, except what starts with `refused`."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    expected = ("Failed to load resource: net::", refused)
    assert [line for line in wrong if not line.startswith(expected)] == []


def choose(page: Any, site: Site) -> None:
    for view, photograph in site.photographs.items():
        page.set_input_files(f"#choose-{view}", str(photograph))
        page.wait_for_selector(f"#slot-{view}.taken")


def test_whole_analysis_on_a_phone_with_a_slow_link(browser: Any, site: Site) -> None:
    with opened(browser, site.url, **PHONE) as page:
        link = page.context.new_cdp_session(page)
        link.send(
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 400_000},
        )
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector("#sending progress")
        page.wait_for_selector('[data-type="CHARACTER_IDENTIFICATION"]:not([aria-busy])')
        page.wait_for_selector(".feedback")
        assert page.query_selector_all("[aria-busy]") == []
        assert page.inner_text("#status").startswith("Done in ")
        assert page.is_visible("#demonstration")
        assert page.is_visible(".gauge")
        assert page.is_visible(".price-chart")
        assert "not a certificate" in page.inner_text("main")
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, "the page is wider than 320 px"

        page.fill("#comment", "It is mine")
        page.click('[data-agreement="agree"]')
        page.wait_for_selector('[data-agreement="agree"][aria-pressed="true"]')

        page.reload()
        page.click(".history-entry")
        assert page.is_visible(".gauge"), "the history shows the analysis again"


def test_hostile_catalogue_text_is_shown_and_does_not_run(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        assert HOSTILE in page.inner_text('[data-type="CHARACTER_IDENTIFICATION"]')
        assert page.evaluate("window.hacked") is None
        assert page.query_selector("#cards script, #cards [onerror]") is None


def test_fragments_are_rebuilt_without_what_could_run(browser: Any, site: Site) -> None:
    # parsing alone makes the browser say that it will not run what stands in attributes
    with opened(browser, site.url, refused="Executing inline") as page:
        shown = page.evaluate(
            """async () => {
              const { fragment } = await import("/static/fragments.js");
              const hostile = '<p onclick="hacked()">a<b class="k" title="x">b</b>'
                + '<a href="javascript:hacked()">c</a>'
                + '<svg onload=hacked()>d</svg><iframe srcdoc="e"></iframe><form><input>f</form></p>';
              return fragment(hostile).innerHTML;
            }"""
        )
        assert shown == '<p>a<b class="k">b</b>c</p>f<p></p>'


def test_connection_cut_in_the_middle_loses_and_repeats_nothing(browser: Any, site: Site) -> None:
    with cutting(site.port, [1500, 2500]) as port, opened(browser, f"http://127.0.0.1:{port}/") as page:
        page.evaluate(
            """() => {
              window.states = [];
              new MutationObserver(() => window.states.push(document.getElementById("status").dataset.state))
                .observe(document.getElementById("status"), { attributes: true });
            }"""
        )
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        assert "reconnecting" in page.evaluate("window.states")
        assert page.locator('[data-type="AUTHENTICATION_RESULT"] .verdict').count() == 1
        kept = json.loads(page.evaluate("localStorage.getItem('pinactors.history')"))[0]["packets"]
        assert [packet["sequence"] for packet in kept] == list(range(len(kept)))
        assert kept[-1]["packetType"] == "ANALYSIS_COMPLETE"


def test_desktop_gets_one_object(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        front = site.photographs[View.FRONT]
        answer = page.request.post(
            f"{site.url}mobile-upload",
            headers={"User-Agent": "okhttp/4.12"},
            multipart={
                "front_image": {"name": "f.jpg", "mimeType": "image/jpeg", "buffer": front.read_bytes()}
            },
            timeout=PATIENCE,
        )
        assert answer.status == 200
        body = answer.json()
        assert body["complete"] is True
        assert body["id"] == body["recordNumber"] == body["recordId"]
        assert body["verdict"] == "undetermined", "a front alone never decides"


def test_keyboard_alone_reaches_the_analysis(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        page.set_input_files("#choose-front", str(site.photographs[View.FRONT]))
        page.wait_for_selector("#analyze:not([disabled])")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "analyze":
                break
        page.keyboard.press("Enter")
        page.wait_for_selector(".feedback")


def test_refusal_is_said_plainly(browser: Any, site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "broken.heic"
    broken.write_bytes(b"this is not a picture")
    with opened(browser, site.url) as page:
        page.set_input_files("#choose-front", str(broken))
        page.wait_for_selector("#slot-front.taken")
        page.click("#analyze")
        page.wait_for_selector("#status.wrong")
        assert page.inner_text("#status") != ""
        assert page.query_selector_all("[aria-busy]") == []


@contextmanager
def cutting(server: int, limits: list[int]) -> Iterator[int]:
    """A way to the server that breaks the answers to uploads and resumes, each after so many bytes."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(phone: socket.socket) -> None:
        left: list[int] = []  # of the answer under way, empty while it may go on

        def ask() -> None:
            with suppress(OSError):
                while data := phone.recv(65536):
                    if data.startswith((b"POST /mobile-upload", b"GET /streams/")) and limits:
                        left.append(limits.pop(0))
                    upstream.sendall(data)

        with phone, socket.create_connection(("127.0.0.1", server)) as upstream, suppress(OSError):
            asking = threading.Thread(target=ask)
            asking.start()
            while data := upstream.recv(65536):
                phone.sendall(data[: left[0]] if left else data)
                if left:
                    left[0] -= len(data)
                    if left[0] <= 0:
                        break
            for end in (phone, upstream):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            asking.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join()
