"""The folder to copy is true: every setting, command, metric and file in it exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import prometheus_client
import pytest
import typer.main
import yaml

from pinactors.api.proxy.masters.fleet import Master
from pinactors.api.proxy.metrics import Metrics as ProxyMetrics
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
    """Names as Prometheus stores them, of a master and of a proxy."""
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
