"""The page in a real browser, against a real server with a real (drawn) catalogue."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pinactors.catalog import demo
from pinactors.protocol import View
from tests.api.page.conftest import HOSTILE, PATIENCE, PHONE, Site, choose, opened


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
        page.wait_for_selector(".gauge")
        assert page.is_visible(".stage-photo canvas"), "the history shows the photographs again"


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


def test_a_better_photograph_of_one_view_is_analysed_with_the_others(
    browser: Any, site: Site, tmp_path: Path
) -> None:
    better = tmp_path / "better.jpg"
    better.write_bytes(demo.photograph(demo.DESIGNS[0], View.BACK, 4))
    with opened(browser, site.url) as page:
        page.set_input_files("#choose-front", str(site.photographs[View.FRONT]))
        page.click("#analyze:not([disabled])")
        page.wait_for_selector(".feedback")
        assert "undetermined" in page.get_attribute(".verdict", "class")
        help_wanted = page.inner_text(".help")
        assert "Photograph the back" in help_wanted
        page.click('[data-retake="back"]')
        assert page.evaluate("document.activeElement.closest('.slot').id") == "slot-back"
        page.set_input_files("#choose-back", str(better))
        page.wait_for_selector("#slot-back.taken")
        page.click("#analyze")
        page.wait_for_selector("#status:text-matches('^Done')")
        kept = json.loads(page.evaluate("localStorage.getItem('pinactors.history')"))
        assert [sorted(entry["thumbnails"]) for entry in kept] == [["back", "front"], ["front"]]


def test_stopping_ends_the_session_on_the_server_too(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        with page.expect_request(lambda request: request.method == "DELETE") as cancelling:
            page.click("#analyze")
            page.wait_for_selector("#capture.compact")
            page.click("#stop")
        assert "/streams/" in cancelling.value.url
        assert page.inner_text("#status") == "Stopped."
        assert page.query_selector_all("[aria-busy]") == []


def test_the_result_can_be_shown_to_others_as_a_picture(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        choose(page, site)
        page.click("#analyze")
        page.wait_for_selector(".feedback")
        with page.expect_download() as download:
            page.click("#share")
        picture = Path(download.value.path()).read_bytes()
        assert download.value.suggested_filename == "pin.jpg"
        assert picture.startswith(b"\xff\xd8\xff")
        assert len(picture) > 20_000


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
    with opened(browser, site.url, refused="Executing inline") as page:
        page.evaluate("entry => localStorage.setItem('pinactors.history', JSON.stringify([entry]))", entry)
        page.reload()
        page.click(".history-entry")
        page.wait_for_selector(".feedback")
        assert HOSTILE in page.inner_text("#results-heading")
        assert page.evaluate("window.hacked") is None
        assert page.query_selector("main script, main [onerror], main img[src^=javascript]") is None


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
