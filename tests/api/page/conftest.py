"""A real browser and a real server with a drawn catalogue, for tests of what a person sees."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pinactors.catalog import demo
from pinactors.catalog.importing.importer import import_catalog
from pinactors.protocol import View
from tests.api.conftest import launch
from tests.api.page import canned

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WITHOUT = [
    # Chromium takes the last of several such lists, so that what Playwright leaves out is repeated here.
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable"),
    *("LensOverlay", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning"),
    *("AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying"),
    *("AimEnabled", "PreconnectToSearch", "DestroyProfileOnBrowserClose"),
    # Pages that no test sees: of the address bar, and a blank one kept ready for each context.
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "SpareRendererForSitePerProcess"),
]
"""Features of Chromium that are off."""

ARGUMENTS = [
    f"--disable-features={','.join(WITHOUT)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>Fox'
PATIENCE = 120_000
"""Milliseconds that the page may take: an analysis of three photographs on two busy cores."""

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


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose catalogue has four drawn pins, the first with a hostile name; and photographs of that
    pin."""
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


@contextmanager
def chromium(*more: str) -> Iterator[Any]:
    """A headless browser. Skips the test if Playwright or Chromium is not installed."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with driver.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *more])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@contextmanager
def opened(browser: Any, url: str, *, refused: str | tuple[str, ...] = "-", **options: Any) -> Iterator[Any]:
    """A page at `url`. An error on its console makes the test fail, except errors that start with `refused`
    and failures of the network."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    expected = ("Failed to load resource: net::", *([refused] if isinstance(refused, str) else refused))
    assert [line for line in wrong if not line.startswith(expected)] == []


@contextmanager
def analysed(
    browser: Any,
    site: Site,
    stream: list[canned.Packet],
    *,
    refused: str | tuple[str, ...] = "-",
    **options: Any,
) -> Iterator[Any]:
    """A page that shows a finished analysis whose answer was `stream`."""
    with opened(browser, site.url, refused=refused, **options) as page:
        answer(page, stream)
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        page.wait_for_selector(".strip:not(.running)")
        yield page


def answer(page: Any, stream: list[canned.Packet]) -> None:
    """Sets `stream` as the answer to all further uploads of the page."""
    page.unroute("**/mobile-upload*")
    page.route(
        "**/mobile-upload*",
        lambda route: route.fulfill(body=canned.lines(stream), content_type="application/x-ndjson"),
    )


def until(page: Any, condition: str) -> None:
    """Waits until `condition`, an async JavaScript function, returns true in the page."""
    page.evaluate(
        f"async () => {{ while (!(await ({condition})())) await new Promise(requestAnimationFrame); }}"
    )


def kept(page: Any) -> list[Any]:
    """The stored entries of the collection, newest first, with the names of the views in place of the
    pictures."""
    found: list[Any] = page.evaluate(
        """async () => {
          const store = await import("/static/collection/store.js");
          const entries = await store.all();
          return entries.map(({ previews, ...entry }) => ({ ...entry, views: Object.keys(previews) }));
        }"""
    )
    return found


def choose(page: Any, site: Site) -> None:
    for view, photograph in site.photographs.items():
        page.set_input_files(f"#choose-{view}", str(photograph))
        page.wait_for_selector(f"#slot-{view}.taken")
