"""Tests of the import: which rows are accepted, why others are not, and that killing or repeating an import
does not harm the catalogue."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pinactors.catalog.importing import importer
from pinactors.catalog.importing.importer import ImportRunning, import_catalog
from pinactors.catalog.importing.preparing import PreparedRow, prepare_row
from pinactors.catalog.importing.rows import ImportReport, Row
from pinactors.catalog.index import read_state
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View
from tests.catalog import folders


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        folders.sale(0),
        folders.sale(0, sold_at="2025-07-01", price="14"),
        folders.sale(1, currency="eur"),
    ]
    return folders.write_folder(tmp_path_factory.mktemp("source"), range(4), back=False, sales=rows)


@pytest.fixture(scope="module")
def kept(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue that an import of `source` makes."""
    import_catalog(source, folder := tmp_path_factory.mktemp("kept"))
    return folder


@pytest.fixture
def imported(kept: Path, target: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(kept, target)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, len(report.problems)


def test_import_and_read_back(source: Path, target: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = import_catalog(source, target, lambda done, total: steps.append((done, total)))
    assert counts(report) == (4, 0, 0, 0)
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    catalog = Catalog.open(target)
    assert (catalog.size, catalog.version, catalog.demonstration) == (4, report.version, False)
    pin = catalog.pin("T001")
    assert pin is not None
    assert (pin.name, pin.characters, pin.year, pin.edition_size) == (
        "Test pin 1",
        ("Otter 1", "Friend"),
        2015,
        300,
    )
    assert [sale.price for sale in catalog.sales("T000")] == [14.0, 12.5]
    assert [sale.currency for sale in catalog.sales("T001")] == ["EUR"]
    assert catalog.reference("T002", View.BACK) is None
    assert catalog.pin("absent") is None
    assert catalog.reference("absent", View.FRONT) is None


def test_both_pictures_are_kept_cut_out(target: Path, tmp_path: Path) -> None:
    import_catalog(folders.write_folder(tmp_path / "in", [2]), target)
    for view in (View.FRONT, View.BACK):
        reference = Catalog.open(target).reference("T002", view)
        assert reference is not None
        assert reference.rgb.shape == (*reference.mask.shape, 3)
        assert 0.2 < (reference.mask > 0).mean() < 0.9


def test_target_is_self_contained(imported: Path, tmp_path: Path) -> None:
    moved = imported.rename(tmp_path / "moved")
    reference = Catalog.open(moved).reference("T003", View.FRONT)
    assert reference is not None
    picture = Catalog.open(moved).picture("T003", View.FRONT)
    assert picture is not None
    assert picture.is_relative_to(moved)


def test_repeat_changes_nothing(source: Path, imported: Path) -> None:
    first = Catalog.open(imported)
    before = (imported / "CURRENT").stat().st_mtime_ns
    second = import_catalog(source, imported)
    assert counts(second) == (0, 0, 4, 0)
    assert second.version == first.version
    assert (imported / "CURRENT").stat().st_mtime_ns == before
    assert len(Catalog.open(imported).sales("T000")) == 2


def test_only_the_changed_row_is_done_again(imported: Path, tmp_path: Path) -> None:
    changed = folders.write_folder(
        tmp_path / "changed", range(5), back=False, changes={2: {"name": "Renamed"}}
    )
    report = import_catalog(changed, imported)
    assert counts(report) == (1, 1, 3, 0)
    catalog = Catalog.open(imported)
    pin = catalog.pin("T002")
    assert pin is not None
    assert pin.name == "Renamed"
    assert catalog.size == 5
    assert len(catalog.sales("T000")) == 2, "a folder without sales.csv leaves the sales alone"


def test_a_known_pin_without_a_front_image_keeps_its_pictures(target: Path, tmp_path: Path) -> None:
    source = folders.write_folder(tmp_path / "in", [0], back=False, sales=[folders.sale(0)])
    import_catalog(source, target)
    before = Catalog.open(target).picture("T000", View.FRONT)
    fixed = folders.write_folder(
        tmp_path / "fixed", [0], changes={0: {"name": "Corrected", "front_image": ""}}
    )
    again = folders.write_folder(
        tmp_path / "again", [0], changes={0: {"name": "Corrected", "front_image": "", "back_image": ""}}
    )
    masked = folders.pin_row(0, front_image="") | {"box": "0,0,1,1"}
    for folder, has_back in ((fixed, True), (again, True), (source, False)):
        report = import_catalog(folder, target)
        assert counts(report) == (0, 1, 0, 0), folder
        catalog = Catalog.open(target)
        pin = catalog.pin("T000")
        assert pin is not None
        assert pin.name == ("Test pin 0" if folder == source else "Corrected")
        assert catalog.picture("T000", View.FRONT) == before
        assert (catalog.reference("T000", View.BACK) is not None) is has_back
        assert len(catalog.sales("T000")) == 1
        assert folders.identify(target, folders.photograph(0, View.FRONT)).identified
    assert counts(import_catalog(source, target)) == (0, 0, 1, 0)
    folders.write_csv(source / "pins.csv", [*folders.PIN_HEADER, "box"], [masked])
    (problem,) = import_catalog(source, target).problems
    assert "front_image, which is empty" in problem.message


def test_a_german_spreadsheet(target: Path, tmp_path: Path) -> None:
    """The tables have semicolons, UTF-16, decimal commas, dates with points and empty rows at the end."""
    folder = folders.write_folder(tmp_path / "in", [0], back=False, changes={0: {"name": "Fuchs Möhre"}})
    text = (folder / "pins.csv").read_text("utf-8").replace(",", ";") + ";;;;;;;;;\r\n"
    (folder / "pins.csv").write_bytes(text.replace("Otter 0;Friend", '"Otter 0;Friend"').encode("utf-16"))
    sold = (
        "pin_id;sold_at;price;currency;condition;source\r\nT000;03.04.2025;1.234,56;EUR;gut;Börse\r\n;;;;;\n"
    )
    (folder / "sales.csv").write_bytes(sold.encode("windows-1252"))
    (folder / "fx.csv").write_text("sep=;\ncurrency;usd_per_unit\nEUR;1,085\n")
    report = import_catalog(folder, target)
    assert counts(report) == (1, 0, 0, 0)
    assert [(str(warning)[:12], warning.message[:9]) for warning in report.warnings] == [
        ("sales.csv:2:", "not UTF-8"),
        ("sales.csv:2:", "condition"),
    ]
    assert report.warnings[0].message.endswith("or import it with `pinactors catalog import --encoding`")
    catalog = Catalog.open(target)
    pin = catalog.pin("T000")
    assert pin is not None
    assert (pin.name, pin.characters) == ("Fuchs Möhre", ("Otter 0", "Friend"))
    assert [(str(sale.sold_at), sale.price, sale.source) for sale in catalog.sales("T000")] == [
        ("2025-04-03", 1234.56, "Börse")
    ]
    assert catalog.rates() == {"EUR": 1.085}


@pytest.mark.parametrize("name", ["pins.csv", "sales.csv", "fx.csv"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_a_table_that_is_no_file_is_named(name: str, kind: str, target: Path, tmp_path: Path) -> None:
    (tmp_path / "pins.csv").touch()
    path = tmp_path / name
    path.unlink(missing_ok=True)
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=f"{name} is not a file"):
        import_catalog(tmp_path, target)
    assert not target.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("none", "no such folder"),
        ("pins.csv", "is a file"),
        ("empty", "contains no pins.csv, but My pins.xlsx"),
        ("nested", "contains no pins.csv: did you mean {}/nested/drawn?"),
        ("several", "contains no pins.csv"),
        ("pins.ZIP", "is a ZIP archive: extract it first"),
    ],
)
def test_a_folder_that_is_none_is_said_and_no_catalogue_is_begun(
    given: str, said: str, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "pins.csv").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "My pins.xlsx").touch()
    (tmp_path / "pins.ZIP").touch()
    for folder in ("nested/drawn", "nested/__MACOSX", "several/one", "several/two"):
        (tmp_path / folder).mkdir(parents=True)
        if not folder.endswith("MACOSX"):
            (tmp_path / folder / "pins.csv").touch()
    with pytest.raises(OSError) as raised:
        import_catalog(tmp_path / given, target)
    assert said.format(tmp_path) in str(raised.value)
    assert ("did you mean" in str(raised.value)) == (given == "nested")
    assert not target.exists()


