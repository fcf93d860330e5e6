"""Tests of analysing many pins: each answer is written at once, and a second run continues the first."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from typer.testing import CliRunner, Result

from pinactors.catalog.demo import DESIGNS, photograph
from pinactors.cli import app, interruptible
from pinactors.cli.analyze import batch, photo_sets
from pinactors.client import NetworkError
from pinactors.protocol import ErrorCode, PinactorsError, Verdict, View
from tests.cli.samples import packets, seal

RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shop = tmp_path / "shop"
    shop.mkdir()
    for name in ("ant", "bee", "cat"):
        (shop / f"{name}_front.jpg").write_bytes(name.encode())
    (shop / "bee_back.jpg").write_bytes(b"back")
    return shop


class Engine:
    """Replaces server and pipeline: records each request in `asked`, raises what `failing` has for it, and
    gets Ctrl-C while it analyses `interrupted_by`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, int]] = []
        self.failing: dict[str, Exception] = {}
        self.interrupted_by: str | None = None

        @asynccontextmanager
        async def analysing(*_: object) -> AsyncIterator[tuple[Any, int]]:
            yield self.analyse, 2

        monkeypatch.setattr(batch, "_analysis_function", analysing)

    async def analyse(self, images: Mapping[View, Path]) -> list[bytes]:
        name = images[View.FRONT].name.partition("_")[0]
        self.asked.append((name, len(images)))
        if name == self.interrupted_by:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        if name in self.failing:
            raise self.failing[name]
        return [*packets(Verdict.AUTHENTIC), seal(1)]


def call(*arguments: str | Path) -> Result:
    return RUNNER.invoke(app, ["analyze", *(str(argument) for argument in arguments)])


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_it_goes_on_where_it_was_stopped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, output = Engine(monkeypatch), tmp_path / "out"
    engine.failing["cat"] = PinactorsError(ErrorCode.OVERLOADED, "Busy", "try again")
    engine.failing["ant"] = PinactorsError(ErrorCode.INVALID_FORMAT, "Bad", "it is damaged")
    first = call(folder, "-o", output, "--data", tmp_path / "data")
    assert first.exit_code == 1, first.output
    assert sorted(engine.asked) == [("ant", 1), ("bee", 2), ("cat", 1)]
    assert rows(output)["bee"]["verdict"] == "authentic"
    assert rows(output)["ant"]["error"] == "it is damaged"
    assert "3 pins: 1 authentic, 2 failed." in first.stdout

    with (output / "results.jsonl").open("a") as file:
        file.write('{"name": "bee", "answ')  # killed while writing
    engine.asked.clear()
    engine.failing.clear()
    (folder / "dog_front.jpg").write_bytes(b"dog")
    second = call(folder, "-o", output, "--data", tmp_path / "data")
    assert sorted(engine.asked) == [("cat", 1), ("dog", 1)], "a damaged photograph stays damaged"
    assert second.exit_code == 1
    assert "2 of 4 pins were already analysed." in second.stderr
    assert rows(output)["cat"]["verdict"] == rows(output)["dog"]["verdict"] == "authentic"
    assert all((output / "results.jsonl").read_text().splitlines()), "no empty lines"

    engine.asked.clear()
    (folder / "ant_front.jpg").write_bytes(b"ant, photographed again")
    third = call(folder, "-o", output, "--data", tmp_path / "data")
    assert (engine.asked, third.exit_code) == ([("ant", 1)], 0)
    assert set(rows(output)) == {"ant", "bee", "cat", "dog"}


def test_a_pin_whose_file_failed_is_analysed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, output = Engine(monkeypatch), tmp_path / "out"
    engine.failing["cat"] = OSError(5, "Input/output error")
    first = call(folder, "-o", output, "--data", tmp_path / "data")
    assert first.exit_code == 1, first.output
    assert rows(output)["cat"]["error"] == "cat: Input/output error"
    text = (output / "results.jsonl").read_text().replace('"errorCode": "processing_error"', '"a": 1')
    (output / "results.jsonl").write_text(text)  # as release 0.1.0 wrote it
    engine.asked.clear()
    engine.failing.clear()
    second = call(folder, "-o", output, "--data", tmp_path / "data")
    assert (engine.asked, second.exit_code) == ([("cat", 1)], 0)


