"""What the page stores on the device: the collection, an interrupted analysis, the page for offline use."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from pinactors.protocol import View
from tests.api.page import canned
from tests.api.page.conftest import HOSTILE, PHONE, Site, analysed, answer, choose, kept, opened, until

UNFINISHED = """async () => {
  const store = await import("/static/collection/store.js");
  const left = await store.unfinished();
  return left && { id: left.id, views: Object.keys(left.photographs) };
}"""


NAMED = """async () => {{
  const store = await import("/static/collection/store.js");
  return (await store.all())[0].pin?.pinId === {};
}}"""


AGREES = """async () => {{
  const store = await import("/static/collection/store.js");
  return (await store.all())[0].agrees === {};
}}"""


def test_the_collection_has_a_value_a_search_and_an_export(browser: Any, site: Site) -> None:
    names = {"authentic": "=HYPERLINK(1)", "counterfeit": 'Gustav "the" Owl, night', "undetermined": "-"}
    with opened(browser, site.url) as page:
        for verdict, name in names.items():
            answer(page, canned.packets(verdict, name=name, stream_id=f"canned-{verdict}"))
            choose(page, site)
            page.click("#analyze")
            page.wait_for_selector(".feedback")
            page.click("#fresh")
        until(page, "() => document.querySelectorAll('.entry').length === 3")
        assert page.inner_text("#collection-total") == "3 pins, worth $24.85 if genuine"
        assert "a genuine one" in page.inner_text(".entry:has(.tone-counterfeit)")

        page.fill("#collection-search", "owl")
        assert page.locator(".entry").count() == 1
        page.fill("#collection-search", "nothing like it")
        assert page.locator(".entry").count() == 0
        page.fill("#collection-search", "")

        with page.expect_download() as download:
            page.click("#collection-export")
        text = Path(download.value.path()).read_text("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["name"] for row in rows] == ["Not identified", names["counterfeit"], "'=HYPERLINK(1)"]
        assert rows[1]["price_if_genuine"] == "24.85"
        assert rows[2]["link"] == f"{site.url}results/canned-authentic"

        page.click("[aria-label^='Forget Gustav']")
        until(page, "() => document.querySelectorAll('.entry').length === 2")
        page.click("#forget-all")
        page.click("dialog[open] >> text=Keep")
        assert page.locator(".entry").count() == 2, "it asks first"
        page.click("#forget-all")
        page.click("#forget-yes")
        page.wait_for_selector(".collection-empty")
        assert kept(page) == []


def test_of_several_analyses_of_one_pin_one_counts(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        for number in range(2):
            answer(page, canned.packets(stream_id=f"canned-{number}"))
            if not number:
                choose(page, site)
            page.click("#analyze")
            page.wait_for_selector(".feedback")
            page.click("#change")
        until(page, "() => document.querySelectorAll('.entry').length === 2")
        assert page.inner_text("#collection-total") == "1 pin, worth $24.85 if genuine"


def test_a_pin_that_was_not_identified_is_found_by_name_or_named_by_hand(browser: Any, site: Site) -> None:
    with analysed(browser, site, canned.packets("undetermined"), refused="Failed to load resource") as page:
        said: list[dict[str, Any]] = []

        def confirmed(route: Any) -> None:
            said.append(route.request.post_data_json)
            route.fulfill(json={"success": True})

        page.route("**/confirm-pin", confirmed)
        assert page.inner_text("#results-heading") == "Not identified"
        page.click("#not-this")
        assert "Suggested, not verified" in page.inner_text("dialog[open]")
        page.click(".suggested button:has-text('Perhaps a fox')")
        page.wait_for_selector("#results-heading:has-text('Perhaps a fox')")
        until(page, NAMED.format("null"))
        page.click("#not-this")
        page.fill("#lookup-name", "gustav")
        page.click("#lookup-results button:has-text('Gustav')")
        page.wait_for_selector("#results-heading:has-text('Gustav')")
        until(page, NAMED.format('"DEMO-02"'))
        page.click("[data-agreement=disagree]")
        for wrong in ("verdict", "price"):
            page.check(f".choice input[value={wrong}]")
        page.select_option("#right-verdict", "counterfeit")
        page.fill("#right-price", "12.5")
        page.click("#save-wrong")
        page.wait_for_selector("[data-agreement=disagree][aria-pressed=true]")
        corrected = [[one.get(f"corrected{name}") for name in ("PinId", "Verdict", "Price")] for one in said]
        assert corrected == [[None] * 3, ["DEMO-02", None, None], ["DEMO-02", "counterfeit", 12.5]]
        assert said[0]["feedbackComment"] == "Wrong: pin. It is Perhaps a fox."
        page.click("#not-this")
        page.fill("#lookup-hand", "Grandmother's owl")
        page.click(".by-hand button")
        page.wait_for_selector("#results-heading:has-text('Grandmother')")
        until(page, NAMED.format("null"))


def test_a_pin_that_the_user_names_has_no_price_of_the_identified_one(browser: Any, site: Site) -> None:
    with analysed(browser, site, canned.packets(), refused="Failed to load resource") as page:
        said: list[dict[str, Any]] = []

        def confirmed(route: Any) -> None:
            said.append(route.request.post_data_json)
            route.fulfill(json={"success": True})

        page.route("**/confirm-pin", confirmed)
        page.click("#not-this")
        page.click("#lookup-results button:has-text('Marlo the Fox')")
        page.wait_for_selector("dialog[open]", state="detached")
        assert said == [], "it is the identified pin"
        assert page.inner_text(".reading") == "What can be seen speaks for it."
        assert "$" in page.inner_text(".hero-price")
        page.click("#not-this")
        page.fill("#lookup-hand", "Grandmother's owl")
        page.click(".by-hand button")
        for _ in range(2):
            page.wait_for_selector(".hero-price:has-text('Sales were looked up for Marlo the Fox.')")
            assert "$" not in page.inner_text(".hero-price")
            assert page.inner_text(".reading") == "Compared with Marlo the Fox."
            until(page, AGREES.format("false"))
            page.reload()
        assert [one["feedbackComment"] for one in said] == ["Wrong: pin. It is Grandmother's owl."]


def test_another_pin_in_the_picture_can_be_named(browser: Any, site: Site) -> None:
    with analysed(browser, site, canned.packets(), refused="Failed to load resource") as page:
        page.route("**/confirm-pin", lambda route: route.fulfill(json={"success": True}))
        page.click("#not-this")
        named = [line.split("\n")[0] for line in page.locator("#lookup-results button").all_inner_texts()]
        assert named == ["Marlo the Fox", "Gustav", "Pip", "Ada"]
        assert "or are in the picture too" in page.inner_text("dialog[open]")
        page.click("#lookup-results button:has-text('Ada')")
        page.wait_for_selector("#results-heading:has-text('Ada')")
        until(page, NAMED.format('"DEMO-04"'))


def test_an_answer_to_is_this_right_is_kept_on_the_device(browser: Any, site: Site) -> None:
    with analysed(browser, site, canned.packets(), refused="Failed to load resource") as page:
        page.route("**/confirm-pin", lambda route: route.fulfill(json={"success": True}))
        page.wait_for_selector(".entry", state="attached")
        page.click("[data-agreement=agree]")
        until(page, AGREES.format("true"))
        page.reload()
        page.wait_for_selector("[data-agreement=agree][aria-pressed=true]")
        page.click("#not-this")
        page.fill("#lookup-hand", "Grandmother's owl")
        page.click(".by-hand button")
        page.wait_for_selector("[data-agreement=disagree][aria-pressed=true]")
        until(page, AGREES.format("false"))
        page.reload()
        page.wait_for_selector("[data-agreement=disagree][aria-pressed=true]")
        assert page.get_attribute("[data-agreement=agree]", "aria-pressed") == "false"


def test_a_reload_in_the_middle_goes_on_where_it_was(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.click("#analyze")
        until(page, "() => location.pathname.startsWith('/results/')")
        page.reload()
        page.wait_for_selector(".feedback")
        page.wait_for_selector(".entry", state="attached")
        assert len(kept(page)) == 1
        assert page.evaluate(UNFINISHED) is None


def test_an_upload_that_a_closed_tab_interrupted_is_offered_again(browser: Any, site: Site) -> None:
    with opened(browser, site.url, **PHONE) as page:
        choose(page, site)
        page.evaluate(canned.ARRIVING)  # the upload gets no answer
        page.click("#analyze")
        until(page, f"async () => (await ({UNFINISHED})()) !== null")
        page.close()
        again = page.context.new_page()
        again.goto(site.url)
        again.wait_for_selector("#unfinished:not([hidden])")
        again.click("#continue")
        again.wait_for_selector(".feedback")
        again.wait_for_selector(".entry", state="attached")
        assert [entry["views"] for entry in kept(again)] == [["front", "back", "angled"]]
        again.goto(site.url)
        again.wait_for_selector(".entry")
        assert not again.is_visible("#unfinished")


def test_an_analysis_that_cannot_go_on_yet_is_offered_again(browser: Any, site: Site) -> None:
    refusal = {"success": False, "message": "Key required", "errorCode": "unauthorized"}
    with opened(browser, site.url, refused="Failed to load resource") as page:
        choose(page, site)
        page.evaluate(canned.ARRIVING)
        page.click("#analyze")
        until(page, f"async () => (await ({UNFINISHED})()) !== null")
        page.goto(site.url)
        page.route(
            "**/mobile-upload*",
            lambda route: route.fulfill(
                status=401, body=json.dumps(refusal), content_type="application/json"
            ),
        )
        page.click("#continue")
        page.wait_for_selector("#key[open]")
        page.keyboard.press("Escape")
        page.unroute("**/mobile-upload*")
        page.click("#continue")
        page.wait_for_selector(".feedback")
        page.wait_for_selector(".entry", state="attached")
        assert page.evaluate(UNFINISHED) is None


def test_another_analysis_does_not_replace_an_interrupted_one(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        for views in (("front", "back", "angled"), ("front",)):
            for view in views:
                page.set_input_files(f"#choose-{view}", str(site.photographs[View(view)]))
                page.wait_for_selector(f"#slot-{view}.taken")
            page.evaluate(canned.ARRIVING)
            page.click("#analyze")
            until(page, f"async () => (await ({UNFINISHED})())?.views.length === {len(views)}")
            page.goto(site.url)
        page.click("#discard")
        until(page, f"async () => (await ({UNFINISHED})()).views.length === 3")
        page.wait_for_selector("#unfinished:not([hidden])")


def test_a_lost_connection_to_the_store_is_opened_again(browser: Any, site: Site) -> None:
    # iOS closes the connections of pages in the background; a transaction then fails.
    lose = """async () => {
      const store = await import("/static/collection/store.js");
      await store.remember({ id: "a", at: 1, packets: [] });
      const begin = IDBDatabase.prototype.transaction;
      IDBDatabase.prototype.transaction = function (...all) {
        IDBDatabase.prototype.transaction = begin;
        this.close();
        return begin.apply(this, all);
      };
      await store.remember({ id: "b", at: 2, packets: [] });
      return (await store.all()).map((entry) => entry.id);
    }"""
    with opened(browser, site.url) as page:
        assert page.evaluate(lose) == ["b", "a"]


def test_an_interrupted_analysis_can_be_discarded(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.evaluate(canned.ARRIVING)
        page.click("#analyze")
        until(page, f"async () => (await ({UNFINISHED})()) !== null")
        page.goto(site.url)
        page.click("#discard")
        until(page, f"async () => (await ({UNFINISHED})()) === null")
        assert not page.is_visible("#unfinished")


def test_the_page_opens_without_a_network_and_shows_the_collection(browser: Any, site: Site) -> None:
    with analysed(browser, site, canned.packets()) as page:
        page.wait_for_selector(".entry", state="attached")
        page.evaluate("navigator.serviceWorker.ready.then(() => undefined)")
        until(page, "() => navigator.serviceWorker.controller !== null")
        page.context.set_offline(True)
        page.goto(site.url)
        page.click(".entry")
        page.wait_for_selector(".gauge[role=img]")
        assert page.inner_text("#results-heading") == "Marlo the Fox"
        page.reload()
        page.wait_for_selector(".gauge[role=img]")
        page.context.set_offline(False)


def test_a_history_that_somebody_else_wrote_cannot_run_anything(browser: Any, site: Site) -> None:
    packets = [
        {"packetType": "CONNECTION_ESTABLISHED", "sequence": 0, "sessionId": HOSTILE, "streamId": "x"},
        {
            "packetType": "CHARACTER_IDENTIFICATION",
            "sequence": 1,
            "sessionId": HOSTILE,
            "characters": HOSTILE,
            "identification": HOSTILE,
            "identified": True,
            "candidates": [{"pinId": "../x", "name": HOSTILE, "characters": HOSTILE, "score": 1}],
        },
        {
            "packetType": "ANALYSIS_COMPLETE",
            "sequence": 2,
            "sessionId": HOSTILE,
            "id": 1,
            "processingTime": 1,
            "degraded": [HOSTILE],
            "missing": [],
        },
    ]
    entry = {
        "at": 0,
        "streamId": "x",
        "thumbnails": {"front": "javascript:window.hacked=1"},
        "packets": packets,
    }
    with opened(browser, site.url, refused=("Executing inline", "Failed to load resource")) as page:
        page.evaluate("entry => localStorage.setItem('pinactors.history', entry)", json.dumps([entry]))
        page.reload()
        page.click(".entry")
        page.wait_for_selector(".feedback")
        assert HOSTILE in page.inner_text("#results-heading")
        assert page.evaluate("window.hacked") is None
        assert page.query_selector("main script, main [onerror], main img[src^=javascript]") is None
