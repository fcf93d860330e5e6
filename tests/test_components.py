"""The built-in components have a basic analysis for the case that full analysis does not end in time."""

from __future__ import annotations

from pinactors.components import declare
from pinactors.settings import Settings

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
