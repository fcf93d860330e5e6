"""The shared steps of one session: each is computed once, when it is first needed, and awaited by all
components that need it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio

from pinactors.compute import OutOfMemory, ScratchFull, SessionCompute, WorkerDied
from pinactors.pipeline.actors.produce import bounded
from pinactors.pipeline.actors.restarts import Restarts
from pinactors.pipeline.declaration import INPUTS, OWNER, Place, SharedStep, StepSkipped
from pinactors.pipeline.duplicate_check import DuplicateCheck
from pinactors.pipeline.services import PipelineServices
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, View, storage_unavailable
from pinactors.tracing import Span

_VIEWS = {name: view for view, name in INPUTS.items()}

UNREADABLE = "Image could not be read"
TOO_LARGE = "Image too large"


class NeedFailed(Exception):
    """A needed shared step has failed; the cause is its exception."""


class _Computation:
    """One step of one session. `users` counts the tasks that need the value; `scope` is set while the
    step runs; `done` is set when `value` or `error` is."""

    def __init__(self) -> None:
        self.users = 0
        self.scope: trio.CancelScope | None = None
        self.done = trio.Event()
        self.value: Any = None
        self.error: Exception | None = None


class SharedSteps:
    """Computes shared steps in `nursery`. A step that no task needs any more is cancelled, which frees its
    worker.

    `span` is the parent of the steps' spans. `on_refusal` is called with an error that ends the session, such
    as that of a refused photograph. `on_finished` is called with name, seconds and error of each step."""

    def __init__(
        self,
        services: PipelineServices,
        upload: Upload,
        compute: SessionCompute,
        nursery: trio.Nursery,
        duplicate: DuplicateCheck,
        restarts: Restarts,
        span: Span,
        on_refusal: Callable[[PinactorsError], None],
        on_finished: Callable[[str, float, Exception | None], None],
    ) -> None:
        self._context = services.analysis.context
        self._upload = upload
        self._compute = compute
        self._nursery = nursery
        self._duplicate = duplicate
        self._restarts = restarts
        self._span = span
        self._loops = services.loops
        self._breakers = services.breakers
        self._on_refusal = on_refusal
        self._on_finished = on_finished
        self._steps = {step.name: step for step in services.analysis.shared_steps}
        self._computations = {name: _Computation() for name in self._steps}

    @contextmanager
    def in_use(self, names: Sequence[str]) -> Iterator[None]:
        """Keeps the steps among `names` that are running from being cancelled while inside."""
        computations = [self._computations[name] for name in names if name in self._computations]
        for computation in computations:
            computation.users += 1
        try:
            yield
        finally:
            for computation in computations:
                computation.users -= 1
                if not computation.users and computation.scope is not None:
                    computation.scope.cancel()

    async def gather(self, names: Sequence[str]) -> list[Any]:
        """The values of `names` (steps, photographs, or the owner); steps run concurrently. Returns after the
        comparison with earlier uploads, or after its longest wait.

        Raises `NeedFailed`, or the upload's error.
        """
        with self.in_use(names):
            for name in names:
                self._begin(name)
            values = [await self._value(name) for name in names]
        await self._duplicate.wait_before_work(self._upload)
        return values

    def _begin(self, name: str) -> None:
        computation = self._computations.get(name)
        if computation is not None and computation.scope is None and not computation.done.is_set():
            computation.scope = trio.CancelScope()
            self._nursery.start_soon(
                self._run, self._steps[name], computation, computation.scope, name=f"shared step {name}"
            )

    async def _value(self, name: str) -> Any:
        if name in _VIEWS:
            return await self._upload.image(_VIEWS[name])
        if name == OWNER:
            return self._upload.owner
        computation = self._computations[name]
        await computation.done.wait()
        if computation.error is not None:
            raise NeedFailed(f"{name}: {computation.error!r}") from computation.error
        return computation.value

    async def _run(self, step: SharedStep, computation: _Computation, scope: trio.CancelScope) -> None:
        started = trio.current_time()
        with scope:
            try:
                with self._span.child("shared step", step=step.name) as span:
                    computation.value = await self._compute_value(step, span)
            except Exception as error:  # noqa: BLE001 - the actor's boundary: components that need it get it
                computation.error = self._error_to_keep(step, error)
            computation.done.set()
            self._on_finished(step.name, trio.current_time() - started, computation.error)
        computation.scope = None
        if computation.users and not computation.done.is_set():  # cancelled, and needed again meanwhile
            self._begin(step.name)

    async def _compute_value(self, step: SharedStep, span: Span) -> Any:
        if step.decided_by is not None:
            (first,) = await self.gather([step.decided_by])
            if getattr(first, "decided", False):
                return first
        values = await self.gather(step.needs)
        if all(value is None for value in values):
            return None
        if step.place is Place.LOOP:
            return await self._run_in_loop(step, values, span)
        run, function = partial(self._compute.keep, early=step.early), bounded
        return await self._restarts.repeat(
            step.name, run, function, step.function, step.seconds, self._context, *values, span=span
        )

    async def fetch(self, name: str, values: Sequence[Any], span: Span) -> list[Any]:
        """The values themselves, for a function of the step or component `name` that does not run in a
        worker. If a worker dies the attempt is repeated; if a value is gone, the session ends."""
        fetch = self._compute.fetch
        try:
            return [await self._restarts.repeat(name, fetch, value, span=span) for value in values]
        except ScratchFull:
            raise self.storage_failed() from None

    async def _run_in_loop(self, step: SharedStep, values: list[Any], span: Span) -> Any:
        """Runs an async step in its own loop, with its own breaker, because the service that it calls may be
        unavailable for long."""
        fetched = await self.fetch(step.name, values, span)
        with self._breakers[step.name].attempt() as trial:
            if trial is None:
                raise StepSkipped(f"{step.name} has failed too often")
            try:
                limit_seconds = step.seconds if step.seconds is not None else math.inf
                with span.child("job", work=step.name), trio.fail_after(limit_seconds):
                    value = await self._loops[step.name].run(step.function, self._context, *fetched)
            except StepSkipped:
                raise
            except Exception:
                trial.failed()
                raise
            trial.succeeded()
            return value

    def storage_failed(self) -> PinactorsError:
        """Ends the session because its photographs or values cannot be stored, or are gone; returns the
        error, after which clients send the upload again."""
        error = storage_unavailable(
            "The server could not store what the analysis needs; please send the upload again later"
        )
        self._on_refusal(error)
        return error

    def _error_to_keep(self, step: SharedStep, error: Exception) -> Exception:
        """The error to keep for a failed step. Ends the session if the storage fails, or a photograph's file
        is gone, or if a photograph is refused, kills each worker that decodes it, or needs more memory than a
        worker may use.

        Only a step that needs nothing but photographs decodes them. A failure of another one says nothing
        about the photograph, so that basic analysis can follow.
        """
        views = [_VIEWS[name] for name in step.needs if name in _VIEWS]
        if isinstance(error, ScratchFull) or (views and isinstance(error, FileNotFoundError)):
            return self.storage_failed()
        if error is self._upload.error:  # it names the field at fault, which need not be one of this step
            self._on_refusal(self._upload.error)
            return error
        if not views or len(views) < len(step.needs):
            return error
        if isinstance(error, WorkerDied):
            error = PinactorsError(
                ErrorCode.INVALID_FORMAT, UNREADABLE, "the program that decodes photographs crashed on it"
            )
        elif isinstance(error, OutOfMemory):
            error = PinactorsError(
                ErrorCode.TOO_LARGE, TOO_LARGE, "analysing it needs more memory than is allowed"
            )
        if isinstance(error, PinactorsError):
            error = _naming(views[0], self._upload.field_of(views[0]), error)
            self._on_refusal(error)
        return error


def _naming(view: View, field: str, error: PinactorsError) -> PinactorsError:
    """`error` with the view and the field at fault; the detail, which reaches the client, names the field."""
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
