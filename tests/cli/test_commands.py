"""Tests of the commands: output, messages, exit statuses. Servers run in separate processes."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import peewee
import pillow_heif
import pytest
import typer
from PIL import Image

from pinactors import __version__
from pinactors.catalog.demo import DESIGNS, draw_demo, photograph
from pinactors.catalog.importing.importer import exclusive
from pinactors.cli import COMMANDS, app, main, terminal
from pinactors.components import declare
from pinactors.protocol import View
from pinactors.settings import Settings, load
from tests.cli.samples import call

NAME_TOO_LONG = "x" * 300


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test in an empty folder without the developer's PINACTORS_ variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PINACTORS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_demo(folder, dt.date(2025, 6, 30), designs=DESIGNS[:3])
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[View, Path]:
    folder = tmp_path_factory.mktemp("photographs")
    paths = {view: folder / f"{view}.jpg" for view in (View.FRONT, View.BACK)}
    for view, path in paths.items():
        path.write_bytes(photograph(DESIGNS[0], view, seed=2))
    return paths


@pytest.mark.parametrize(
    "command",
    [[], ["serve"], ["demo"], ["analyze"], ["catalog"], ["catalog", "import"], ["keys"]],
    ids=" ".join,
)
def test_help_teaches(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert len(result.output) > 200


def test_each_commands_line_of_help_is_the_one_of_the_whole_help() -> None:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        line = COMMANDS[name][1]
        assert command.name == name
        if hasattr(command, "commands"):
            assert command.help.startswith(line), name
        assert line in call("--help").output


def test_the_help_imports_no_command() -> None:
    """Each of these packages takes a tenth of a second and more."""
    program = (
        "import sys; from typer.testing import CliRunner; from pinactors.cli import app; "
        "CliRunner().invoke(app, ['--help']); print({'cv2', 'numpy', 'peewee', 'quart'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout == "set()\n"


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("PINACTORS_PORT", "abc", "port"),
        ("PINACTORS_DEADLINE", "-1", "deadline"),
        ("PINACTORS_LOG_FORMAT", "x", "log_format"),
        ("PINACTORS_RETENTION_RECORDS", "999999", "retention_records"),
        ("PINACTORS_REPLAY", "inf", "replay"),
    ],
)
def test_a_bad_variable_is_named(
    variable: str, value: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    result = call("serve")
    assert result.exit_code == 2
    assert f"bad setting {named} ({variable})" in result.stderr
    assert value in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--port", "99999"], "bad setting port (--port):"),
        (["serve", "--set", "deadline=-1"], "bad setting deadline (--set deadline=…):"),
        (["serve", "--set", "deadlin=3"], "expected NAME=VALUE"),
        (["serve", "--set", "deadline"], "expected NAME=VALUE"),
        (["serve", "--set", "deadline=soon"], "bad setting deadline"),
        (["demo", "--link", "6g"], "expected one of gprs"),
        (["demo", "--pin", "P00001"], "expected one of DEMO-01"),
        (["demo", "--trace", "none.up", "none.down"], "none.up"),
        (["analyze", "nothing.jpg"], "front photograph nothing.jpg: no such file"),
        (["analyze", "front.jpg", "--back", "."], "back photograph .: this is a folder"),
        (["catalog", "export", "."], "not an empty folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_caller_can_mend_is_status_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "front.jpg").write_bytes(b"\xff\xd8\xff")
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "command",
    [
        ["analyze", NAME_TOO_LONG],
        ["keys", "list", "--data", NAME_TOO_LONG],
        ["catalog", "export", NAME_TOO_LONG],
        ["records", "export", NAME_TOO_LONG],
        ["demo", "--once", "--data", "file"],
    ],
    ids=lambda command: command[0],
)
def test_a_path_that_cannot_be_used_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PINACTORS_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pinactors", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pinactors: ")
    assert ("File name too long" in line) is (NAME_TOO_LONG in command)


@pytest.mark.parametrize("key", ["äö€", "a\nb", "\x7f"])
def test_a_key_that_no_header_can_contain_is_refused_by_its_option(key: str, tmp_path: Path) -> None:
    (tmp_path / "front.jpg").write_bytes(b"\xff\xd8\xff")
    result = call("analyze", "front.jpg", "--server", "http://127.0.0.1:9", "--key", key)
    assert result.exit_code == 2
    assert "--key" in result.stderr
    assert key not in result.output


def test_a_secret_that_cannot_sign_is_refused_and_not_printed() -> None:
    result = call("serve", "--set", "webhook_secret=topsecret")
    assert result.exit_code == 2
    assert "bad setting webhook_secret" in result.stderr
    assert "topsecret" not in result.output
    for usable in ("", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
        assert Settings(webhook_secret=usable).webhook_secret == usable


def test_seconds_that_are_no_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "front.jpg").write_bytes(b"\xff\xd8\xff")
    result = call("analyze", "front.jpg", "--server", "http://127.0.0.1:9", "--unreachable-seconds", "nan")
    assert result.exit_code == 2
    assert "--unreachable-seconds" in result.stderr


def test_an_empty_variable_counts_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("PINACTORS_DATA", "")
    monkeypatch.setenv("PINACTORS_PORT", "")
    assert load() == Settings(data=tmp_path / "share" / "pinactors")


def test_a_board_is_searched_in_a_catalogue(
    drawn: Path, tmp_path: Path, photographs: dict[View, Path]
) -> None:
    empty = call("analyze", photographs[View.FRONT], "--board", "--data", tmp_path / "none")
    assert empty.exit_code == 0
    assert "contains no catalogue" in empty.stderr
    assert call("analyze", drawn, "--board").exit_code == 2

    assert call("catalog", "import", drawn, "--data", tmp_path / "data").exit_code == 0
    heic = tmp_path / "front.heic"
    with Image.open(photographs[View.FRONT]) as picture:
        half = picture.reduce(2)
        pillow_heif.from_pillow(half).save(heic, quality=95)
    found = json.loads(call("analyze", heic, "--board", "--json", "--data", tmp_path / "data").stdout)
    assert found[0]["pinId"] == DESIGNS[0].pin_id
    left, top, right, bottom = found[0]["box"]
    assert 0 <= left < right <= half.width + 1
    assert 0 <= top < bottom <= half.height + 1


OTHER_VALUES = {
    "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "tracing_url": "http://127.0.0.1:4318",
    "storage": "s3://bucket/pins",
    "vision_url": "http://127.0.0.1:8000/v1",
    "compute": "ray://host:10001",
    "catalog_version": "latest",
    "host": "0.0.0.0",
    "database_url": "sqlite:///x",
    "data": "elsewhere",
    "disconnect": "cancel",
}
OTHER_VALUES |= {"informational_responses": "False", "require_keys": "True", "webhook_private": "True"}
OTHER_VALUES |= {"log_format": "json", "log_level": "error", "calibration": "weights.json"}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_by_variable_and_by_flag_and_the_flag_wins(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, default = OTHER_VALUES.get(name, "7"), getattr(Settings(), name)
    monkeypatch.setenv(f"PINACTORS_{name.upper()}", value)
    assert str(getattr(terminal.settings(), name)) in (value, f"{value}.0")
    assert value != str(default)
    assert getattr(terminal.settings([f"{name}={default}"]), name) == default


def test_the_data_folder_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    assert "the data folder is" not in call("keys", "add", "a shop").stderr
    monkeypatch.chdir(second)
    assert "a shop" in call("keys", "list").stdout
    assert (tmp_path / "home" / "pinactors" / "pinactors.db").is_file()
    assert list(first.iterdir()) == list(second.iterdir()) == []


def test_the_data_folder_of_the_first_release_is_used_where_it_is_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "pinactors-data"
    old.mkdir()
    terminal._print_once.cache_clear()
    added = call("keys", "add", "a shop")
    assert f"the data folder is {old}" in added.stderr
    assert (old / "pinactors.db").is_file()
    terminal._print_once.cache_clear()
    monkeypatch.setenv("PINACTORS_DATA", "pinactors-data")
    assert call("keys", "list").stderr == "", "it was named"


def test_a_key_is_known_of_even_when_its_database_is_lost_before_a_server_starts(tmp_path: Path) -> None:
    call("keys", "add", "the shop", "--data", tmp_path)
    assert Settings(data=tmp_path).had_keys_file.exists()


def test_keys_are_added_listed_and_revoked(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    token = call("keys", "add", "the shop", *data).stdout.strip()
    assert token.startswith("pin_")
    assert len(token) > 40
    listed = call("keys", "list", *data).stdout
    assert "the shop" in listed
    assert "admin" not in listed
    assert token not in listed, "a key is shown once"
    assert call("keys", "revoke", "1", *data).exit_code == 0
    again = call("keys", "revoke", "1", *data)
    assert again.exit_code == 1
    assert "no active key 1" in again.stderr
    call("keys", "add", "counter", "--admin", *data)
    assert "admin" in call("keys", "list", *data).stdout


@pytest.mark.parametrize("command", ["revoke", "webhook"])
def test_a_number_that_no_key_can_have_is_a_mistake_of_the_call(command: str, tmp_path: Path) -> None:
    call("keys", "add", "shop", "--data", tmp_path)
    for number in ("0", "99999999999999999999"):
        result = call("keys", command, number, "--data", tmp_path)
        assert result.exit_code == 2
        assert "is not in the range" in result.stderr


def test_a_keys_webhook_is_checked_shown_and_changed(tmp_path: Path) -> None:
    data, url = ("--data", tmp_path / "data"), "https://example.com/events"
    token, secret = call("keys", "add", "shop", "--webhook", url, *data).stdout.split()
    assert token.startswith("pin_")
    assert secret.startswith("whsec_")
    assert url in call("keys", "list", *data).stdout
    assert call("keys", "webhook", "1", *data).stdout.strip() == secret
    assert call("keys", "webhook", "1", "https://example.org/", *data).stdout.strip() == secret
    assert "https://example.org/" in call("keys", "list", *data).stdout
    assert call("keys", "webhook", "1", "", *data).exit_code == 0
    assert "https://" not in call("keys", "list", *data).stdout
    for refused in (("keys", "add", "x", "--webhook", "http://example.com"), ("keys", "webhook", "1", "x")):
        result = call(*refused, *data)
        assert result.exit_code == 1
        assert "https" in result.stderr
    assert "no active key 7" in call("keys", "webhook", "7", *data).stderr


def test_a_key_needs_a_name_that_can_be_read(tmp_path: Path) -> None:
    result = call("keys", "add", "\x1b[2J", "--data", tmp_path)
    assert result.exit_code == 1
    assert "printable" in result.stderr


@pytest.mark.parametrize("name", ["", "  ", "\x1b[2J"])
def test_a_refused_name_begins_no_data_folder(name: str, tmp_path: Path) -> None:
    assert call("keys", "add", name, "--data", tmp_path / "data").exit_code == 1
    assert not (tmp_path / "data").exists()


def test_a_catalogue_goes_in_is_shown_and_comes_out(drawn: Path, tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    result = call("catalog", "import", drawn, *data)
    assert result.exit_code == 0, result.output
    assert "3 pins added" in result.stdout
    assert "importing 3/3" in result.stderr, "a log has lines where a terminal has a bar"
    assert "3 unchanged" in call("catalog", "import", drawn, *data).stdout

    listed = call("catalog", "list", *data)
    assert all(design.name in listed.stdout for design in DESIGNS[:3])
    assert "demonstration" in listed.stderr
    found = call("catalog", "list", "Gustav", *data).stdout
    assert "DEMO-02" in found
    assert "DEMO-01" not in found
    first = call("catalog", "list", "--limit", "1", *data)
    assert "DEMO-02" not in first.stdout
    assert "--offset 1" in first.stderr

    shown = call("catalog", "show", "DEMO-01", *data).stdout
    assert "Marlo the Fox" in shown
    assert "FAC-071204-19122" in shown
    assert "USD" in shown
    missing = call("catalog", "show", "DEMO-99", *data)
    assert missing.exit_code == 1
    assert "there is no pin DEMO-99" in missing.stderr
    assert f"`{terminal.command('catalog', 'list', *data)}` shows them" in missing.stderr, "of that folder"

    assert "pins" in call("catalog", "stats", *data).stdout
    assert call("catalog", "export", tmp_path / "out", *data).exit_code == 0
    assert (tmp_path / "out" / "DEMONSTRATION").exists()
    assert "3 pins added" in call("catalog", "import", tmp_path / "out", "--data", tmp_path / "second").stdout


def test_a_catalogue_is_published_but_not_during_an_import(drawn: Path, tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    assert call("catalog", "import", drawn, *data).exit_code == 0
    published = call("catalog", "publish", *data)
    assert published.exit_code == 0, published.output
    assert "which is the latest version now" in published.stdout
    with exclusive(Settings(data=tmp_path / "data").catalog_folder):
        refused = call("catalog", "publish", *data)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "is being imported or published: try again when that has ended" in refused.stderr


def test_stats_name_the_pins_whose_back_is_missing(drawn: Path, tmp_path: Path) -> None:
    source = shutil.copytree(drawn, tmp_path / "source")
    text = (source / "pins.csv").read_text("utf-8").replace("images/DEMO-02_back.jpg", "")
    assert text != (source / "pins.csv").read_text("utf-8")
    (source / "pins.csv").write_text(text, "utf-8")
    data = ("--data", tmp_path / "data")
    assert call("catalog", "import", source, *data).exit_code == 0
    said = call("catalog", "stats", *data).stdout
    assert "1 pins have no back picture" in said
    assert "to make verdicts more often possible for DEMO-02." in said


def test_bad_rows_are_told_with_their_line_and_make_the_status_1(drawn: Path, tmp_path: Path) -> None:
    text = (drawn / "pins.csv").read_text()
    source = tmp_path / "source"
    shutil.copytree(drawn / "images", source / "images")
    (source / "pins.csv").write_text(text.replace("DEMO-02_front.jpg", "gone.jpg"))
    result = call("catalog", "import", source, "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "pins.csv:3" in result.stderr
    assert "2 pins added" in result.stdout


def test_replaced_sales_and_currencies_without_a_rate_are_told(drawn: Path, tmp_path: Path) -> None:
    source = shutil.copytree(drawn, tmp_path / "source")
    data = ("--data", tmp_path / "data")
    assert "replaced" not in call("catalog", "import", source, *data).stdout
    sale = "DEMO-01,2025-06-01,5,{},mint,shop\n"
    header = "pin_id,sold_at,price,currency,condition,source\n"
    (source / "sales.csv").write_text(header + sale.format("USD") + sale.format("SEK"))
    assert re.search(r"\d+ earlier sales of 1 pins replaced", call("catalog", "import", source, *data).stdout)
    assert "SEK (no rate) 1" in call("catalog", "stats", *data).stdout


def test_an_import_of_nothing_says_so(tmp_path: Path) -> None:
    result = call("catalog", "import", tmp_path / "absent")
    assert result.exit_code == 1
    assert "pins.csv" in result.stderr


def test_an_empty_catalogue_says_how_to_fill_it(tmp_path: Path) -> None:
    result = call("catalog", "list", "--data", tmp_path / "data")
    assert result.exit_code == 0
    assert "catalog import" in result.stderr


def test_the_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.output) == (0, f"pinactors {__version__}\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"hello", "not a photograph we can read"), (b"GIF89a", "a GIF picture"), (b"", "the file is empty")],
)
def test_a_file_that_is_no_photograph_is_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(content)
    result = call("analyze", "notes.txt", "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("pinactors: front photograph notes.txt: ")
    assert said in line


def test_a_pipe_is_no_photograph(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    result = call("analyze", "pipe.jpg", "--data", tmp_path / "data")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "front photograph pipe.jpg: this is not a regular file" in result.stderr


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (["serve"], ["proxy", "--master", "http://127.0.0.1:9"]):
            result = call(*command, "--port", port, "--data", tmp_path / "data")
            assert result.exit_code == 1
            assert f"cannot serve: 127.0.0.1:{port} is taken: another program listens there" in result.stderr


@pytest.mark.parametrize(
    "command", [["serve"], ["proxy", "--master", "http://127.0.0.1:9"], ["keys", "add", "a"]], ids=" ".join
)
def test_a_data_folder_that_cannot_be_written_is_named(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call(*command, "--data", tmp_path / "file" / "data")
    assert result.exit_code == 1
    assert f"the data folder {tmp_path / 'file' / 'data'} cannot be written: Not a directory" in result.stderr


@pytest.mark.parametrize(
    "master",
    [
        *("nonsense", "ftp://host", "http://", "http://host:x", "http://host:99999", "http://[::1"),
        *("http://a..b:8080", f"http://{'a' * 64}:8080"),
    ],
)
def test_a_master_that_is_no_address_is_named(master: str, tmp_path: Path) -> None:
    result = call("proxy", "--master", master, "--data", tmp_path / "data", "--port", "0")
    assert result.exit_code == 1
    assert "cannot serve: " in result.stderr
    assert master in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("master", "said"),
    [
        ("http://user:a-word@host:1", "'http://***@host:1' (a URL without user and password"),
        ("http://user@host;weight=2", "'http://***@host;weight=2' (a URL without user and password"),
        ("user:a-word@host:1", "'***@host:1' (a URL without user and password"),
        ("https://host/pinactors", "'https://host/pinactors' (a URL without a path"),
        ("http://host:1/api/;weight=2", "'http://host:1/api/;weight=2' (a URL without a path"),
        ("http://host?key=1", "'http://host?key=1' (a URL without a path"),
        ("http://host/#top", "'http://host/#top' (a URL without a path"),
    ],
)
def test_a_master_with_what_would_be_ignored_is_named(master: str, said: str, tmp_path: Path) -> None:
    """The message does not repeat a password, because messages at start are kept in logs."""
    result = call("proxy", "--master", master, "--data", tmp_path / "data", "--port", "0")
    assert result.exit_code == 1
    assert f"cannot serve: not a master: {said}" in " ".join(result.stderr.split())
    assert "a-word" not in result.output + result.stderr


def test_a_hint_works_as_printed(tmp_path: Path) -> None:
    """The printed command has the program's path and the data folder that was given."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    missing = call("keys", "revoke", "7", "--data", folder)
    assert missing.exit_code == 1
    hint = missing.stderr.partition("`")[2].partition("`")[0]
    assert shlex.split(hint)[-4:] == ["keys", "list", "--data", str(folder)]
    assert subprocess.run(hint, shell=True, capture_output=True, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("content", [b"hello", b"\xff\xfe", b"[]", b"{}", b'{"rows": {"x": 1}}'])
def test_weights_that_are_none_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"calibration {tmp_path / 'weights.json'}: ")):
        declare(Settings(data=tmp_path, calibration=str(tmp_path / "weights.json")))


