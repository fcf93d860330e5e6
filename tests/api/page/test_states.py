"""Every state of the page at every size, light and dark: no layout shift, no overflow, no report of axe."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from tests.api.page import canned
from tests.api.page.conftest import Site, analysed, choose, opened, until

SIZES = {320: 568, 390: 844, 768: 1024, 1280: 860}

SHIFTS = """() => {
  window.shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}"""
SHIFT_LIMIT = 0.02

PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"

TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

SMALL_TARGETS = """() => [
  ...document.querySelectorAll("button, a[href], label.button, label.tool, summary, .choice")]
  .filter((one) => one.checkVisibility() && !one.closest(".fragment, .skip, p"))
  .map((one) => [one, one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
  .map(([one, box]) => `${one.outerHTML.slice(0, 60)}: ${box.width} x ${box.height}`)"""
"""Finds controls smaller than 44 by 44 pixels, except links in running text."""


VIOLATIONS = "rules => axe.run({ resultTypes: ['violations'], ...rules }).then((found) => found.violations)"
"""Runs axe's rules, but describes only the elements that break one: five times as fast."""

COLOUR_RULES = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules whose result can change with the colour scheme."""

OVERLAPPING = """() => {
  const boxes = [...document.querySelectorAll(".hero p, .hero h1, .hero button")]
    .filter((one) => one.checkVisibility() && !one.closest(".stage, .visually-hidden"))
    .map((one) => {
      const range = document.createRange();
      range.selectNodeContents(one);
      const [own, text] = [one.getBoundingClientRect(), range.getBoundingClientRect()];
      return [one, { // what of a text that is cut can be seen
        left: Math.max(own.left, text.left), right: Math.min(own.right, text.right),
        top: Math.max(own.top, text.top), bottom: Math.min(own.bottom, text.bottom) }];
    }).filter(([one, box]) => one.textContent && box.right > box.left);
  const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1
    || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
  return boxes.flatMap(([one, a], at) => boxes.slice(at + 1).filter(([, b]) => !apart(a, b))
    .map(([other]) => `${one.textContent} / ${other.textContent}`));
}"""
"""Finds texts of the hero that overlap."""


CUT = """() => [...document.querySelectorAll(".fold summary > *, #status")].filter((one) => {
  const [own, parent] = [one.getBoundingClientRect(), one.parentElement.getBoundingClientRect()];
  return one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1
    || own.right > parent.right - 16;
}).map((one) => one.textContent)"""
"""Finds texts that are cut off, or that reach into the mark at a summary's right edge."""


@pytest.fixture(scope="module")
def axe() -> str:
    pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def violations(page: Any, axe: str, scheme: str = "light") -> list[str]:
    page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)))")
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found = page.evaluate(VIOLATIONS, COLOUR_RULES if scheme == "dark" else {})
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]


def looks(page: Any, axe: str) -> Iterator[tuple[int, int]]:
    """Sets the page to each size, light and dark, checks it and yields (width, height)."""
    for width, height in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            until(page, PAINTED)
            assert violations(page, axe, scheme) == []
            assert page.evaluate(SMALL_TARGETS) == []
            assert not page.evaluate(TOO_WIDE)
            yield width, height


def check(page: Any, axe: str) -> None:
    for _ in looks(page, axe):
        pass


def test_the_start(browser: Any, site: Site, axe: str) -> None:
    with opened(browser, site.url) as page:
        page.wait_for_selector(".collection-empty")
        check(page, axe)
        choose(page, site)
        check(page, axe)


@pytest.mark.parametrize("verdict", canned.VERDICTS)
def test_a_result(browser: Any, site: Site, axe: str, verdict: str) -> None:
    stream = canned.packets(verdict, name=canned.LONG)
    with analysed(browser, site, stream, refused="Failed to load resource") as page:
        assert page.query_selector_all("[aria-busy]") == []
        assert ("A genuine one sells for" in page.inner_text(".hero-price")) is (verdict == "counterfeit")
        for width, height in looks(page, axe):
            page.evaluate("scrollTo(0, 0)")
            assert page.evaluate(OVERLAPPING) == []
            places = ["#results-heading", ".hero-verdict", *([".hero-price"] if width >= 390 else [])]
            for place in places:
                box = page.locator(place).bounding_box()
                assert box["y"] + box["height"] <= height, f"{place} is not on the first screen of {width}"
        page.evaluate("document.querySelectorAll('.fold').forEach((one) => (one.open = true))")
        check(page, axe)


@pytest.mark.parametrize("width", [320, 390])
def test_long_lines_wrap(browser: Any, site: Site, width: int) -> None:
    viewport = {"width": width, "height": SIZES[width]}
    stream = canned.packets("undetermined")
    with analysed(browser, site, stream, refused="Failed to load resource", viewport=viewport) as page:
        page.evaluate(
            """() => {
              document.querySelector(".fold-help .teaser").textContent = "nothing";
              document.querySelector(".strip").classList.add("waiting-for-net");
              document.querySelector("#stop").hidden = false;
              document.querySelector("#status").textContent = "You are offline. The analysis continues "
                + "when you are back online; nothing is lost.";
            }"""
        )
        assert page.evaluate(CUT) == []


