"""Tests of suggested pins: a named pin becomes a candidate if the photograph confirms it, never a claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.analysis.matching.suggested import with_named
from pinactors.analysis.model import Match
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from pinactors.components import Context, match_suggested
from pinactors.protocol import Suggestion, View
from tests.catalog import folders


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn pins: "Test pin 0", "Test pin 1", "Test pin 2"."""
    folder = tmp_path_factory.mktemp("pins")
    import_catalog(folders.write_folder(folder / "source", range(3), back=False), folder / "catalog")
    return folder / "catalog"


def test_only_what_the_photograph_shows_becomes_a_candidate(catalog: Path) -> None:
    opened, front = Catalog.open(catalog), folders.photograph(2, View.FRONT, angle=20.0)
    numbers = {pin: opened.number(pin) or 0 for pin in ("T000", "T001", "T002")}
    missed = Match(reason="not found")
    found = with_named(opened, missed, front, [*numbers.values()])
    assert [one.pin.pin_id for one in found.candidates] == ["T002"]
    assert 0.5 < found.candidates[0].score < 1
    assert (found.identified, found.reason) == (False, "not found")
    assert with_named(opened, missed, front, [numbers["T000"], numbers["T001"]]) == missed
    assert with_named(opened, found, front, [numbers["T002"]]) is found
    claimed = folders.identify(catalog, front)
    assert with_named(opened, claimed, front, [numbers["T000"]]) is claimed


def test_suggested_texts_are_looked_up_in_the_catalogue(catalog: Path) -> None:
    opened = Catalog.open(catalog)
    every = [opened.number(f"T00{number}") for number in range(3)]
    assert opened.named(["Pin, otter"], 10) == []
    assert opened.named(["otter TEST"], 10) == every
    assert opened.named(["Friendly otter"], 10) == []
    assert opened.named(["Friend", folders.code(2)], 10) == [every[2], every[0], every[1]]
    assert opened.named(["Friend", folders.code(2)], 1) == [every[2]]
    assert opened.named(["", "%%", "a"], 10) == []
    front = folders.view(2, View.FRONT)
    said = [Suggestion(text="Otter 2", kind="character", source="m")]
    context = Context(str(catalog), folders.MAX_PIXELS)
    found = match_suggested(context, Match(), front, said)
    assert found is not None
    assert [one.pin.pin_id for one in found.candidates] == ["T002"]
    told = [Suggestion(text="Otter 2", kind="description", source="m")]
    assert match_suggested(context, Match(), front, told) == Match()
    assert match_suggested(Context("/nowhere", 1), Match(), front, said) == Match()
    assert match_suggested(context, None, front, said) is None