def test_a_database_without_its_driver_is_one_line_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise peewee.ImproperlyConfigured("no driver")

    monkeypatch.setattr(peewee.PostgresqlDatabase, "_connect", missing)
    url = "database_url=postgresql://someone:secret@127.0.0.1/x"
    result = call("serve", "--port", "0", "--data", tmp_path / "data", "--set", url)
    assert result.exit_code == 1
    assert "pip install 'pinactors[postgres]'" in result.stderr
    assert "secret" not in result.output
    assert "Traceback" not in result.output


def test_a_terminal_that_is_not_utf_8_gets_question_marks(tmp_path: Path, drawn: Path) -> None:
    data = tmp_path / "data"
    source = shutil.copytree(drawn, tmp_path / "source")
    text = (source / "pins.csv").read_text("utf-8").replace("Marlo the Fox", "Märlo 狐")
    (source / "pins.csv").write_text(text, "utf-8")
    assert call("catalog", "import", source, "--data", data).exit_code == 0
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        listing = process("catalog", "list", "--data", data, PYTHONCOERCECLOCALE="0", **environment)
        output, said = listing.communicate(timeout=120)
        assert listing.returncode == 0, said
        assert "M?rlo ?" in output


@pytest.mark.parametrize("name", ["pins.csv", "sales.csv"])
def test_the_demonstration_overwrites_no_other_catalogue(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("pin_id,name\n")
    result = call("catalog", "demo", tmp_path)
    assert result.exit_code == 2
    assert f"{tmp_path} has a {name} that is not the demonstration's" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "pin_id,name\n"


def test_a_name_with_square_brackets_and_colons_is_printed_as_it_is(tmp_path: Path, drawn: Path) -> None:
    data = tmp_path / "data"
    source = shutil.copytree(drawn, tmp_path / "source")
    text = (source / "pins.csv").read_text("utf-8").replace("Marlo the Fox", "Marlo [red]:fox:[/]", 1)
    (source / "pins.csv").write_text(text, "utf-8")
    assert call("catalog", "import", source, "--data", data).exit_code == 0
    listing = call("catalog", "list", "--data", data)
    assert listing.exit_code == 0
    assert "Marlo [red]:fox:[/]" in listing.stdout


def test_a_printed_command_works_where_the_shell_does_not_find_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = terminal.command("catalog", "list", "Marlo the Fox")
    assert shlex.split(line)[1:] == ["-m", "pinactors", "catalog", "list", "Marlo the Fox"]
    printed = subprocess.run(
        f"{terminal.command('--version')}",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert printed.stdout == f"pinactors {__version__}\n"


def process(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pinactors", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Iterator[str]:
    """The URL of a server with one worker. On Ctrl-C it must stop with status 0 and without a traceback."""
    data = tmp_path_factory.mktemp("data")
    assert call("catalog", "import", drawn, "--data", data).exit_code == 0
    server = process(
        "serve", "--data", data, PINACTORS_PORT="0", PINACTORS_WORKERS="1", PINACTORS_LOG_FORMAT="json"
    )
    assert server.stderr is not None
    try:
        while (line := json.loads(server.stderr.readline()))["event"] != "listening":
            assert line["level"] in ("info", "warning"), line
        yield f"http://127.0.0.1:{line['port']}"
        os.killpg(server.pid, signal.SIGINT)  # the whole group, as a terminal does
        _, said = server.communicate(timeout=120)
    finally:
        if server.poll() is None:
            server.kill()
            server.communicate()
    assert server.returncode == 0
    assert "Traceback" not in said
    assert json.loads(said.splitlines()[-1])["event"] == "stopped"


def test_analyze_by_a_server_as_json(served: str, photographs: dict[View, Path]) -> None:
    front, back = photographs[View.FRONT], photographs[View.BACK]
    result = call("analyze", front, "--back", back, "--server", served, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["success"] is True
    assert answer["complete"] is True
    assert answer["demonstration"] is True
    assert answer["candidates"][0]["pinId"] == "DEMO-01"
    assert answer["id"] == answer["recordNumber"]


def test_analyze_by_a_server_in_lines(served: str, photographs: dict[View, Path]) -> None:
    result = call("analyze", photographs[View.FRONT], "--server", served)
    assert result.exit_code == 0, result.output
    kinds = [line.split()[2] for line in result.stdout.splitlines() if " s  " in line[:14]]
    assert [kind for kind in kinds if kind != "upload"][:2] == [
        "CONNECTION_ESTABLISHED",
        "PROCESSING_STARTED",
    ]
    assert kinds[-1] == "ANALYSIS_COMPLETE"
    assert len(kinds) == len(set(kinds) - {"upload"}) + kinds.count("upload"), "each packet once"
    assert "demonstration" in result.stdout


def test_analyze_something_that_is_no_photograph(served: str, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a photograph at all")
    result = call("analyze", tmp_path / "notes.jpg", "--server", served)
    assert result.exit_code == 1
    assert "invalid_format" in result.output
    assert "Traceback" not in result.output


def test_analyze_by_a_server_that_is_not_there(photographs: dict[View, Path]) -> None:
    result = call(
        "analyze", photographs[View.FRONT], "--server", "http://127.0.0.1:9", "--unreachable-seconds", "1"
    )
    assert result.exit_code == 1
    assert "http://127.0.0.1:9" in result.stderr


def test_analyze_here_without_a_server(photographs: dict[View, Path], tmp_path: Path) -> None:
    """Real workers analyse with an empty catalogue: nothing is identified, and no data folder is created."""
    here = process(
        "analyze",
        photographs[View.FRONT],
        "--json",
        PINACTORS_DATA=str(tmp_path / "data"),
        PINACTORS_WORKERS="1",
    )
    output, said = here.communicate(timeout=120)
    assert here.returncode == 0, said
    assert f"{tmp_path / 'data' / 'catalog'} contains no catalogue: no pin can be identified." in said
    answer = json.loads(output)
    assert answer["success"] is True
    assert answer["candidates"] == []
    assert answer["estimate"] is None
    assert not (tmp_path / "data").exists()


def test_ctrl_c_ends_an_analysis_without_a_traceback(photographs: dict[View, Path], tmp_path: Path) -> None:
    """The analysis cannot end earlier: it waits for a vision server that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        here = process(
            "analyze",
            photographs[View.FRONT],
            PINACTORS_DATA=str(tmp_path / "data"),
            PINACTORS_WORKERS="1",
            PINACTORS_VISION_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
            PINACTORS_VISION_MODEL="silent",
            PINACTORS_VISION_SECONDS="600",
        )
        assert here.stdout is not None
        assert "CONNECTION_ESTABLISHED" in here.stdout.readline()
        os.killpg(here.pid, signal.SIGINT)
        _, said = here.communicate(timeout=120)
    assert here.returncode == 130
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "command", [["records", "list"], ["records", "erase", "--record", "1"], ["keys", "list"]], ids=" ".join
)
def test_a_data_folder_that_does_not_exist_is_said_and_not_made(tmp_path: Path, command: list[str]) -> None:
    result = call(*command, "--data", str(tmp_path / "typo"))
    assert result.exit_code == 1
    assert "there is no data folder" in result.stderr
    assert list(tmp_path.iterdir()) == []