def test_names_that_an_earlier_program_damaged_are_imported_with_a_warning(
    target: Path, tmp_path: Path
) -> None:
    folder = folders.write_folder(tmp_path / "in", [0], back=False, changes={0: {"name": "CafÃ© SeÃ±or"}})
    report = import_catalog(folder, target)
    assert counts(report) == (1, 0, 0, 0)
    (warning,) = report.warnings
    assert str(warning).startswith("pins.csv:2: 'CafÃ© SeÃ±or' was probably 'Café Señor'")


def test_a_known_pin_keeps_what_a_file_has_no_column_for(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "in", [0])
    import_catalog(folder, target)
    before = Catalog.open(target)
    (folder / "pins.csv").write_text("pin_id,name,front_image\nT000,Renamed,0_front.png\n")
    assert counts(import_catalog(folder, target)) == (0, 1, 0, 0)
    after = Catalog.open(target)
    was, now = before.pin("T000"), after.pin("T000")
    assert was is not None
    assert was.factory_code
    assert now == replace(was, name="Renamed")
    assert after.picture("T000", View.BACK) == before.picture("T000", View.BACK) is not None
    assert counts(import_catalog(folder, target)) == (0, 0, 1, 0)
    header = ",".join(folders.PIN_HEADER)
    empty = ",".join(
        {"pin_id": "T000", "name": "Renamed", "front_image": "0_front.png"}.get(name, "")
        for name in folders.PIN_HEADER
    )
    (folder / "pins.csv").write_text(f"{header}\n{empty}\n")
    assert counts(import_catalog(folder, target)) == (0, 1, 0, 0)
    cleared = Catalog.open(target).pin("T000")
    assert cleared is not None
    assert (cleared.factory_code, cleared.series) == (None, None), "an empty value is one"


