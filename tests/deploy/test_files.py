"""Tests of docs/deploy: every setting, command, flag, metric and file that it names exists."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import prometheus_client
import pytest
import typer.main
import yaml

from pinactors.api.proxy.masters.fleet import Master
from pinactors.api.proxy.metrics import ProxyMetrics
from pinactors.cli import app
from pinactors.pipeline.metrics import Metrics
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.webhooks.deliverer import Deliverer

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


def test_the_files_are_there() -> None:
    assert {"Dockerfile", "compose.yaml", "alerts.yml", "dashboard.json"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_exists(path: Path) -> None:
    named = set(re.findall(r"PINACTORS_([A-Z_]+[A-Z])", path.read_text("utf-8")))
    assert named <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_exists(path: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:bin/|`)pinactors ([a-z]+)", path.read_text("utf-8")))
    assert named <= set(commands)


def check_arguments(command: Any, arguments: list[str]) -> None:
    """Asserts that `command` (Click's) has every option, and that exactly those with a value are no flags."""
    flags = {flag: option for option in command.params for flag in option.opts}
    for argument in arguments:
        name, given, _ = argument.partition("=")
        if argument.startswith("-"):
            assert name in flags, f"{command.name} has no {name}"
            assert bool(given) != flags[name].is_flag, argument


def commands_in_use() -> list[list[str]]:
    """Program, command and arguments of each process that the compose file and the systemd units start."""
    found = [["pinactors", *each["command"]] for each in compose()["services"].values() if is_server(each)]
    found += [["ray", *each["command"]] for each in compose()["services"].values() if is_ray(each)]
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text("utf-8")
        (line,) = re.findall(r"^ExecStart=\S*/(.*)$", text, re.M)
        found.append([word for word in line.split() if word != "$RAY_START"])
        comment = text.replace("\n# ", " ")
        found += [["ray", "start", *words.split()] for words in re.findall(r"RAY_START=(--[^(),]*)", comment)]
    return found


def is_server(service: dict[str, Any]) -> bool:
    return bool(service["image"] == "pinactors" and "entrypoint" not in service)


def is_ray(service: dict[str, Any]) -> bool:
    return bool(service.get("entrypoint") == ["ray"])


def test_every_flag_exists() -> None:
    programs: dict[str, Any] = {"pinactors": typer.main.get_command(app)}
    used = commands_in_use()
    assert [each[:2] for each in used].count(["pinactors", "serve"]) == 4
    assert [each[:2] for each in used].count(["ray", "start"]) == 5
    with suppress(ImportError):
        programs["ray"] = importlib.import_module("ray.scripts.scripts").cli
    for program, command, *arguments in used:
        if program in programs:
            check_arguments(programs[program].commands[command], arguments)


def test_units_are_valid(tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts the units with /bin/true as their program."""
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd is not installed")
    units = []
    for unit in (DEPLOY / "systemd").iterdir():
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8"), flags=re.M)
        (tmp_path / unit.name).write_text(text)
        units.append(tmp_path / unit.name)
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_settings_in_the_compose_file_are_accepted() -> None:
    for service in compose()["services"].values():
        given = service.get("environment", {})
        values = {
            name.removeprefix("PINACTORS_").lower(): value
            for name, value in given.items()
            if name.startswith("PINACTORS_")
        }
        Settings(**values)


def test_our_containers_are_hardened() -> None:
    ours = [service for service in compose()["services"].values() if service["image"] == "pinactors"]
    assert len(ours) == 7
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["tmpfs"] == ["/tmp"]
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert "\nUSER pinactors\n" in dockerfile
    assert "\nHEALTHCHECK " in dockerfile
    assert dockerfile.count("\nFROM ") == 2


def test_what_the_compose_file_refers_to_is_there() -> None:
    loaded = compose()
    for service in loaded["services"].values():
        for other in service.get("depends_on", ()):
            assert other in loaded["services"]
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in loaded["volumes"]
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def known_metrics() -> set[str]:
    """The metric names of a master and of a proxy, as Prometheus stores them."""
    master, proxy = prometheus_client.CollectorRegistry(), prometheus_client.CollectorRegistry()
    metrics = Metrics(master)
    metrics.watch(lambda: {"compute": {}})
    Deliverer(cast(Records, None), Settings(), metrics.supervision, master)
    ProxyMetrics(proxy).watch([Master("http://127.0.0.1:1")], lambda: 0.0)
    return {"up", *master._names_to_collectors, *proxy._names_to_collectors}


def expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yml").read_text("utf-8"))
    dashboard = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text("utf-8"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_exists(expression: str) -> None:
    named = set(re.findall(r"\b(?:pinactors_\w+|up)\b", expression))
    assert named
    assert named <= known_metrics()
