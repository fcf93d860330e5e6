"""The built-in components have a basic analysis for the case that full analysis does not end in time, and
fetch the catalogue on any machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pinactors import components
from pinactors.catalog import snapshots
from pinactors.components import Context, declare
from pinactors.settings import Settings
from pinactors.storage.objects import open_objects

SLOW = {"match", "stamp", "angled_match"}
"""Steps that may not end before the deadline on a busy server, or if one of two nodes has died."""


def test_every_component_has_a_basic_analysis_without_the_slow_steps() -> None:
    analysis = declare(Settings())
    needs = {step.name: step.needs for step in analysis.shared_steps}

    def all_needs(names: tuple[str, ...]) -> set[str]:
        return set(names).union(*(all_needs(needs.get(name, ())) for name in names))

    assert len(analysis.components) == 5
    for component in analysis.components:
        assert component.basic is not None, component.name
        assert not all_needs(component.basic_needs) & SLOW, component.name


def test_another_machine_keeps_only_the_last_versions_of_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    storage = f"file:{tmp_path / 'storage'}"
    (tmp_path / "catalog").mkdir()
    for number in range(snapshots.KEPT_VERSIONS + 1):
        (tmp_path / "catalog" / "index").write_text(str(number))
        objects = open_objects(Settings(storage=storage))
        version = snapshots.publish(tmp_path / "catalog", objects, lambda done, total: None)
        context = Context(str(tmp_path / "masters" / version), 1, storage=storage)
        folder = Path(components._catalog(context))
        assert (folder / "index").read_text() == str(number)
        os.utime(folder, (number, number))  # used last a long time ago
    assert len([path for path in folder.parent.iterdir() if path.name != "files"]) == snapshots.KEPT_VERSIONS