def test_demonstration_is_marked(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "in", [0], back=False)
    (folder / "DEMONSTRATION").touch()
    assert import_catalog(folder, target).demonstration
    assert Catalog.open(target).demonstration


def test_open_reader_sees_a_new_import(imported: Path, tmp_path: Path) -> None:
    before = Catalog.open(imported)
    assert before is Catalog.open(imported), "cached while nothing changes"
    import_catalog(folders.write_folder(tmp_path / "more", [7], back=False), imported)
    after = Catalog.open(imported)
    assert after.version != before.version
    assert (before.size, after.size) == (4, 5)


def test_an_unexpected_error_about_a_picture_costs_only_its_row(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(row: Row, known: str | None, folder: Path) -> PreparedRow | None:
        if row.values["pin_id"] == "T002":
            raise ValueError("nobody thought of this")
        return prepare_row(row, known, folder)

    monkeypatch.setattr(importer, "prepare_row", prepare)
    report = import_catalog(source, target)
    (problem,) = report.problems
    assert "cannot be prepared: ValueError: nobody thought of this" in problem.message
    assert report.added == report.size > 1


def test_rows_that_share_a_picture(target: Path, tmp_path: Path) -> None:
    folder = folders.write_folder(tmp_path / "in", [1], back=False)
    rows = [folders.pin_row(1, back=False, pin_id=f"S{i}") for i in range(6)]
    folders.write_csv(folder / "pins.csv", folders.PIN_HEADER, rows)
    assert counts(import_catalog(folder, target, workers=4)) == (6, 0, 0, 0)
    assert len([path for path in (target / "pictures").glob("*/*") if path.is_file()]) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from pinactors.catalog.importing.importer import import_catalog
def progress(done, total):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
import_catalog(Path(sys.argv[1]), Path(sys.argv[2]), progress, workers=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kill_in_the_middle_then_resume(source: Path, target: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False, cwd=Path.cwd())
    assert ended.returncode == -signal.SIGKILL
    assert read_state(target) is None, "nothing is in force before the switch"
    assert Catalog.open(target).size == 0
    resumed = import_catalog(source, target)
    assert counts(resumed) == (2, 0, 2, 0)
    catalog = Catalog.open(target)
    assert [pin.pin_id for pin in catalog.pins()] == ["T000", "T001", "T002", "T003"]
    assert len(catalog.sales("T000")) == 2
    fresh = import_catalog(source, target.with_name("fresh"))
    assert fresh.size == resumed.size
    assert not list(target.rglob("*.partial"))


def test_kill_between_rows_and_switch(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has rows that the index lacks: readers keep the old state until the next import."""
    import_catalog(folders.write_folder(target.with_name("small"), [0], back=False), target)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pinactors.catalog.index.write_state", stop)
        with pytest.raises(KeyboardInterrupt):
            import_catalog(source, target)
    assert Catalog.open(target).size == 1
    resumed = import_catalog(source, target)
    assert counts(resumed) == (0, 0, 4, 0)
    assert Catalog.open(target).size == 4
    assert len({path.name.partition(".")[0] for path in (target / "index").iterdir()}) == 1


def test_one_import_at_a_time(source: Path, target: Path) -> None:
    def again(done: int, total: int) -> None:
        with pytest.raises(ImportRunning):
            import_catalog(source, target)
        raise StopIteration  # ends the outer import

    with pytest.raises(StopIteration):
        import_catalog(source, target, again)
    assert counts(import_catalog(source, target))[2] >= 1


def test_pictures_are_bounded_and_shared_by_content(kept: Path) -> None:
    files = list((kept / "pictures").glob("*/*"))
    assert len({path.name for path in files}) == len(files)
    assert all(path.stat().st_size < 200_000 for path in files)
    assert os.path.getsize(kept / "catalog.sqlite3") < 4 * 200_000
