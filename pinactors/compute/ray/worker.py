"""The code that runs in a Ray worker: the counterpart of a local worker process on a cluster's nodes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pinactors import __version__
from pinactors.compute.job import call
from pinactors.compute.process_limits import restrict_memory, restrict_threads
from pinactors.storage.stored_image import StoredImage


@dataclass(frozen=True, slots=True)
class PhotographPlaceholder:
    """A placeholder for a `StoredImage` among a task's arguments; `position` is the index of its bytes among
    the values."""

    position: int
    image: StoredImage


@dataclass(frozen=True, slots=True)
class ValuePlaceholder:
    """A placeholder for a kept value among a task's arguments; `position` is its index among the values."""

    position: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The information that the master gets about a value that stays in the cluster: whether it is None, and
    its `decided`."""

    none: bool
    decided: bool


def own_version() -> str:
    return __version__


@functools.cache
def _set_up(memory: int) -> None:
    """Limits each library to one thread, and the process to `memory` bytes (0: unlimited); once per process.
    Not done in Ray's set-up hook, whose failures are not reported. The priority is left to the cluster
    (`RAY_worker_niceness`)."""
    restrict_threads()
    restrict_memory(memory)


def warm(memory: int, function: Callable[[], Any]) -> tuple[int, str]:
    """Runs `function`, which loads what jobs need; returns the pid and the version of this program on the
    node."""
    _set_up(memory)
    function()
    return os.getpid(), own_version()


def run(memory: int, function: Callable[..., Any], arguments: tuple[Any, ...], *values: Any) -> Any:
    """`function(*arguments)`, with placeholders among the arguments replaced by `values`, which Ray
    supplies."""
    _set_up(memory)
    with _resolved(arguments, values) as resolved:
        return call(function, resolved)


def keep(
    memory: int, function: Callable[..., Any], arguments: tuple[Any, ...], *values: Any
) -> tuple[Summary, Any]:
    """As `run`; returns a summary and the result, which stays in the node's object store."""
    value = run(memory, function, arguments, *values)
    return Summary(value is None, bool(getattr(value, "decided", False))), value


@contextmanager
def _resolved(arguments: tuple[Any, ...], values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The arguments with placeholders replaced. Photographs become files in memory, because the functions
    open paths."""
    descriptors: list[int] = []
    resolved: list[Any] = []
    try:
        for argument in arguments:
            match argument:
                case PhotographPlaceholder(position, image):
                    descriptors.append(os.memfd_create(image.sha256))
                    with os.fdopen(os.dup(descriptors[-1]), "wb") as file:
                        file.write(values[position])
                    resolved.append(replace(image, path=f"/proc/self/fd/{descriptors[-1]}"))
                case ValuePlaceholder(position):
                    resolved.append(values[position])
                case _:
                    resolved.append(argument)
        yield tuple(resolved)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
