"""The wheel and the sdist: one importable name, each file that the program reads, the same version
everywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import prometheus_client
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

import pinactors
from pinactors.api.openapi import description
from pinactors.api.page.documents import PAGES
from pinactors.api.proxy.metrics import ProxyMetrics
from pinactors.cli import app
from pinactors.pipeline.metrics import Metrics

ROOT = Path(__file__).parents[1]


def build(source: Path, target: Path, kind: str) -> Path:
    """Builds the wheel or the sdist (`kind`) of a source tree, and returns its path."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        listed = archive.namelist()
    assert len(listed) == len(set(listed)), "a file is packed twice"
    return set(listed)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


def tracked(folder: str) -> set[str]:
    """The files below a folder of the source tree, without compiled bytecode."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def test_the_wheel_has_one_importable_name(wheel: Path) -> None:
    tops = {name.split("/", 1)[0] for name in names(wheel)}
    assert tops == {"pinactors", f"pinactors-{pinactors.__version__}.dist-info"}


def test_the_wheel_carries_every_file_of_the_program(wheel: Path) -> None:
    wanted = {name for name in tracked("pinactors") if not name.startswith("pinactors/api/")}
    wanted |= {f"pinactors/{name}" for name in tracked("api")}
    wanted |= {f"pinactors/pages/{name}" for name in PAGES.values() if not name.startswith("api/")}
    packed = names(wheel)
    assert wanted <= packed, wanted - packed
    for name in (
        "py.typed",
        "catalog/demo/pins.csv",
        "analysis/matching/vocabulary.npy",
        "analysis/evidence/weights.json",
        "analysis/report/templates/display.html",
        "api/page/templates/index.html",
        "api/page/static/fonts/OFL.txt",
        "api/page/client/pinactors.js",
    ):
        assert f"pinactors/{name}" in packed


def test_a_wheel_made_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    sdist = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    again = build(source, tmp_path / "wheel", "wheel")
    assert names(again) == names(wheel)


def test_metadata(wheel: Path) -> None:
    info = f"pinactors-{pinactors.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert metadata["Version"] == pinactors.__version__
    assert metadata["License-Expression"] == "Apache-2.0 AND OFL-1.1"
    licences = metadata.get_all("License-File") or []
    assert licences == ["LICENSE", "api/page/static/fonts/OFL.txt"]
    assert {f"{info}/licenses/{name}" for name in licences} <= names(wheel)
    classifiers = metadata.get_all("Classifier") or []
    assert "Typing :: Typed" in classifiers


def test_the_version_is_the_same_everywhere() -> None:
    version = pinactors.__version__
    assert CliRunner().invoke(app, ["--version"]).stdout == f"pinactors {version}\n"
    assert description("master")["info"]["version"] == version
    assert description("proxy")["info"]["version"] == version
    package = json.loads((ROOT / "api" / "page" / "client" / "package.json").read_text("utf-8"))
    assert package["version"] == version
    assert package["license"] == "Apache-2.0"
    for metrics in (Metrics, ProxyMetrics):
        registry = prometheus_client.CollectorRegistry()
        metrics(registry)
        text = prometheus_client.generate_latest(registry).decode()
        assert f'pinactors_build_info{{python="{sys.version.split()[0]}",version="{version}"}} 1.0' in text


def test_the_changelog_begins_with_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert changes.split("\n## ")[1].split()[0] == pinactors.__version__


def test_the_lock_file_satisfies_the_ranges() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    locked = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = (line for extra in ("postgres", "s3", "vision", "ray") for line in extras[extra])
    for line in [*project["dependencies"], *named]:
        requirement = Requirement(line)
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{line}, but {version} is locked"
    assert "http://" not in text
    assert "https://" not in text
    assert text.count("--hash=sha256:") >= len(locked)
