"""Tests of `pinactors records`: lists, single answers, exports, and erasure with the photographs' files."""

from __future__ import annotations

import csv
import errno
import json
import os
import time
from pathlib import Path

import pytest
import trio

from pinactors.cli import app
from pinactors.protocol import Verdict, View
from pinactors.records import Records
from pinactors.settings import Settings, load
from pinactors.storage.images import ImageStore
from pinactors.storage.logs.packet_logs import Entry
from pinactors.storage.logs.rows import open_log_rows
from pinactors.supervision import Supervision
from tests.cli.samples import RUNNER, call, packets, seal
from tests.postgres_server import empty_database
from tests.records.conftest import postgres  # noqa: F401 - a fixture
from tests.records.samples import record


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two analyses of the same front, of which the second has a back. All photographs were
    stored an hour ago."""
    folder = tmp_path / "data"
    settings = Settings(data=folder)

    async def fill() -> None:
        store = ImageStore(settings.images_folder)
        store.prepare()
        front, back = store.save(b"front"), store.save(b"back")
        records = await Records.open(settings)
        await records.add_key("shop")
        await records.save(record("s1", images={View.FRONT: front}, packets=packets(Verdict.AUTHENTIC)), seal)
        second = record(
            "s2",
            owner="2",
            verdict="counterfeit",
            images={View.FRONT: front, View.BACK: back},
            packets=packets(Verdict.COUNTERFEIT),
        )
        await records.save(second, seal)
        await records.close()

    trio.run(fill)
    for path in files(folder):
        os.utime(path, (time.time() - 3600,) * 2)
    return folder


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "images").rglob("*") if path.is_file()]


def test_the_list_and_its_filters(data: Path) -> None:
    listed = call("records", "list", "--data", data)
    assert listed.exit_code == 0, listed.output
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["2", "1"]
    assert "Fox in the Garden" in listed.stdout
    assert "counterfeit" not in call("records", "list", "--verdict", "authentic", "--data", data).stdout
    assert len(call("records", "list", "--key", "shop", "--data", data).stdout.splitlines()) == 2
    assert "more with --before 2" in call("records", "list", "--limit", "1", "--data", data).stderr
    bad = call("records", "list", "--verdict", "maybe", "--data", data)
    assert bad.exit_code == 2
    assert "expected one of authentic" in bad.stderr
    assert call("records", "list", "--since", "soon", "--data", data).exit_code == 2


def test_one_record(data: Path) -> None:
    shown = call("records", "show", "2", "--data", data)
    assert shown.exit_code == 0, shown.output
    assert "The red is duller than the catalogue's." in shown.stdout
    answer = json.loads(call("records", "show", "2", "--json", "--data", data).stdout)
    assert (answer["id"], answer["verdict"]) == (2, "counterfeit")
    missing = call("records", "show", "9", "--data", data)
    assert missing.exit_code == 1
    assert "there is no record 9" in missing.stderr


def test_an_export(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert call("records", "export", target, "--data", data).exit_code == 0
    with (target / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["verdict"]) for row in rows] == [
        ("record 2", "counterfeit"),
        ("record 1", "authentic"),
    ]
    assert rows[0]["why"] == "The red is duller than the catalogue's."
    assert rows[0]["photograph_again"] == "Photograph the back."
    lines = (target / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["answer"]["id"] for line in lines] == [2, 1]
    assert call("records", "export", target, "--data", data).exit_code == 2


def test_erasing_one_leaves_the_photograph_that_another_saw(data: Path) -> None:
    assert len(files(data)) == 2
    erased = call("records", "erase", "--record", "2", "--yes", "--data", data)
    assert erased.exit_code == 0, erased.output
    assert "1 analyses and 1 photographs were erased" in erased.stdout
    assert [path.read_bytes() for path in files(data)] == [b"front"]
    assert call("records", "erase", "--record", "2", "--yes", "--data", data).exit_code == 1
    assert "1 analyses and 1" in call("records", "erase", "--key", "shop", "--yes", "--data", data).stdout
    assert files(data) == []


def test_a_photograph_that_cannot_be_removed_keeps_no_other(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a volume that is mounted read-only. The rows are erased by then, so that another attempt would
    find nothing to erase."""
    stuck = min(files(data))
    forget = ImageStore.forget

    def refusing(store: ImageStore, sha256: str) -> bool:
        if sha256 == stuck.name:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(stuck))
        return forget(store, sha256)

    monkeypatch.setattr(ImageStore, "forget", refusing)
    erased = call("records", "erase", "--before", "2100-01-01", "--yes", "--data", data)
    assert erased.exit_code == 1
    assert "2 analyses and 1 photographs were erased" in erased.stdout
    assert "1 photographs could not be removed, which a server does later" in erased.stderr
    assert f"{stuck}: Read-only file system" in " ".join(erased.stderr.split())
    assert files(data) == [stuck]


def test_what_was_sent_again_just_now_is_left_to_the_server(data: Path) -> None:
    for path in files(data):
        os.utime(path)
    erased = call("records", "erase", "--before", "2100-01-01", "--yes", "--data", data)
    assert "2 analyses and 0 photographs" in erased.stdout
    assert "2 photographs were just sent again and kept" in erased.stderr
    assert len(files(data)) == 2


def test_erasing_leaves_the_photographs_of_sessions_on_any_master(
    postgres: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PINACTORS_DATABASE_URL", empty_database(postgres))
    settings = load(data=tmp_path / "data")
    store = ImageStore(settings.images_folder)
    store.prepare()
    running, ended, other = store.save(b"running"), store.save(b"ended"), store.save(b"other")
    for path in files(settings.data):
        os.utime(path, (time.time() - 3600,) * 2)

    def fails(error: OSError) -> None:
        raise error

    async def fill() -> None:
        records = await Records.open(settings)
        for number, image in enumerate((running, ended, other)):
            await records.save(record(f"s{number}", images={View.FRONT: image}), seal)
        await records.close()
        async with open_log_rows(settings, fails, Supervision()) as logs:  # another machine's
            for name, image in (("running", running), ("ended", ended)):
                stored = logs.create(f"stream-{name}")
                fact = Entry("M", b'{"type":"Arrived","sha256":"%s"}' % image.sha256.encode())
                await stored.append([fact])
            await stored.seal(Entry("P - -", b"{}"))

    trio.run(fill)
    erased = call("records", "erase", "--before", "2100-01-01", "--yes", "--data", settings.data)
    assert "3 analyses and 2 photographs were erased" in erased.stdout, erased.output
    assert [path.read_bytes() for path in files(settings.data)] == [b"running"]


def test_erasing_asks_and_wants_to_know_what(data: Path) -> None:
    assert call("records", "erase", "--data", data).exit_code == 2
    refused = RUNNER.invoke(app, ["records", "erase", "--record", "1", "--data", str(data)], input="n\n")
    assert refused.exit_code == 1
    assert len(call("records", "list", "--data", data).stdout.splitlines()) == 3
