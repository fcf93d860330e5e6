"""Tests of the import in a separate process: its messages, and that it ends when its server ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pinactors.catalog import snapshots
from pinactors.catalog.importing import import_process
from pinactors.catalog.importing.import_process import ImportMessage, ImportRequest, run_import
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from pinactors.settings import Settings
from pinactors.storage.objects import open_objects
from tests.catalog import folders

COMMAND = [sys.executable, "-m", "pinactors.catalog.importing.import_process"]
LIMIT = 120


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An import folder with one drawn pin and one bad row."""
    folder = folders.write_folder(tmp_path_factory.mktemp("source"), [0], back=False)
    with (folder / "pins.csv").open("a") as file:
        file.write("B1,Bad,,,,,,,none.png,\r\n")
    return folder


def ordered(order: ImportRequest) -> list[ImportMessage]:
    """Runs the process with `order` until its end and returns its messages."""
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()  # stdin stays open: the process ends when it is closed
        said = [msgspec.json.decode(line, type=ImportMessage) for line in process.stdout]
        assert process.wait(LIMIT) == 0
    return said


def test_it_says_how_far_it_is_and_what_it_did(source: Path, tmp_path: Path) -> None:
    *steps, last = ordered(ImportRequest(str(source), str(tmp_path / "catalog"), memory=1 << 31, niceness=1))
    assert [(step.done, step.total) for step in steps] == [(1, 2), (2, 2)]
    assert last.report is not None
    assert (last.report.added, last.left_out, last.warned) == (1, 1, len(last.report.warnings))
    assert [problem.line for problem in last.report.problems] == [3]
    assert Catalog.open(tmp_path / "catalog").size == 1


def test_what_cannot_be_imported_is_said(tmp_path: Path) -> None:
    (said,) = ordered(ImportRequest(str(tmp_path / "nowhere"), str(tmp_path / "catalog")))
    assert "no such folder" in said.wrong


def test_it_ends_when_its_server_does(source: Path, tmp_path: Path) -> None:
    done = subprocess.run(COMMAND, input=b"", capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode != 0, "nobody is there to give an order"
    code = "import threading; from pinactors.catalog import import_process as p; p._end_with_server()"
    done = subprocess.run([sys.executable, "-c", code], input=b"", timeout=LIMIT, check=False)
    assert done.returncode == 1


def test_a_published_version_is_changed_in_a_copy(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_process, "_send", lambda said: None)
    data, storage = tmp_path / "data", f"file:{tmp_path / 'storage'}"
    objects = open_objects(Settings(data=data, storage=storage))
    import_catalog(source, tmp_path / "first")
    version = snapshots.publish(tmp_path / "first", objects, lambda done, total: None)
    published = snapshots.fetch(version, objects, data / "catalogs")
    readers_files = [published / f"catalog.sqlite3{suffix}" for suffix in ("-wal", "-shm")]
    for path in readers_files:  # as if a reader removed them after they were listed
        path.symlink_to("removed")
    changed = folders.write_folder(
        tmp_path / "in", [0], back=False, changes={0: {"front_image": "", "name": "Corrected"}}
    )
    order = ImportRequest(
        str(changed),
        str(data / "edited"),
        published=str(published),
        storage=storage,
        data=str(data),
    )
    assert run_import(order).updated == 1
    assert not (data / "edited").exists()
    for path in readers_files:
        path.unlink()
    latest = snapshots.latest(objects)
    assert latest is not None
    names = []
    for each in (version, latest):
        pin = Catalog.open(snapshots.fetch(each, objects, tmp_path / "elsewhere")).pin("T000")
        assert pin is not None
        names.append(pin.name)
    assert names == ["Test pin 0", "Corrected"]
    with pytest.raises(snapshots.VersionSuperseded):  # the order edits the first version, not the latest
        run_import(order)
    assert snapshots.latest(objects) == latest
