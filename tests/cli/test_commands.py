"""Tests of the commands: output, messages, exit statuses. Servers run in separate processes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import peewee
import pytest
import typer

from pinactors import __version__
from pinactors.cli import COMMANDS, app, main, terminal
from pinactors.components import declare
from pinactors.settings import Settings, load
from tests.cli.samples import call, process

NAME_TOO_LONG = "x" * 300


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


def test_the_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.output) == (0, f"pinactors {__version__}\n")


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


@pytest.mark.parametrize(
    "command", [["records", "list"], ["records", "erase", "--record", "1"], ["keys", "list"]], ids=" ".join
)
def test_a_data_folder_that_does_not_exist_is_said_and_not_made(tmp_path: Path, command: list[str]) -> None:
    result = call(*command, "--data", str(tmp_path / "typo"))
    assert result.exit_code == 1
    assert "there is no data folder" in result.stderr
    assert list(tmp_path.iterdir()) == []
