"""The shared findings of one session: each computed once, when it is first needed, awaited by whoever needs
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import trio

from pinactors.compute import Compute, WorkerDied
from pinactors.pipeline.attempts import Restarts
from pinactors.pipeline.component import INPUTS, Analysis, Finding
from pinactors.pipeline.settlement import Patience
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, View

_VIEWS = {name: view for view, name in INPUTS.items()}

UNREADABLE = "Image could not be read"


class FindingFailed(Exception):
    """A finding that was needed cannot be had; the cause is its failure."""


class _Work:
    """One finding: wanted by so many, perhaps under way, perhaps done."""

    __slots__ = ("done", "error", "scope", "value", "wanted")

    def __init__(self) -> None:
        self.wanted = 0
        self.scope: trio.CancelScope | None = None
        self.done = trio.Event()
        self.value: Any = None
        self.error: Exception | None = None


class _Hold:
    """Works are wanted while inside."""

    __slots__ = ("_works",)

    def __init__(self, works: tuple[_Work, ...]) -> None:
        self._works = works

    def __enter__(self) -> None:
        for work in self._works:
            work.wanted += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for work in self._works:
            work.wanted -= 1
            if not work.wanted and work.scope is not None:
                work.scope.cancel()


class Findings:
    """Computes in `nursery`. Work nobody wants any more is cancelled, which frees its worker.

    `rejected` is called with what a photograph was refused for: its session cannot go on.
    """

    def __init__(
        self,
        analysis: Analysis,
        upload: Upload,
        compute: Compute,
        folder: str,
        nursery: trio.Nursery,
        patience: Patience,
        restarts: Restarts,
        rejected: Callable[[PinactorsError], None],
        finished: Callable[[str, float, Exception | None], None],
    ) -> None:
        self._analysis = analysis
        self._upload = upload
        self._compute = compute
        self._folder = folder
        self._nursery = nursery
        self._patience = patience
        self._restarts = restarts
        self._rejected = rejected
        self._finished = finished
        self._findings = {finding.name: finding for finding in analysis.findings}
        self._works = {name: _Work() for name in self._findings}

    def holding(self, names: Sequence[str]) -> _Hold:
        """While inside, work on `names` that is under way is not given up."""
        return _Hold(tuple(self._works[name] for name in names if name in self._works))

    async def gather(self, names: Sequence[str]) -> list[Any]:
        """The values of `names` (a finding, or a photograph), computed at the same time, once what is made of
        them is known to be wanted.

        Raises `FindingFailed`, or the upload's error.
        """
        with self.holding(names):
            for name in names:
                self._begin(name)
            values = [await self._value(name) for name in names]
        await self._patience.wait()
        return values

    def _begin(self, name: str) -> None:
        work = self._works.get(name)
        if work is not None and work.scope is None and not work.done.is_set():
            work.scope = trio.CancelScope()
            self._nursery.start_soon(
                self._run, self._findings[name], work, work.scope, name=f"finding {name}"
            )

    async def _value(self, name: str) -> Any:
        if name in _VIEWS:
            return await self._upload.image(_VIEWS[name])
        work = self._works[name]
        await work.done.wait()
        if work.error is not None:
            raise FindingFailed(f"{name}: {work.error!r}") from work.error
        return work.value

    async def _run(self, finding: Finding, work: _Work, scope: trio.CancelScope) -> None:
        started = trio.current_time()
        with scope:
            try:
                work.value = await self._evaluate(finding)
            except Exception as error:  # noqa: BLE001 - the actor's boundary: it becomes whoever needs it's
                work.error = self._judged(finding, error)
            work.done.set()
            self._finished(finding.name, trio.current_time() - started, work.error)
        work.scope = None
        if work.wanted and not work.done.is_set():  # given up and wanted again while it was being stopped
            self._begin(finding.name)

    async def _evaluate(self, finding: Finding) -> Any:
        if finding.decided_by is not None:
            (first,) = await self.gather([finding.decided_by])
            if getattr(first, "decided", False):
                return first
        values = await self.gather(finding.needs)
        if all(value is None for value in values):
            return None
        context = self._analysis.context
        keep, folder = self._compute.keep, self._folder
        return await self._restarts.repeat(finding.name, keep, folder, finding.function, context, *values)

    def _judged(self, finding: Finding, error: Exception) -> Exception:
        """A refused photograph ends the session, and so does one that nothing survives decoding."""
        views = [_VIEWS[name] for name in finding.needs if name in _VIEWS]
        if not views:
            return error
        if isinstance(error, WorkerDied):
            error = PinactorsError(ErrorCode.INVALID_FORMAT, UNREADABLE, "decoding it ended the decoder")
        if isinstance(error, PinactorsError):
            self._rejected(_naming(views[0], self._upload.field_of(views[0]), error))
        return error


def _naming(view: View, field: str, error: PinactorsError) -> PinactorsError:
    """`error` with the view and the field at fault, also in its detail: that is what reaches the client."""
    detail = error.detail if field in error.detail else f"{field}: {error.detail}"
    return PinactorsError(
        error.code,
        error.message,
        detail,
        field=field,
        view=view,
        retry_after=error.retry_after,
        status=error.status,
    )
