"""Where CPU work runs: one small interface, worker processes behind it here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class WorkerDied(Exception):
    """The worker process ended without an answer (killed, crashed, out of memory): worth another try."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A value that stays outside the event loop's process: a file the workers map into memory.

    `decided` copies the value's own attribute of that name (False where it has none).
    """

    path: str
    decided: bool = False


class Compute(Protocol):
    """Runs module-level functions on picklable arguments; a `Handle` among them arrives as its value.

    Cancelling either call really stops the work and frees its CPU. The function's own exception is raised as
    it was; `WorkerDied` when the process ended instead.
    """

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any: ...

    async def keep(self, folder: str, function: Callable[..., Any], *arguments: Any) -> Handle | None:
        """Like `run`, but the result stays in `folder` and its handle is returned (None for a None)."""
        ...
