"""What every engine offers its pool: something that runs one job at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Worker(Protocol):
    """Runs one job at a time. Cancelling a job ends the process that is at it, and the worker with it."""

    pid: int | None
    """Of its process while it is warm, None while it is being replaced."""

    node: str
    """Where it is: values that were kept on the same node are at hand."""

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """As `SessionCompute.run`."""
        ...

    async def keep(self, session: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """As `SessionCompute.keep`."""
        ...

    async def warm(self) -> int:
        """Starts a process where there is none and loads what jobs need; returns its pid."""
        ...

    async def wait_gone(self, pid: int) -> bool:
        """True once the process `pid` has ended; False, at once, where that cannot be told."""
        ...

    def discard(self, kept: Any) -> None:
        """Removes a value nobody asks for any more, should it be one that was kept."""
        ...
