"""Tests that nothing is claimed that was not measured: complete results for misleading pictures."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from pinactors.analysis.evidence import likelihood, verdict
from pinactors.analysis.model import Match, PreparedView
from pinactors.analysis.report import characters, pricing
from pinactors.analysis.segmentation import prepare
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from pinactors.protocol import AuthenticationResult, CharacterIdentification, PricingAnalysis, Verdict, View
from tests import drawing
from tests.catalog import folders

SEEDS = range(7)
TODAY = dt.date(2025, 6, 30)


def sales() -> list[dict[str, str]]:
    """Pin 0 has twelve sales in dollars and four in euros, pin 1 three, pin 2 one, the others none."""
    rows = [folders.sale(0, price=f"{20 + n / 10}", sold_at=f"2025-06-{n + 1:02d}") for n in range(12)]
    rows += [folders.sale(0, price="18", currency="EUR", sold_at=f"2025-06-{n + 1:02d}") for n in range(4)]
    rows += [folders.sale(1, price=f"{9 + n}", sold_at=f"2025-06-{n + 1:02d}") for n in range(3)]
    return [*rows, folders.sale(2, price="31")]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven drawn pins without backs."""
    folder = tmp_path_factory.mktemp("honest")
    import_catalog(folders.write_folder(folder / "in", SEEDS, back=False, sales=sales()), folder / "catalog")
    return folder / "catalog"


@dataclass(frozen=True)
class Answers:
    match: Match
    characters: CharacterIdentification
    pricing: PricingAnalysis
    authenticity: AuthenticationResult


def answers(
    catalog: Path, front: PreparedView, back: PreparedView | None = None, angled: PreparedView | None = None
) -> Answers:
    """The components' results, computed as the pipeline does."""
    match = folders.refine(
        catalog, folders.identify(catalog, front.rgb), back, angled.rgb if angled else None
    )
    front = prepare.cut_out(front, match)
    return Answers(
        match,
        characters.describe(match),
        pricing.price(match, TODAY),
        verdict.assess(front, back, angled, None, match, likelihood.calibration("")),
    )


def claims_nothing(found: Answers) -> None:
    assert found.match.pin is None
    assert found.match.reason
    assert found.characters.characters == "Not identified"
    assert not found.characters.identified
    assert found.pricing.estimate is None
    assert found.pricing.reason
    assert not found.authenticity.authentic
    assert found.authenticity.verdict in (Verdict.UNDETERMINED, Verdict.NOT_A_PIN)


def thing(name: str) -> drawing.Picture:
    """A photograph of an object on cloth that is not a pin."""
    rgb = drawing.background("cloth", 900, 700, 3).copy()
    if name == "key":
        cv2.circle(rgb, (280, 350), 90, (178, 150, 70), -1)
        cv2.circle(rgb, (280, 350), 40, (90, 110, 130), -1)
        cv2.rectangle(rgb, (360, 325), (700, 375), (178, 150, 70), -1)
        for x in (560, 620, 670):
            cv2.rectangle(rgb, (x, 375), (x + 25, 430), (178, 150, 70), -1)
    elif name == "button":
        cv2.circle(rgb, (450, 350), 220, (40, 60, 120), -1)
        cv2.circle(rgb, (450, 350), 180, (55, 80, 150), -1)
        for x, y in ((400, 300), (500, 300), (400, 400), (500, 400)):
            cv2.circle(rgb, (x, y), 26, (15, 15, 20), -1)
    elif name == "card":
        cv2.rectangle(rgb, (180, 180), (720, 520), (240, 238, 230), -1)
        for row, text in enumerate(("GARDEN CAFE", "5 Mill Lane", "open 9 - 17")):
            cv2.putText(rgb, text, (220, 270 + 80 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (40, 40, 40), 4)
    elif name == "leaf":
        around = np.linspace(0, 2 * np.pi, 200)
        reach = 120 + 130 * np.abs(np.sin(2.5 * around))
        points = np.stack([450 + reach * np.cos(around), 350 + reach * np.sin(around)], axis=1)
        cv2.fillPoly(rgb, [points.astype(np.int32)], (60, 120, 40))
        for end in points[::40]:
            cv2.line(rgb, (450, 350), (int(end[0]), int(end[1])), (90, 150, 60), 5)
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.8), np.uint8)


@pytest.mark.parametrize("name", ["key", "button", "card", "leaf"])
def test_other_things(catalog: Path, name: str) -> None:
    claims_nothing(answers(catalog, folders.prepared(thing(name))))


@pytest.mark.parametrize("surface", drawing.BACKGROUNDS)
def test_a_blank_table(catalog: Path, surface: str) -> None:
    claims_nothing(answers(catalog, folders.prepared(drawing.background(surface, 900, 700, 8))))


