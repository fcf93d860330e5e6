"""The operator's page in a browser: what it shows, and that the catalogue contains what it saves."""

from __future__ import annotations

import dataclasses
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from pinactors.protocol import CharacterIdentification, Suggestion, View
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage
from tests.api.conftest import launch
from tests.api.page.conftest import opened
from tests.api.page.test_states import axe, check  # noqa: F401 - a fixture
from tests.catalog import folders
from tests.cli.samples import seal, stamped
from tests.records.samples import record

ONE_ROW = ".rows:not(:has(li:nth-child(2))) .row"
HOSTILE = '<img src=x onerror="window.hacked=1">'


@dataclass(frozen=True)
class Shop:
    """A server with a catalogue of two drawn pins and three analyses, and an operator's key."""

    url: str
    key: str
    catalogue: Path
    folder: Path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    data = folder / "data"
    source = folders.write_folder(folder / "first", [0, 1], back=False, changes={1: {"name": HOSTILE}})
    import_catalog(source, data / "catalog")
    key = trio.run(_prepare, data, folders.photographed(5, folder / "photograph.png"))
    process, port = launch(data)
    try:
        yield Shop(f"http://127.0.0.1:{port}/admin", key, data / "catalog", folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


async def _prepare(data: Path, photograph: Path) -> str:
    records = await Records.open(Settings(data=data))
    images = {View.FRONT: StoredImage(str(photograph), "c" * 64, 10)}
    suggestions = [
        Suggestion(text=text, kind="character", source="a-model") for text in ("An otter", "Ottilie")
    ]
    found = CharacterIdentification(characters="", identification="", candidates=[], suggestions=suggestions)
    for number in range(1, 4):
        one = record(f"s{number}", images=images, session_id=f"p{number}", degraded=["details"])
        packets = [stamped(found, 0)] if number == 1 else []
        await records.save(dataclasses.replace(one, packets=packets), seal)
    await records.confirm(1, "p1", "agree", "It is Ottilie.", "1")
    await records.confirm(2, "p2", "disagree", f"It is {HOSTILE}", "1", "counterfeit", "T001", 12)
    key = await records.add_key("shop", admin=True)
    await records.close()
    return key


@pytest.fixture
def page(browser: Any, shop: Shop) -> Iterator[Any]:
    """The operator's page, with the key entered."""
    with opened(browser, shop.url, refused="Failed to load resource") as page:
        page.click("#key-enter")
        page.fill("#key-value", shop.key)
        page.click("#key button[value=save]")
        page.wait_for_selector(".cards")
        yield page


def test_nothing_is_shown_without_the_key(browser: Any, shop: Shop, axe: str) -> None:  # noqa: F811
    with opened(browser, shop.url, refused="Failed to load resource") as page:
        page.wait_for_selector("#locked")
        assert "keys add NAME --admin" in page.inner_text("#locked")
        check(page, axe)


@pytest.mark.parametrize(
    ("section", "there"),
    [
        ("overview", ".minutes"),
        ("analyses", ".row >> nth=2"),
        ("catalogue", ".row >> nth=1"),
        ("import", ".drop"),
        ("analysis", "dialog .facts"),
        ("pin", "dialog .pictures img:not([hidden])"),
    ],
)
def test_every_section_at_every_size(page: Any, shop: Shop, axe: str, section: str, there: str) -> None:  # noqa: F811
    within = {"analysis": "analyses?agreement=disagree", "pin": "catalogue"}.get(section, section)
    page.goto(f"{shop.url}#{within}")
    if within != section:
        page.click(".row >> nth=0")
    page.wait_for_selector(there)
    check(page, axe)
    assert page.evaluate("window.hacked") is None


def test_filters_are_kept_in_the_address(page: Any, shop: Shop) -> None:
    page.goto(f"{shop.url}#analyses")
    page.wait_for_selector(".row >> nth=2")
    page.select_option("#field-agreement", "disagree")
    page.wait_for_selector(ONE_ROW)
    assert page.url.endswith("#analyses?agreement=disagree")
    assert HOSTILE in page.inner_text(".row")
    page.click(".row")
    assert "verdict counterfeit, pin T001, price $12.00" in page.inner_text("dialog .facts")


def test_a_pin_is_corrected_and_a_bad_value_is_said(page: Any, shop: Shop) -> None:
    page.goto(f"{shop.url}#catalogue")
    page.fill("#pin-search", "T000")
    page.wait_for_selector(ONE_ROW)
    page.click(".row")
    page.fill("#field-year", "MMXV")
    page.click(".edit button.primary")
    page.wait_for_selector(".edit .notice.wrong:has-text('year')")
    page.fill("#field-year", "2019")
    page.fill("#field-name", 'Corrected, "quoted"')
    page.click(".edit button.primary")
    page.wait_for_selector(".edit .notice:has-text('Saved')")
    pin = Catalog.open(shop.catalogue).pin("T000")
    assert pin is not None
    assert (pin.name, pin.year, pin.characters) == ('Corrected, "quoted"', 2019, ("Otter 0", "Friend"))
    assert Catalog.open(shop.catalogue).picture("T000", View.FRONT) is not None
    page.wait_for_selector(".row:has-text('Corrected')", state="attached")


def test_a_suggestion_that_a_person_confirmed_becomes_a_pin(page: Any, shop: Shop) -> None:
    page.goto(f"{shop.url}#analyses")
    page.click(".row >> nth=2")
    assert "Ottilie (character, a-model)" in page.inner_text("dialog .plain")
    assert "Suggestions, not verified" in page.inner_text("dialog[open]")
    page.click("dialog button:has-text('Make a new pin')")
    page.wait_for_selector("dialog img[alt*='will be saved']")
    assert page.input_value("#field-name") == "Ottilie"
    assert page.input_value("#field-characters") == "An otter;Ottilie"
    for pin_id, wrong in (("T001", "already has a pin with this id"), ("PIN 1", "without spaces")):
        page.fill("#field-pin_id", pin_id)
        page.click(".edit button.primary")
        page.wait_for_selector(f".edit .notice.wrong:has-text('{wrong}')")
    page.fill("#field-pin_id", "PIN-1")
    page.click(".edit button.primary")
    page.wait_for_selector(".edit .notice:has-text('Saved')")
    pin = Catalog.open(shop.catalogue).pin("PIN-1")
    assert pin is not None
    assert pin.name == "Ottilie"
    match = folders.identify(shop.catalogue, folders.photograph(5, View.FRONT, angle=30.0))
    assert match.pin is not None
    assert match.pin.pin_id == "PIN-1"


def test_an_import_goes_on_while_its_state_cannot_be_read(page: Any, shop: Shop) -> None:
    source = folders.write_folder(shop.folder / "going", [3], back=False)
    methods, broken = [], []

    def through(route: Any) -> None:
        methods.append(route.request.method)
        if route.request.method == "GET" and len(broken) < 2:
            broken.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.goto(f"{shop.url}#import")
    page.wait_for_selector(".drop")
    page.route(re.compile(r"/admin/api/imports/[^/]+$"), through)
    page.set_input_files("#choose-folder", str(source))
    page.wait_for_selector(".going:has-text('1 pin added')")
    page.unroute(re.compile(r"/admin/api/imports/[^/]+$"))
    assert len(broken) == 2
    assert "DELETE" not in methods


def test_a_dropped_folder_is_imported_with_its_problems(page: Any, shop: Shop) -> None:
    source = folders.write_folder(shop.folder / "more", [2], back=False)
    with (source / "pins.csv").open("a") as file:
        file.write("B1,Bad,,,,,,,images/none.png,\r\n")
    page.goto(f"{shop.url}#import")
    page.wait_for_selector(".drop")
    page.set_input_files("#choose-folder", str(source))
    page.wait_for_selector(".import-result table")
    assert "1 pin added" in page.inner_text(".going")
    assert page.locator(".import-result tbody tr").inner_text().split("\t")[:2] == ["pins.csv", "3"]
    assert Catalog.open(shop.catalogue).pin("T002") is not None
    accepted = page.get_attribute("#choose-tables", "accept").split(",")
    assert {".csv", "image/*", ".heic", ".heif", ".hif", ".avif"} <= set(accepted), (
        "not every system knows these"
    )
    page.set_input_files("#choose-tables", str(source / "images/2_front.png"))
    page.wait_for_selector(".going .wrong:has-text('no pins.csv')")