def test_an_analysis_under_way(browser: Any, site: Site, axe: str) -> None:
    with opened(browser, site.url, refused="Failed to load resource") as page:
        choose(page, site)
        page.evaluate(canned.ARRIVING)
        page.click("#analyze")
        page.wait_for_selector(".strip.running")
        for packet in canned.packets()[:4]:
            check(page, axe)
            page.evaluate("text => window.arrive(text)", canned.lines([packet]))


@pytest.mark.parametrize(
    ("width", "order"),
    [(390, order) for order in canned.ORDERS] + [(width, canned.RESULTS) for width in SIZES if width != 390],
)
def test_nothing_jumps_whatever_order_packets_come_in(
    browser: Any, site: Site, width: int, order: tuple[str, ...]
) -> None:
    viewport = {"width": width, "height": SIZES[width]}
    with opened(browser, site.url, refused="Failed to load resource", viewport=viewport) as page:
        choose(page, site)
        page.evaluate(canned.ARRIVING)
        page.evaluate("document.getElementById('analyze').click()")  # shifts after a real click do not count
        page.wait_for_selector(".strip.running")
        until(page, PAINTED)
        page.evaluate(SHIFTS)
        before = page.evaluate("window.shift")
        places = ("#results-heading", ".hero-verdict", ".hero-price", ".hero-actions", ".findings")
        was = [page.locator(place).bounding_box()["y"] for place in places]
        for packet in canned.packets(order=order, name=canned.LONG):
            page.evaluate("text => window.arrive(text)", canned.lines([packet]))
            until(page, PAINTED)
        page.wait_for_selector(".feedback")
        until(page, PAINTED)
        assert page.evaluate("window.shift") - before <= SHIFT_LIMIT
        now = [page.locator(place).bounding_box()["y"] for place in places]
        assert now[1:] == was[1:], "the places stay where they are"


def test_each_result_is_on_the_screen_at_once(browser: Any, site: Site) -> None:
    with opened(browser, site.url, refused="Failed to load resource") as page:
        choose(page, site)
        page.evaluate(canned.ARRIVING)
        page.click("#analyze")
        page.wait_for_selector(".strip.running")
        assert page.inner_text("#results-heading") == "Which pin is it?"
        for packet in canned.packets():
            page.evaluate("text => window.arrive(text)", canned.lines([packet]))
            if packet["packetType"] == "PROCESSING_STARTED":
                page.wait_for_selector("#status:has-text('3 others are waiting for this server')")
            if packet["packetType"] == "CHARACTER_IDENTIFICATION":
                page.wait_for_selector("#results-heading:has-text('Marlo the Fox')")
                assert page.is_visible(".hero-verdict[aria-busy]"), "what is still to come says so"
        page.wait_for_selector(".verdict-authentic")


def test_the_three_findings_that_counted_most_stand_beside_a_genuine_pin(browser: Any, site: Site) -> None:
    with analysed(browser, site, canned.packets(), refused="Failed to load resource") as page:
        assert page.locator(".finding").count() == 3
        assert page.inner_text(".finding >> nth=0").startswith("Yours\n")
        page.wait_for_selector(".finding >> nth=0 >> .side:has-text('Genuine') canvas")
        page.click(".finding .pair >> nth=0")
        page.wait_for_selector("dialog[open] .enlarged canvas >> nth=1")
        page.keyboard.press("Escape")
        assert page.query_selector("dialog[open]") is None
        page.click(".fold-pin summary")
        assert page.locator(".marked .mark").count() == 2, "what else is in the picture"
        assert "not verified" in page.inner_text(".fold-pin")
        assert "Perhaps a fox" in page.inner_text(".suggestions")


@pytest.mark.parametrize("count", [1, 2, 4, 24])
def test_thin_data_looks_thin(browser: Any, site: Site, count: int) -> None:
    stream = canned.packets(sold=canned.sales(count, ("mint", "good")))
    with analysed(browser, site, stream, refused="Failed to load resource") as page:
        page.click(".fold-price summary")
        assert page.locator(".price-chart > .sale").count() == count
        assert (page.query_selector(".price-chart.thin") is not None) is (count < 10)
        assert (page.query_selector(".price-chart .band") is not None) is (count >= 3)
        page.locator(".price-chart").hover()
        assert page.locator(".sale.touched").count() == 1
        assert page.inner_text(".told").endswith(("mint", "good"))
        assert page.locator(".legend li").count() == min(2, count)


@pytest.mark.parametrize("thing", ["share", "lookup", "feedback", "key", "camera", "collection", "offline"])
def test_what_opens_on_a_press(browser: Any, site: Site, axe: str, thing: str) -> None:
    press = {"share": "#share", "lookup": "#not-this", "feedback": "[data-agreement=disagree]"}
    press |= {"key": "#key-open", "camera": "#guide", "collection": "#to-collection"}
    shown = {
        "feedback": "fieldset:visible",
        "collection": ".entry",
        "offline": "#notice:text-matches('offline')",
    }
    with analysed(browser, site, canned.packets(), refused="Failed to load resource") as page:
        page.evaluate("() => { navigator.mediaDevices.getUserMedia = async () => new MediaStream(); }")
        if thing in ("camera", "offline"):
            page.click("#fresh")
        if thing == "offline":
            page.context.set_offline(True)
        else:
            page.click(press[thing])
        page.wait_for_selector(shown.get(thing, "dialog[open]"))
        check(page, axe)
        page.context.set_offline(False)
