"""README and pages agree with the code: each setting, command, dependency and promise is compared with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from benchmarks.__main__ import app as benchmarks
from pinactors import protocol
from pinactors.api.admin.imports import MAX_OPEN
from pinactors.api.errors import STATUS
from pinactors.api.http.calls import INBOX_EVENTS
from pinactors.api.uploads.resumable.upload import LEAD_BYTES
from pinactors.catalog.importing.rows import OUTLINE_COLUMNS, PIN_COLUMNS, RATE_COLUMNS, SALE_COLUMNS
from pinactors.cli import app
from pinactors.cli.terminal import OTHER_VARIABLES
from pinactors.pipeline.session import OTHER_MESSAGES
from pinactors.protocol import AnyPacket, ErrorCode
from pinactors.settings import Settings
from pinactors.simulation import profiles
from tests.deploy.test_files import known_metrics

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = "\n".join(page.read_text("utf-8") for page in PAGES)
"""The README and all pages as one text."""

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
        return ""  # the value differs between machines

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


CODE = re.compile(r"`[^`\n]+`|^```(?:sh|toml|yaml)?\n.*?^```$", re.MULTILINE | re.DOTALL)


def used_commands(page: Path, program: str) -> Iterator[tuple[list[str], list[str]]]:
    """The commands on a page: for each, the words after `program`, and the options among them."""
    for code in CODE.findall(page.read_text("utf-8")):
        for line in re.findall(rf"(?:^|[\s/`]){program} ([a-z][^\n`|;#&]*)", code.replace("\\\n", " ")):
            words = line.split()
            yield words, [word.split("=", 1)[0] for word in words if word.startswith("-")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_used_exists_with_its_options(page: Path) -> None:
    uses = [(app, use) for use in used_commands(page, "pinactors")]
    uses += [(benchmarks, use) for use in used_commands(page, "python -m benchmarks")]
    for program, (words, options) in uses:
        command: Any = typer.main.get_command(program)
        assert words[0] in command.commands, words
        for word in words:
            if word not in getattr(command, "commands", {}):
                break
            command = command.commands[word]
        both = [option for each in command.params for option in (*each.opts, *each.secondary_opts)]
        assert set(options) <= {*both, "--help"}, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"PINACTORS_([A-Z_]+[A-Z])", page.read_text("utf-8")))
    clients = {name.removeprefix("PINACTORS_") for name in OTHER_VARIABLES}
    assert named <= {name.upper() for name in Settings.model_fields} | clients


def test_every_variable_of_an_option_is_named() -> None:
    commands: list[Any] = [typer.main.get_command(app)]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        for option in command.params:
            assert not option.envvar or f"`{option.envvar}`" in section("Commands"), command.name


def table(title: str) -> list[list[str]]:
    """The rows of a section's table without its head, each as a list of cells."""
    rows = [line for line in section(title).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_metric_has_a_row_and_every_alarm_a_metric() -> None:
    named = {name for row in table("Metrics and what they mean") for name in re.findall(r"`(\w+)`", row[0])}
    # Counters and histograms have several names, but one row.
    families = {re.sub(r"_(total|created|bucket|count|sum|info)$", "", name) for name in known_metrics()}
    assert {name.removesuffix("_total").removesuffix("_info") for name in named} == families
    assert named <= known_metrics() | {"up"}
    rules = yaml.safe_load((ROOT / "docs" / "deploy" / "monitoring" / "alerts.yml").read_text("utf-8"))
    alarms = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    told = {row[3].strip("`"): row[0] for row in table("Metrics and what they mean") if row[3]}
    assert told.keys() == alarms.keys()
    for alarm, metrics in told.items():
        assert any(name in alarms[alarm] for name in re.findall(r"`(\w+)`", metrics)), alarm


def test_every_error_code_has_a_row_with_its_status() -> None:
    assert {row[0].strip("`"): int(row[1]) for row in table("Errors")} == STATUS


def test_the_channels_have_the_capacity_that_is_told() -> None:
    rows = {row[0]: row[2] for row in table("Channels, and what bounds them") if len(row) == 4}
    assert rows["every actor → packet assembly"] == f"one result a component + {OTHER_MESSAGES}"
    assert rows["connection → request"] == str(INBOX_EVENTS)
    assert rows["`/admin` → imports"].startswith(f"{MAX_OPEN},")
    assert f"| {LEAD_BYTES >> 20} MB:" in section("Channels, and what bounds them")


def test_every_room_is_on_the_architectures_page() -> None:
    page = section("Rooms")
    for tree in ("pinactors", "api"):
        for folder in (ROOT / tree).iterdir():
            if (folder / "__init__.py").is_file() and not folder.is_symlink():
                name = folder.name if tree == "api" else f"pinactors/{folder.name}"
                assert f"`{name}`" in page, name


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


def test_the_import_folders_columns_are_those_that_are_read() -> None:
    told = {row[0].strip("`"): re.findall(r"`([a-z_]+)`", row[1]) for row in table("A catalogue of your own")}
    assert told == {
        "pins.csv": [*PIN_COLUMNS, *OUTLINE_COLUMNS],
        "sales.csv": list(SALE_COLUMNS),
        "fx.csv": list(RATE_COLUMNS),
    }


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the server make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_heading_find_it(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:|/)([^)#]*)#([^)]+)\)", page.read_text("utf-8")):
        assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


def test_the_two_commands_are_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "pinactors demo" in README
    assert "-m pytest" in README
    assert 'pinactors" demo --once' in script
    assert "run pytest" in script
    assert "[test" in script
    assert PROJECT["scripts"]["pinactors"] == "pinactors.__main__:main"
    assert PROJECT["requires-python"] == ">=3.11"