def test_two_pins_in_one_picture(catalog: Path) -> None:
    """One of the two pins or none is identified, never a third, and the problem is reported."""
    left = drawing.photograph(drawing.pin_front(2), drawing.background("cloth", 700, 700, 3), share=0.7)
    right = drawing.photograph(drawing.pin_front(4), drawing.background("cloth", 700, 700, 3), share=0.6)
    found = answers(catalog, view := folders.prepared(np.hstack([left.rgb, right.rgb])))
    assert found.match.pin is None or found.match.pin.pin_id in ("T002", "T004")
    assert any("each pin alone" in problem for problem in view.quality.problems)
    assert not found.authenticity.authentic


def screen(shown: drawing.Picture) -> drawing.Picture:
    """`shown` on a screen, with red, green and blue pixel stripes, a bezel and a reflection of the room."""
    large = cv2.resize(shown, (840, 630), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    stripes = np.zeros((630, 840, 3), np.float32)
    for channel in range(3):
        stripes[:, channel::3, channel] = 2.2
    rgb = np.full((770, 980, 3), 18, np.float32)
    rgb[70:700, 70:910] = cv2.GaussianBlur(large * stripes, (0, 0), 0.7)
    rgb += np.linspace(0, 25, 980, dtype=np.float32)[None, :, None]
    return np.asarray(np.clip(rgb, 0, 255), np.uint8)


def test_a_screen_with_something_else_on_it(catalog: Path) -> None:
    window = np.full((480, 640, 3), 235, np.uint8)
    cv2.rectangle(window, (0, 0), (640, 40), (60, 90, 160), -1)
    for row in range(8):
        cv2.putText(
            window, "pin for sale, 4 bids", (30, 90 + 48 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (30,) * 3
        )
    claims_nothing(answers(catalog, folders.prepared(screen(window))))


def test_a_screen_with_a_pin_on_it_is_never_authentic(catalog: Path) -> None:
    """The pin on the screen may be identified, but not declared authentic."""
    shown = drawing.photograph(drawing.pin_front(2), drawing.background("white", 640, 480), share=0.8)
    found = answers(catalog, folders.prepared(screen(shown.rgb)))
    assert found.match.pin is None or found.match.pin.pin_id == "T002"
    assert not found.authenticity.authentic
    assert found.authenticity.verdict in (Verdict.UNDETERMINED, Verdict.NOT_A_PIN)


def test_a_pin_half_outside(catalog: Path) -> None:
    whole = drawing.photograph(drawing.pin_front(2), drawing.background("cloth", 900, 700, 3), share=0.8)
    columns = np.flatnonzero((whole.mask > 0).any(axis=0))
    half = np.ascontiguousarray(whole.rgb[:, (columns[0] + columns[-1]) // 2 :])
    found = answers(catalog, view := folders.prepared(half))
    assert found.match.pin is None or found.match.pin.pin_id == "T002"
    assert view.pin is None or any("outside the picture" in problem for problem in view.quality.problems)
    assert not found.authenticity.authentic


def test_an_empty_catalogue(tmp_path: Path) -> None:
    found = answers(
        tmp_path / "absent",
        folders.view(2, View.FRONT),
        folders.view(2, View.BACK),
        folders.view(2, View.ANGLED),
    )
    claims_nothing(found)
    assert "empty" in found.characters.identification
    assert found.authenticity.confidence <= 0.75


def test_a_catalogue_without_backs(catalog: Path) -> None:
    """The pin is claimed; rows that need the catalogue's back are not assessed and have no weight."""
    found = answers(
        catalog, folders.view(2, View.FRONT), folders.view(2, View.BACK), folders.view(2, View.ANGLED)
    )
    assert found.match.pin is not None
    assert found.match.pin.pin_id == "T002"
    assert View.BACK not in found.match.references
    rows = {row.name: row for row in found.authenticity.evidence or []}
    for name in ("waffle_absent", "stamp_match"):
        assert not rows[name].assessed
        assert rows[name].weight == 0


@pytest.mark.parametrize(
    ("seed", "size", "said"),
    [
        (0, 12, "4 sales in other currencies left out"),
        (1, 3, ""),
        (2, None, "Only 1 sale"),
        (3, None, "no sale"),
    ],
)
def test_sales_in_mixed_currencies_three_one_and_none(
    catalog: Path, seed: int, size: int | None, said: str
) -> None:
    found = answers(catalog, folders.view(seed, View.FRONT), None, folders.view(seed, View.ANGLED))
    assert found.match.pin is not None
    estimate = found.pricing.estimate
    assert (estimate.sample_size if estimate else None) == size
    assert said in f"{found.pricing.method} {found.pricing.reason}"
    known = {sale.price for sale in Catalog.open(catalog).sales(f"T{seed:03d}")}
    if estimate:
        assert min(known) <= estimate.low <= estimate.median <= estimate.high <= max(known)
    assert "if genuine" in found.pricing.pricing.lower() or not estimate
