"""The interface of a worker, which every engine implements for its pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Worker(Protocol):
    """Runs one job at a time. Cancelling a job ends the worker's process, which must then be warmed again."""

    pid: int | None
    """The id of the worker's process while it is warm; None while it is being replaced."""

    node: str
    """The node on which the worker runs: values kept on the same node are local to it."""

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """As `SessionCompute.run`."""
        ...

    async def keep(self, session: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """As `SessionCompute.keep`."""
        ...

    async def warm(self) -> int:
        """Starts a process if there is none, loads what jobs need, and returns the pid."""
        ...

    async def wait_gone(self, pid: int) -> bool:
        """Waits until the process `pid` has ended and returns True; returns False immediately if that cannot
        be determined."""
        ...

    def discard(self, kept: Any) -> None:
        """Removes the result of a job that nothing needs any more, if `kept` refers to a kept value."""
        ...
