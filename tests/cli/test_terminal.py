"""Tests of what all commands use: text arguments, lists of problems, variables that are no setting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from pinactors.cli import terminal
from tests.cli.samples import call


@pytest.mark.parametrize("command", ["serve", "proxy"])
def test_variables_that_are_no_setting_are_named_with_what_was_meant(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PINACTORS_DEADLNE", "PINACTORS_XYZZY", "PINACTORS_KEY", "pinactors_replay"):
        monkeypatch.setenv(name, "3")
    (tmp_path / "file").touch()
    result = call(command, "--data", "file")
    assert result.stderr.startswith(
        "pinactors: variables that are not read: "
        "PINACTORS_DEADLNE (did you mean PINACTORS_DEADLINE?), PINACTORS_XYZZY\n"
    )


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["UTF-8", "C"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("catalog", "show"),
        ("catalog", "list"),
        ("records", "list", "--pin"),
        ("records", "list", "--key"),
        ("records", "erase", "--key"),
        ("keys", "add"),
    ],
    ids=" ".join,
)
def test_bytes_that_are_no_text_are_refused_and_others_are_read_in_any_locale(
    arguments: tuple[str, ...], locale: dict[str, str], tmp_path: Path
) -> None:
    command: list[str | bytes] = [sys.executable, "-m", "pinactors", *arguments]
    ended = subprocess.run([*command, b"P\xe9"], capture_output=True, text=True, env=os.environ | locale)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith(": it is not UTF-8 text")
    data = ("--data", str(tmp_path))
    read = subprocess.run([*command, "Pé", *data], capture_output=True, text=True, env=os.environ | locale)
    assert "Traceback" not in read.stderr
    assert read.returncode in (0, 1)
    assert "UTF-8" not in read.stderr


@pytest.mark.parametrize("on_terminal", [False, True])
def test_all_problems_are_told_where_no_terminal_would_be_filled(
    on_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal.errors, "_force_terminal", on_terminal)
    (tmp_path / "pins.csv").write_text("pin_id,name,front_image\n" + "A,Fox,gone.jpg\n" * 30)
    result = call("catalog", "import", tmp_path, "--data", tmp_path / "data")
    assert result.stderr.count("(left out)") == (terminal.PROBLEMS_SHOWN if on_terminal else 30)
    assert ("… and 10 more rows left out; 2> FILE lists all." in result.stderr) is on_terminal


TABLE = [
    ("1", "a-name-of-an-article-without-spaces-or-an-end", "Fox in the Garden, painted by hand"),
    ("2", "b", "Owl"),
]


@pytest.mark.parametrize("width", [30, 80])
def test_a_table_on_a_terminal_is_as_wide_as_it_and_loses_no_letter(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(width=width, force_terminal=True, soft_wrap=True, color_system=None)
    monkeypatch.setattr(terminal, "output", console)
    terminal.table("number", "name", "text", rows=TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= width
    letters = sorted("".join(lines).replace(" ", ""))
    for text in ("numbernametext", *("".join(row).replace(" ", "") for row in TABLE)):
        for letter in text:
            letters.remove(letter)


def test_a_table_elsewhere_has_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table("number", "name", "text", rows=TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert [tuple(line.rstrip().split(maxsplit=2)) for line in lines[1:]] == TABLE
    terminal.table("", "", rows=[("name", "Fox\x1b[2J"), ("year", "2019")], header=False)
    shown = capsys.readouterr().out
    assert "Fox�[2J" in shown
    assert len(shown.splitlines()) == 2


def test_a_database_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    address = f"database_url=sqlite:///{tmp_path}/absent/x.db"
    command = [sys.executable, "-m", "pinactors", "serve", "--port", "0", "--set", address]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"{tmp_path}/absent/x.db" in ended.stderr


@pytest.mark.parametrize("command", [("keys", "list"), ("records", "list"), ("serve", "--port", "0")])
def test_a_database_that_cannot_be_used_is_told_with_the_cause(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "pinactors.db").write_bytes(b"this is no database" * 100)
    result = call(*command, "--data", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith(": file is not a database")