def test_a_server_that_went_away_ends_the_run_with_the_answers_so_far(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, output = Engine(monkeypatch), tmp_path / "out"
    engine.failing["cat"] = NetworkError("no connection for 30 s")
    first = call(folder, "-o", output, "--data", tmp_path / "data")
    assert first.exit_code == 1, first.output
    assert "no connection for 30 s" in first.stderr
    assert "cat" not in rows(output)
    engine.asked.clear()
    engine.failing.clear()
    assert call(folder, "-o", output, "--data", tmp_path / "data").exit_code == 0
    assert ("cat", 1) in engine.asked
    assert set(rows(output)) == {"ant", "bee", "cat"}


def test_a_refused_key_ends_the_run_and_leaves_all_pins_to_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, output = Engine(monkeypatch), tmp_path / "out"
    engine.failing = dict.fromkeys(
        ("ant", "bee", "cat"), PinactorsError(ErrorCode.UNAUTHORIZED, "Unauthorized", "Send a valid key")
    )
    server = ("--server", "http://127.0.0.1:9")
    first = call(folder, "-o", output, *server)
    assert (first.exit_code, rows(output)) == (1, {})
    assert first.stderr.count("Unauthorized: Send a valid key; --key or PINACTORS_KEY names it") == 1
    assert "3 of 3 pins were not analysed; the same command continues" in first.stderr
    with (output / "results.jsonl").open("a") as file:  # as an earlier release wrote it
        for one in photo_sets.of_folder(folder)[0]:
            answer = {"success": False, "errorCode": "unauthorized"}
            file.write(
                json.dumps({"name": one.name, "fingerprint": one.fingerprint, "answer": answer}) + "\n"
            )
    engine.failing = {}
    second = call(folder, "-o", output, *server)
    assert second.exit_code == 0, second.output
    assert {name: row["verdict"] for name, row in rows(output).items()} == dict.fromkeys(
        ("ant", "bee", "cat"), "authentic"
    )


def test_ctrl_c_says_how_many_pins_are_left_and_how_to_continue(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, output = Engine(monkeypatch), tmp_path / "out"
    engine.interrupted_by = "cat"
    first = call(folder, "-o", output, "--data", tmp_path / "data")
    assert first.exit_code == interruptible.INTERRUPTED, first.output
    assert "analysing 0/3" in first.stderr
    left = 3 - len(rows(output))
    assert left >= 1
    assert f"{left} of 3 pins were not analysed; the same command continues" in first.stderr


def test_progress_is_shown_while_the_workers_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def starting(*_: object) -> AsyncIterator[tuple[Any, int]]:
        raise OSError(12, "Cannot allocate memory")
        yield

    monkeypatch.setattr(batch, "_analysis_function", starting)
    result = call(folder, "-o", tmp_path / "out", "--data", tmp_path / "data")
    assert result.stderr.splitlines()[-2:] == ["analysing 0/3", "pinactors: Cannot allocate memory"]


def test_an_assumption_about_the_table_is_no_failure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Engine(monkeypatch)
    (folder / "list.csv").write_bytes("front,name\nant_front.jpg,Café\n".encode("windows-1252"))
    result = call(folder / "list.csv", "-o", tmp_path / "out", "--data", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "list.csv:2: not UTF-8" in result.stderr
    assert "left out" not in result.stderr


def test_what_fails_alike_for_all_pins_is_one_line(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}_front.jpg").write_bytes(b"\xff\xd8\xff")
    result = call(tmp_path, "--server", "http://127.0.0.1:99999", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert result.stderr.splitlines()[-1].startswith("pinactors: http://127.0.0.1:99999: ")


def test_a_folder_without_photographs_says_so(tmp_path: Path) -> None:
    result = call(tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path}: this is a folder without photographs" in result.stderr


def test_options_of_one_pin_do_not_fit(folder: Path) -> None:
    assert call(folder, "--json").exit_code == 2


def test_with_real_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINACTORS_WORKERS", "1")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "fox_front.jpg").write_bytes(photograph(DESIGNS[0], View.FRONT, seed=2))
    (tmp_path / "shop" / "torn_front.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    result = call(tmp_path / "shop", "-o", tmp_path / "out", "--data", tmp_path / "data")
    assert result.exit_code == 1, result.output
    told = rows(tmp_path / "out")
    assert told["fox"]["verdict"] == "undetermined"
    assert "damaged" in told["torn"]["error"]
    lines = [line for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines() if line]
    assert {json.loads(line)["name"] for line in lines} == {"fox", "torn"}
