"""README and pages say what is: every setting, command, dependency and promise is held against the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from pinactors import protocol
from pinactors.cli import app
from pinactors.protocol import AnyPacket, ErrorCode
from pinactors.settings import Settings
from pinactors.simulation import profiles

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = "\n".join(page.read_text("utf-8") for page in PAGES)
"""README and every page, as one text."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0].split("\n# ", 1)[0]


def settings_rows() -> list[str]:
    defaults = Settings()
    return [
        f"| `PINACTORS_{name.upper()}` | {_shown(getattr(defaults, name))} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


def _shown(value: object) -> str:
    if isinstance(value, Path):
        return ""  # another one on every machine

    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`" if value not in ("", None) else ""


def test_the_settings_table_is_complete_and_true() -> None:
    documented = [line for line in section("Settings").splitlines() if line.startswith("| `PINACTORS_")]
    assert documented == settings_rows(), "\n".join(["the table should read:", *settings_rows()])


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description[0].isupper(), name


def test_every_command_is_listed() -> None:
    command = typer.main.get_command(app)
    listed = section("Commands")
    for name, below in command.commands.items():  # type: ignore[attr-defined]
        assert f"`pinactors {name}" in listed
        for inner in getattr(below, "commands", {}):
            assert inner in listed.split(f"`pinactors {name} ", 1)[1].split("\n", 1)[0], f"{name} {inner}"


def test_every_dependency_earns_its_line() -> None:
    declared = {re.split(r"[<>=\[ ]", requirement)[0] for requirement in PROJECT["dependencies"]}
    rows = [line for line in section("Dependencies").splitlines() if line.startswith("| ")][1:]
    explained = {name.strip() for row in rows for name in row.split("|")[1].split(",")}
    assert explained == declared


def test_the_fallback_table_names_real_notes_settings_and_figures() -> None:
    table = section("When something fails")
    for note in (protocol.BASIC_NOTE, protocol.TIMEOUT_NOTE, protocol.AUTHENTICITY_FAILED):
        assert f"`{note}`" in table
    assert f"{protocol.DEADLINE_SECONDS:g} s after work began" in table
    assert f"nothing to send for {protocol.KEEPALIVE_SECONDS:g} s" in table
    named = set(re.findall(r"`([a-z_]+)`", table))
    known = set(Settings.model_fields) | {"degraded", "missing", "not_a_pin"} | set(ErrorCode)
    assert named <= known, named - known


def test_packets_and_limits_are_those_of_the_protocol() -> None:
    text = section("The protocol by example")
    for packet in AnyPacket.__args__:
        assert str(packet.__struct_config__.tag) in text
    assert f"{protocol.PACKET_LIMIT:,} bytes" in text


def test_no_error_code_is_invented() -> None:
    for code in re.findall(r"errorCode[\"`: ]+([a-z_]+)", README):
        assert code in set(ErrorCode)


def test_links_of_the_demonstration_are_those_there_are() -> None:
    text = section("Try it")
    for name in profiles.NAMES:
        assert f"`{name}`" in text or f"--link {name}" in text or name.upper() in text


@pytest.mark.parametrize("path", re.findall(r"^\| `((?:pinactors|api)[a-z/]*)` \|", README, re.MULTILINE))
def test_rooms_exist(path: str) -> None:
    assert (ROOT / path).is_dir()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|/)([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_two_commands_are_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "pinactors demo" in README
    assert "-m pytest" in README
    assert 'pinactors" demo --once' in script
    assert "run pytest" in script
    assert "[test" in script
    assert PROJECT["scripts"]["pinactors"] == "pinactors.__main__:main"
    assert PROJECT["requires-python"] == ">=3.11"
