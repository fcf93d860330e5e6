"""Plug-ins: components and shared steps of other packages, announced by entry point or named in a setting.

A plug-in is a function `declare(settings, analysis)`. It returns the analysis with components and steps
added, replaced or wrapped (`Analysis.adding`, `Component.wrapped`). `docs/plugins.md` shows a complete one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TypeVar

from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.settings import Settings, SettingUnusable

GROUP = "pinactors.components"
"""The entry-point group under which packages announce plug-ins."""

Declared = TypeVar("Declared", SharedStep, Component)
Declare = Callable[[Settings, Analysis], Analysis]


def apply(settings: Settings, analysis: Analysis) -> Analysis:
    """`analysis` with all plug-ins: those of installed packages sorted by name, then those of the setting in
    its order.

    Raises `SettingUnusable` for a plug-in that cannot be loaded or makes an invalid declaration: a server
    must not start with another analysis than the configured one.
    """
    for source in [*_announced(), *settings.components.split()]:
        analysis = with_plugin(source, settings, analysis)
    return analysis


def with_plugin(source: str, settings: Settings, analysis: Analysis) -> Analysis:
    """`analysis` with the plug-in `source`, which is `module:function`. Raises `SettingUnusable`."""
    declare = _load(source)
    try:
        declared = declare(settings, analysis)
    except SettingUnusable:
        raise
    except Exception as error:
        raise SettingUnusable(f"plug-in {source}: {type(error).__name__}: {error}") from error
    if not isinstance(declared, Analysis):
        raise SettingUnusable(f"plug-in {source} returned {type(declared).__name__}, not an Analysis")
    return replace(
        declared,
        shared_steps=tuple(_signed(declared.shared_steps, analysis.shared_steps, source)),
        components=tuple(_signed(declared.components, analysis.components, source)),
    )


def _signed(declared: Iterable[Declared], before: Iterable[Declared], source: str) -> Iterator[Declared]:
    known = {id(each) for each in before}
    for each in declared:
        yield each if id(each) in known else replace(each, declared_by=source)


def _announced() -> list[str]:
    return sorted(point.value for point in entry_points(group=GROUP))


def _load(source: str) -> Declare:
    module, colon, name = source.partition(":")
    if not colon or not module or not name:
        raise SettingUnusable(f"plug-in {source!r}: expected module:function")
    try:
        function: Declare = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise SettingUnusable(
            f"plug-in {source} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return function
