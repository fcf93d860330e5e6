"""Tests of reading a catalogue: lists, figures, and catalogues that are absent or cannot be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import weakref
from contextlib import closing
from pathlib import Path

import pytest

from pinactors.catalog import models, reader
from pinactors.catalog.importing.importer import exclusive
from pinactors.catalog.reader import Catalog


def test_list_and_search(catalog: Catalog) -> None:
    assert [pin.pin_id for pin in catalog.pins()] == ["T000", "T001", "T002"]
    assert [pin.pin_id for pin in catalog.pins(limit=1, offset=1)] == ["T001"]
    assert [pin.pin_id for pin in catalog.pins("otter 2")] == ["T002"]
    assert [pin.pin_id for pin in catalog.pins("comma")] == ["T001"]
    assert catalog.pins("%") == []
    assert catalog.pins("nothing like it") == []


def test_stats(catalog: Catalog) -> None:
    stats = catalog.stats()
    assert (stats.pins, stats.backs, stats.sales, stats.demonstration) == (3, 0, 3, True)
    assert stats.currencies == {"EUR": 1, "USD": 2}
    assert stats.brands == {"ACME": 2}
    assert stats.years == {2015: 2}
    assert (str(stats.sales_from), str(stats.sales_to)) == ("2025-06-01", "2025-07-01")
    assert stats.bytes > 10_000


def test_only_the_catalogues_opened_last_stay_mapped(catalog: Catalog, tmp_path: Path) -> None:
    """Each published version has its own folder: mapped files of old ones would use disk space for ever."""
    mapped = []
    for number in range(reader.KEPT_OPEN + 1):
        shutil.copytree(catalog.folder, tmp_path / str(number))
        opened = Catalog.open(tmp_path / str(number)).index
        assert opened is not None
        mapped.append(weakref.ref(opened.pins))
        first = Catalog.open(tmp_path / "0")  # in use all the time
    del opened
    assert [array() is not None for array in mapped] == [True, *[False] * (reader.KEPT_OPEN - 1), True]
    assert Catalog.open(tmp_path / "0") is first
    assert Catalog.open(tmp_path / "1").size == catalog.size, "it is opened again"


def test_an_absent_catalogue_is_empty(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "absent")
    assert (catalog.size, catalog.version, catalog.demonstration) == (0, "", False)
    assert catalog.pins() == []
    assert catalog.pin("T000") is None
    assert catalog.sales("T000") == ()
    assert catalog.stats().pins == 0
    assert not (tmp_path / "absent").exists(), "looking does not make it"


def test_a_catalogue_that_cannot_be_written_is_read(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(catalog.folder, tmp_path / "a catalogue #1?")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    opened = Catalog.open(folder)
    with opened.connected:
        assert opened.pins() == catalog.pins()
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with pytest.raises(OSError, match="cannot be written"), exclusive(folder):
        pass


def test_what_only_a_killed_writers_log_has_is_read_where_nothing_can_be_written(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(catalog.folder, tmp_path / "source")
    with closing(sqlite3.connect(source / models.DATABASE_FILE)) as writer:
        writer.execute("UPDATE pin SET name = 'In the log' WHERE pin_id = 'T000'")
        writer.commit()
        folder = shutil.copytree(source, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    pin = Catalog.open(folder).pin("T000")
    assert pin is not None
    assert pin.name == "In the log"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
