"""The page for people who do not see it, use no mouse, or have asked for reduced motion."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest

from pinactors.api.page.documents import PAGES
from pinactors.protocol import View
from tests.api.page import canned
from tests.api.page.conftest import PHONE, Site, choose, opened

CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3);
    const text = texts.map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility() || element.disabled) continue;
    if (element.closest(".visually-hidden, .skip")) continue;
    const style = getComputedStyle(element);
    const ink = channels(element.ownerSVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio >= (large ? 3 : 4.5)) continue;
    poor.push(`${element.className} ${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
"""Finds elements whose text has a lower contrast to its background than WCAG AA requires."""

UNNAMED = """() => [...document.querySelectorAll("button, a[href], input, textarea, summary, [role=img]")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim()
    || one.querySelector("img[alt]:not([alt=''])")))
  .map((one) => one.outerHTML.slice(0, 80))"""

TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

SETTLED = "Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)))"

REACHED = """() => {
  const one = document.activeElement;
  return one.id || one.getAttribute("aria-label") || one.textContent.trim();
}"""


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_every_text_has_contrast_and_every_control_a_name(browser: Any, site: Site, phone: bool) -> None:
    with opened(browser, site.url, **(PHONE if phone else {})) as page:

        def check() -> None:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.evaluate(SETTLED)
                assert page.evaluate(CONTRAST) == [], scheme
                assert page.evaluate(UNNAMED) == []
                assert not page.evaluate(TOO_WIDE)

        check()
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        check()
        page.goto(f"{site.url}docs")
        check()


@pytest.mark.parametrize("width", [320, 1100])
def test_no_document_is_wider_than_the_screen(browser: Any, site: Site, width: int) -> None:
    with opened(browser, f"{site.url}docs", viewport={"width": width, "height": 900}) as page:
        for name in PAGES:
            page.goto(f"{site.url}docs/{name}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_the_keyboard_alone_walks_the_whole_page(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:

        def walk(until: str) -> list[str]:
            reached: list[str] = []
            while until not in reached:
                assert len(reached) < 60, f"{until} is not reached: {reached}"
                page.keyboard.press("Tab")
                reached.append(page.evaluate(REACHED))
            return reached

        before = walk("key-open")
        assert before[0] == "Skip to the content"
        wanted = ["Take the front photograph", "choose-front", "Take the back photograph", "choose-back"]
        assert [one for one in before if one in wanted] == wanted
        for view in View:
            page.set_input_files(f"#choose-{view}", str(site.photographs[view]))
            page.wait_for_selector(f"#slot-{view}.taken")
        page.evaluate("document.activeElement.blur()")
        page.focus(".skip")
        walk("analyze")
        page.keyboard.press("Enter")
        page.wait_for_selector(".feedback")
        page.focus(".skip")
        page.keyboard.press("Enter")
        after = walk("Yes, I agree")
        assert [one for one in after if one in ("Front", "Back", "Tilted")] == ["Front", "Back", "Tilted"]
        assert [one for one in after if one in ("share", "not-this", "change")] == [
            "share",
            "not-this",
            "change",
        ]
        assert walk("key-open")[0] == "No, I disagree"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "key-value"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "key-open", (
            "a closed dialog gives the focus back"
        )


def test_each_result_is_announced_as_it_arrives(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        assert page.get_attribute("#announcement", "aria-live") == "polite"
        page.wait_for_selector("#announcement p:has-text('Done')", state="attached")
        said = page.locator("#announcement p").all_text_contents()
        starts = ("Genuine?", "Which pin?", "Worth?", "What is stamped", "What the photographs show")
        assert sorted(text.split(" ")[0] for text in said if text.startswith(starts)) == sorted(
            start.split(" ")[0] for start in starts
        )
        assert any(re.fullmatch(r"Genuine\? .+, rating \d+ of 100\.", text) for text in said)
        gauge = page.get_attribute(".gauge", "aria-label")
        assert gauge is not None
        assert gauge.startswith("Rating ")


def test_nothing_moves_where_motion_is_not_wanted(browser: Any, site: Site) -> None:
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    for wish, expected in (("no-preference", True), ("reduce", False)):
        with opened(browser, site.url, refused="Failed to load resource", reduced_motion=wish) as page:
            page.set_input_files("#choose-front", str(site.photographs[View.FRONT]))
            page.evaluate(canned.ARRIVING)  # the analysis does not end while the page is looked at
            page.click("#analyze")
            page.wait_for_selector(".hero [aria-busy]")
            assert (page.evaluate(moving) > 0) is expected
            page.evaluate("text => window.arrive(text)", canned.lines(canned.packets()))
            page.wait_for_selector(".feedback")


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(browser: Any, site: Site) -> None:
    for page in (resources.files("pinactors.api.page") / "templates").iterdir():
        html = page.read_text("utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:", html), page
    with opened(browser, site.url) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        answer = page.reload()
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        page.goto(f"{site.url}docs")
        assert asked
        assert [url for url in asked if not url.startswith((site.url, "blob:", "data:"))] == []
