"""The page in a real browser, with a real server and a drawn catalogue."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pinactors.catalog import demo
from pinactors.protocol import View
from tests.api.page import canned
from tests.api.page.conftest import (
    HOSTILE,
    PATIENCE,
    PHONE,
    Site,
    analysed,
    answer,
    choose,
    kept,
    opened,
    until,
)


def test_whole_analysis_on_a_phone_with_a_slow_link(browser: Any, site: Site) -> None:
    with opened(browser, site.url, **PHONE) as page:
        link = page.context.new_cdp_session(page)
        link.send(
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 400_000},
        )
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector("#sent")
        assert page.evaluate("document.activeElement.id") == "results-heading"
        page.wait_for_selector('[data-type="CHARACTER_IDENTIFICATION"]:not([aria-busy])')
        page.wait_for_selector(".feedback")
        assert page.query_selector_all("[aria-busy]") == []
        assert page.inner_text("#status").startswith("Done")
        assert re.fullmatch(r"\d+\.\d s", page.inner_text("#clock"))
        assert page.is_visible("#demonstration")
        assert page.is_visible(".gauge")
        page.click(".fold-price summary")
        assert page.is_visible(".price-chart")
        assert "not a certificate" in (page.text_content("main") or "")
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, "the page is wider than 320 px"

        page.click('[data-agreement="disagree"]')
        page.check('.choice input[value="price"]')
        page.fill("#comment", "It is mine")
        page.click("#save-wrong")
        page.wait_for_selector('[data-agreement="disagree"][aria-pressed="true"]')
        page.click('[data-agreement="agree"]')
        page.wait_for_selector('[data-agreement="agree"][aria-pressed="true"]')

        page.reload()
        page.wait_for_selector(".gauge[role=img]")
        assert page.is_visible(".stage-screen canvas"), "the collection shows the photographs again"
        page.click("#to-collection")
        page.click(".entry")
        page.wait_for_selector(".gauge[role=img]")
        assert "/results/" in page.url


def test_hostile_catalogue_text_is_shown_and_does_not_run(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        assert HOSTILE in page.inner_text('[data-type="CHARACTER_IDENTIFICATION"]')
        assert page.evaluate("window.hacked") is None
        assert page.query_selector("#results script, #results [onerror]") is None


def test_fragments_are_rebuilt_without_what_could_run(browser: Any, site: Site) -> None:
    # Parsing is enough for the browser to report that it does not run handlers in attributes.
    with opened(browser, site.url, refused="Executing inline") as page:
        shown = page.evaluate(
            """async () => {
              const { fragment } = await import("/static/result/fragments.js");
              const hostile = '<p onclick="hacked()">a<b class="k" title="x">b</b>'
                + '<a href="javascript:hacked()">c</a>'
                + '<svg onload=hacked()>d</svg><iframe srcdoc="e"></iframe><form><input>f</form></p>';
              return fragment(hostile).innerHTML;
            }"""
        )
        assert shown == '<p>a<b class="k">b</b>c</p>f<p></p>'


def test_of_several_pins_the_one_that_was_compared_is_shown(browser: Any, site: Site) -> None:
    """The box that the page estimates from pixels lies on the blue pin; the evidence is about the red one."""
    with opened(browser, site.url) as page:
        shown = page.evaluate(
            """async () => {
              const { Hero } = await import("/static/result/hero.js");
              const picture = document.createElement("canvas");
              [picture.width, picture.height] = [900, 300];
              const context = picture.getContext("2d");
              for (const [at, colour] of ["red", "white", "blue"].entries()) {
                context.fillStyle = colour;
                context.fillRect(300 * at, 0, 300, 300);
              }
              const name = { identified: true, candidates: [{ name: "Red", score: 1 }] };
              const region = { view: "front", x: 0.05, y: 0.1, width: 0.2, height: 0.8 };
              const verdict = { verdict: "undetermined", authenticityRating: 50, confidence: 0.5,
                evidence: [region, { ...region, view: "back", x: 0.7 }].map((one) => ({ region: one })) };
              const middles = [];
              for (const [alsoSeen, front] of [[[], { sure: true }], [[{}], { sure: true }], [[{}], {}]]) {
                const hero = new Hero({ pictures: { front: picture }, strip: "", actions: {},
                  boxes: { front: { x: 0.7, y: 0, width: 0.3, height: 1, ...front } } });
                const middle = () => {
                  const canvas = hero.element.querySelector(".stage-screen canvas");
                  const [x, y] = [canvas.width / 2, canvas.height / 2];
                  const { data } = canvas.getContext("2d").getImageData(x, y, 1, 1);
                  middles.push([...data.slice(0, 3)].join());
                };
                hero.showName({ ...name, alsoSeen });
                middle();
                hero.showVerdict(verdict);
                middle();
              }
              return middles;
            }"""
        )
    blue, white, red = "0,0,255", "255,255,255", "255,0,0"
    assert shown[:2] == [blue, blue], "one pin"
    assert shown[2:4] == [white, red], "several: the whole photograph, then what was compared"
    assert shown[4:] == [blue, blue], "the camera's outline is not a guess"


def test_connection_cut_in_the_middle_loses_and_repeats_nothing(browser: Any, site: Site) -> None:
    with cutting(site.port, [1500, 2500]) as port, opened(browser, f"http://127.0.0.1:{port}/") as page:
        page.evaluate(
            """() => {
              window.states = [];
              new MutationObserver(() => window.states.push(document.getElementById("status")?.dataset.state))
                .observe(document.getElementById("results"), { attributes: true, subtree: true });
            }"""
        )
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        assert "reconnecting" in page.evaluate("window.states")
        assert page.locator('[data-type="AUTHENTICATION_RESULT"] .verdict').count() == 1
        page.wait_for_selector(".entry", state="attached")
        had = kept(page)[0]["packets"]
        assert [packet["sequence"] for packet in had] == list(range(len(had)))
        assert had[-1]["packetType"] == "ANALYSIS_COMPLETE"


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


def test_what_is_no_photograph_is_refused_when_it_is_chosen(browser: Any, site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "letter.jpg"
    broken.write_bytes(b"this is not a picture")
    with opened(browser, site.url) as page:
        page.set_input_files("#choose-front", str(broken))
        page.wait_for_selector("#slot-front .warning:has-text('is not a photograph')")
        assert page.query_selector("#slot-front.taken") is None
        assert not page.is_visible("#analyze")
        broken.write_bytes(b"")
        page.set_input_files("#choose-front", str(broken))
        page.wait_for_selector("#slot-front .warning:has-text('“letter.jpg” is empty.')")


def test_a_refused_key_is_told_from_a_missing_one(browser: Any, site: Site) -> None:
    refusal = {"success": False, "message": "Unauthorized", "errorCode": "unauthorized"}
    with opened(browser, site.url, refused="Failed to load resource") as page:
        page.route("**/mobile-upload*", lambda route: route.fulfill(status=401, json=refusal))
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector("#key[open]")
        assert page.inner_text("#notice") == "This server needs an access key."
        page.fill("#key-value", "pin_wrong")
        page.keyboard.press("Enter")
        page.click("#analyze")
        page.wait_for_selector("#key[open]")
        assert page.inner_text("#notice") == "The server does not accept this access key."


def test_a_refusal_is_said_above_the_button_that_was_pressed(browser: Any, site: Site) -> None:
    refusal = {
        "success": False,
        "message": "Too large",
        "error": "More than 50 MB.",
        "errorCode": "too_large",
    }
    with opened(browser, site.url, refused="Failed to load resource") as page:
        choose(page, site)
        page.route(
            "**/mobile-upload*",
            lambda route: route.fulfill(
                status=413, body=json.dumps(refusal), content_type="application/json"
            ),
        )
        page.click("#analyze")
        page.wait_for_selector("#notice.wrong:has-text('too large')")
        assert page.query_selector_all("[aria-busy]") == []
        assert page.evaluate("document.activeElement.id") == "analyze"


def test_a_back_that_cannot_be_read_does_not_cost_the_front(browser: Any, site: Site, tmp_path: Path) -> None:
    # A file that begins like a HEIC is sent without a preview, so that only the server can reject it.
    damaged = tmp_path / "back.heic"
    damaged.write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200))
    with opened(browser, site.url) as page:
        page.set_input_files("#choose-front", str(site.photographs[View.FRONT]))
        page.wait_for_selector("#slot-front.taken")
        page.set_input_files("#choose-back", str(damaged))
        page.wait_for_selector("#slot-back.taken")
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        page.wait_for_selector("#status:text-matches('judged without it')")
        page.wait_for_selector(".entry", state="attached")
        assert [entry["views"] for entry in kept(page)] == [["front"]]


def test_a_small_original_is_sent_as_it_is_and_a_large_one_keeps_its_letters(
    browser: Any, site: Site, tmp_path: Path
) -> None:
    with opened(browser, site.url) as page:
        small = site.photographs[View.FRONT]
        read = """async ([name, length]) => {
          const { readPhotograph } = await import("/static/capture/photographs.js");
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [length, Math.round(length * 0.75)];
          const context = canvas.getContext("2d");
          const noise = context.createImageData(canvas.width, canvas.height);
          for (let at = 0; at < noise.data.length; at += 1) noise.data[at] = (at * 2654435761) % 251;
          context.putImageData(noise, 0, 0);
          const original = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 1));
          const { blob } = await readPhotograph(new File([original], name, { type: "image/jpeg" }));
          const bitmap = await createImageBitmap(blob);
          return [original.size, blob.size, Math.max(bitmap.width, bitmap.height)];
        }"""
        before, after, longest = page.evaluate(read, ["large.jpg", 3200])
        assert before > 1_500_000
        assert after < before
        assert longest >= 2400
        before, after, longest = page.evaluate(read, ["small.jpg", 400])
        assert after == before
        page.set_input_files("#choose-front", str(small))
        page.wait_for_selector("#slot-front.taken")


def test_a_better_photograph_of_one_view_is_analysed_with_the_others(
    browser: Any, site: Site, tmp_path: Path
) -> None:
    better = tmp_path / "better.jpg"
    better.write_bytes(demo.photograph(demo.DESIGNS[0], View.BACK, 4))
    with opened(browser, site.url) as page:
        page.set_input_files("#choose-front", str(site.photographs[View.FRONT]))
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        assert "undetermined" in (page.get_attribute(".verdict", "class") or "")
        page.click(".fold-help summary")
        help_wanted = page.inner_text(".fold-help")
        assert "Photograph the back" in help_wanted
        page.click('[data-retake="back"]')
        assert page.evaluate("document.activeElement.closest('.slot').id") == "slot-back"
        page.set_input_files("#choose-back", str(better))
        page.wait_for_selector("#slot-back.taken")
        page.click("#analyze")
        page.wait_for_selector("#status:text-matches('^Done')")
        until(page, "() => document.querySelectorAll('.entry').length === 2")
        found = kept(page)
        assert [sorted(entry["views"]) for entry in found] == [["back", "front"], ["front"]]
        assert found[0]["group"] == found[1]["group"]


def test_stopping_ends_the_session_on_the_server_too(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        with page.expect_request(lambda request: request.method == "DELETE") as cancelling:
            page.click("#analyze")
            until(page, "() => location.pathname.startsWith('/results/')")
            page.click("#stop")
        assert "/streams/" in cancelling.value.url
        page.wait_for_selector(":is(#status, #notice):text-matches('was stopped')")
        assert page.query_selector_all("[aria-busy]") == []


def test_the_result_can_be_shown_to_others_as_a_picture(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector("#share:not([disabled])")
        page.click("#share")
        with page.expect_download() as download:
            page.click("#save-picture")
        picture = Path(download.value.path()).read_bytes()
        assert download.value.suggested_filename == "pin.jpg"
        assert picture.startswith(b"\xff\xd8\xff")
        assert len(picture) > 20_000


def test_the_example_cannot_replace_chosen_photographs(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        page.wait_for_selector("#example:visible")
        page.set_input_files("#choose-back", str(site.photographs[View.BACK]))
        page.wait_for_selector("#slot-back.taken")
        assert not page.is_visible("#example")
        page.click("#slot-back .remove")
        page.wait_for_selector("#example:visible")


def test_a_genuine_picture_is_called_missing_only_if_the_catalogue_has_none(browser: Any, site: Site) -> None:
    genuine = ".finding >> nth=0 >> .side:has-text('Genuine')"
    with opened(browser, site.url, refused="Failed to load resource") as page:
        page.route("**/catalog/**", lambda route: route.abort())
        answer(page, canned.packets())
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(f"{genuine} >> text=Picture not loaded")
        page.wait_for_selector(".catalog-place:has-text('Picture not loaded')", state="attached")
        page.click(".finding .pair >> nth=0")
        assert "Picture not loaded" in page.inner_text("dialog[open]")
        page.keyboard.press("Escape")
        page.unroute("**/catalog/**")
        page.context.set_offline(True)
        page.context.set_offline(False)
        page.wait_for_selector(f"{genuine} >> canvas")
        page.wait_for_selector(".catalog-place img[src]", state="attached")

        stream = canned.packets()
        named = next(one for one in stream if one["packetType"] == "CHARACTER_IDENTIFICATION")
        named["candidates"][0]["pinId"] = "NOT-THERE"
        answer(page, stream)
        page.click("#change")
        page.click("#analyze")
        page.wait_for_selector(f"{genuine} >> text=Not in the catalogue")


def test_the_texts_of_a_result_do_not_contradict_each_other(browser: Any, site: Site) -> None:
    stream = canned.packets("undetermined")
    for packet in stream:
        if packet["packetType"] == "AUTHENTICATION_RESULT":
            packet |= {"advice": [], "confidence": 0.95}
            packet["evidence"] = [{**canned.EVIDENCE[4], "weight": 0.05}]
        if packet["packetType"] == "CHARACTER_IDENTIFICATION":
            packet["candidates"][0]["score"] = 0.05
        if packet["packetType"] == "DETAILED_ANALYSIS":
            packet["details"] = {}
    with analysed(browser, site, stream, refused="Failed to load resource") as page:
        page.evaluate("document.querySelectorAll('.fold').forEach((one) => (one.open = true))")
        assert "1 weighed" in page.inner_text(".fold-findings")
        assert page.inner_text(".finding.none") == "No finding weighs much."
        assert "No other photograph would help much." in page.inner_text(".fold-help")
        assert "95 % of the evidence" in page.inner_text(".fold-findings")
        assert "clearly similar" in page.inner_text(".hero-name"), "a candidate of 5 % is listed below"
        assert "5 %" in page.inner_text(".fold-pin")


def test_an_analysis_waits_for_a_photograph_that_is_still_read(browser: Any, site: Site) -> None:
    slow = """() => {
      const read = window.createImageBitmap;
      window.createImageBitmap = async (...all) => {
        await new Promise((resolve) => (window.goOn = resolve));
        return read(...all);
      };
    }"""
    with opened(browser, site.url) as page:
        page.set_input_files("#choose-front", str(site.photographs[View.FRONT]))
        page.wait_for_selector("#analyze:enabled")
        page.evaluate(slow)
        page.set_input_files("#choose-back", str(site.photographs[View.BACK]))
        until(page, "() => Boolean(window.goOn)")
        assert page.is_disabled("#analyze")
        page.evaluate("goOn()")
        page.wait_for_selector("#analyze:enabled")
        assert page.is_visible("#slot-back.taken")


def test_two_presses_begin_one_analysis(browser: Any, site: Site) -> None:
    sent = []
    with opened(browser, site.url) as page:
        page.on("request", lambda request: "/mobile-upload" in request.url and sent.append(request.method))
        page.evaluate("() => { for (let i = 0; i < 2; i += 1) document.getElementById('example').click(); }")
        page.wait_for_selector(".feedback")
        page.wait_for_selector(".entry", state="attached")
        assert len(kept(page)) == 1
        assert sent.count("POST") == 1


def test_a_result_that_cannot_be_loaded_is_not_called_missing(browser: Any, site: Site) -> None:
    busy = {"status": 503, "body": "{}", "content_type": "application/json"}
    with opened(browser, site.url, refused="Failed to load resource") as page:
        page.route("**/results/far/packets", lambda route: route.fulfill(**busy))
        page.goto(f"{site.url}results/far")
        page.wait_for_selector("#notice.wrong:has-text('could not be loaded')")
        assert page.is_visible("#capture")
        assert page.evaluate("location.pathname") == "/results/far", "a reload tries again"
        page.unroute("**/results/far/packets")
        page.route("**/results/far/packets", lambda route: route.fulfill(**busy | {"status": 401}))
        page.reload()
        page.wait_for_selector("#key[open]")
        page.unroute("**/results/far/packets")
        page.click("#key button[value=save]")
        page.wait_for_selector("#notice.wrong:has-text('no such result')")
        assert page.evaluate("location.pathname") == "/"


def test_a_result_that_cannot_be_drawn_costs_no_other(browser: Any, site: Site) -> None:
    stream = canned.packets(
        sold=[{"soldAt": "2026-11-01", "price": 20, "currency": "?", "condition": "mint"}]
    )
    with analysed(browser, site, stream, refused="RangeError") as page:
        page.wait_for_selector(".entry", state="attached")
        assert page.inner_text("#results-heading") == "Marlo the Fox"
        assert page.inner_text("#status").startswith("Done")


def test_browsers_without_the_newest_array_methods_show_everything(browser: Any, site: Site) -> None:
    lack = "['toReversed', 'toSorted', 'toSpliced', 'with'].forEach((name) => delete Array.prototype[name])"
    with opened(browser, site.url) as page:
        page.evaluate(lack)
        answer(page, canned.packets())
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        page.click(".fold-price summary")
        assert page.is_visible(".price-chart")


def test_the_example_is_one_press_away(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        held: list[Any] = []
        page.route("**/example/front", lambda route: held.append(route))
        page.click("#example")
        page.wait_for_selector("#notice:has-text('Loading the example …')")
        while not held:
            page.wait_for_timeout(10)
        held[0].continue_()
        page.wait_for_selector(".feedback")
        assert page.locator(".stage .tab").count() == 3
        assert page.inner_text("#status").startswith("Done")


def test_the_page_is_served_only_its_own_files(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        assert page.request.get(f"{site.url}static/result/words.js").status == 200
        assert page.request.get(f"{site.url}static/../pages.py").status == 404
        assert page.request.get(f"{site.url}static/%2e%2e/pages.py").status == 404
        manifest = page.request.get(f"{site.url}static/manifest.webmanifest")
        assert manifest.headers["content-type"] == "application/manifest+json"
        for icon in manifest.json()["icons"]:
            assert page.request.get(f"{site.url}{icon['src'][1:]}").status == 200


@contextmanager
def cutting(server: int, limits: list[int]) -> Iterator[int]:
    """A relay to the server that breaks the answers to the request that completes an upload and to resumed
    streams, one after the other, after `limits` bytes each."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    phones: list[socket.socket] = []

    def serve(phone: socket.socket) -> None:
        left: list[int] = []  # bytes until the break, empty if there is none

        def ask() -> None:
            with suppress(OSError):
                while data := phone.recv(65536):
                    if limits and (data.startswith(b"GET /streams/") or b"Upload-Complete: ?1" in data):
                        left.append(limits.pop(0))
                    upstream.sendall(data)
                upstream.shutdown(socket.SHUT_RDWR)

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
                phones.append(listener.accept()[0])
                threads.append(threading.Thread(target=serve, args=(phones[-1],)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for phone in phones:  # the browser keeps idle connections
            with suppress(OSError):
                phone.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
