"""Runs jobs on a Ray cluster: a `Pool` whose workers are CPU slots on the cluster's nodes, one per CPU.

Jobs are Ray tasks, not actors, because only a task's process can be ended from outside. Each slot has its
own runtime environment, so that Ray gives it its own process, which stays warm. A kept value stays in the
object store of the node that computed it. A value that is lost with a node is computed again from its
arguments, in the end from the photographs, which the master has. Imported only if `compute` names Ray.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import structlog
import trio
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pinactors.compute import WorkerDied
from pinactors.compute.pool import Pool
from pinactors.compute.process_limits import THREAD_VARIABLES
from pinactors.compute.ray import worker
from pinactors.compute.ray.address import check_address
from pinactors.compute.ray.worker import PhotographPlaceholder, ValuePlaceholder, own_version
from pinactors.lines import first_line
from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.stored_image import StoredImage
from pinactors.supervision import Supervision

NODE_POLL_SECONDS = 1.0
"""Pause between two queries for the cluster's nodes."""

ANSWER_SECONDS = 5.0
"""How long such a query may take; after that the cluster counts as unreachable."""

CANCEL_SECONDS = 10.0
"""How long to wait for the end of a cancelled task: it takes longer only if its node does not answer."""

MAX_JOB_ATTEMPTS = 3
"""How often a job is attempted if values that it needs are lost with a node."""

CALL_THREADS = 16
"""Concurrent calls of Ray's API: each blocks its thread for some milliseconds."""

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class KeptValue:
    """A value in the cluster, with the function and arguments to compute it again. `reference` is Ray's
    reference to its latest copy."""

    decided: bool
    reference: Any
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    recompute_lock: trio.Lock = field(default_factory=trio.Lock)


class _ValueLost(Exception):
    """A value that a task needs is no longer in any node's object store; the text of the exception is the
    hexadecimal id of its reference."""


class _CpuSlot:
    """One CPU of one node: a `pool.Worker`."""

    def __init__(self, node: str, number: int, cluster: _Cluster) -> None:
        self.node = node
        self.pid: int | None = None
        self._number = number
        self._cluster = cluster
        variables = dict.fromkeys(THREAD_VARIABLES, "1") | {"PINACTORS_SLOT": str(number)}
        self._options: dict[str, Any] = {
            "num_cpus": 1,
            "max_retries": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True),
            "runtime_env": {"env_vars": variables},
        }

    def __repr__(self) -> str:
        return f"<slot {self._number} on {self.node[:8]} pid {self.pid}>"

    async def warm(self) -> int:
        (reference,) = await self._start(worker.warm, 1, self._cluster.warm)
        pid, version = await self._result(reference)
        if version != own_version():
            raise RuntimeError(f"a node has pinactors {version}, this server {own_version()}")
        return int(pid)

    async def wait_gone(self, pid: int) -> bool:
        """Returns False: the end of a process cannot be determined. The next job gets a new process, which
        sets itself up."""
        await trio.lowlevel.checkpoint()
        return False

    def discard(self, value: Any) -> None:
        """Does nothing: Ray removes a value when the last reference to it is gone."""

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        answer, _ = await self._work(worker.run, 1, function, arguments)
        return answer

    async def keep(self, session: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        summary, reference = await self._work(worker.keep, 2, function, arguments)
        return None if summary.none else KeptValue(summary.decided, reference, function, arguments)

    async def _work(
        self, task: Callable[..., Any], returns: int, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> tuple[Any, Any]:
        """Runs a task; returns the first of its `returns` values, and the reference to the last one."""
        for _ in range(MAX_JOB_ATTEMPTS):
            references_used = {
                argument: argument.reference for argument in arguments if isinstance(argument, KeptValue)
            }
            references = await self._start(task, returns, function, arguments)
            try:
                return await self._result(references[0]), references[-1]
            except _ValueLost as error:
                log.info("value lost with its node", value=str(error)[:16])
                for kept, reference in references_used.items():
                    if reference.hex() == str(error):
                        await self._recompute(kept, reference)
        raise WorkerDied("values are lost faster than they are made")

    async def _recompute(self, kept: KeptValue, lost_reference: Any) -> None:
        async with kept.recompute_lock:
            if kept.reference is lost_reference:
                _, kept.reference = await self._work(worker.keep, 2, kept.function, kept.arguments)

    async def _start(
        self, task: Callable[..., Any], returns: int, function: Callable[..., Any], arguments: Any = None
    ) -> list[Any]:
        """Submits a task and returns the references to its values."""

        def submit() -> list[Any]:
            packed = [] if arguments is None else _with_placeholders(arguments)
            remote = self._cluster.remote(task).options(num_returns=returns, **self._options)
            references = remote.remote(self._cluster.memory, function, *packed)
            return references if isinstance(references, list) else [references]

        return await trio.to_thread.run_sync(submit, limiter=self._cluster.threads)

    async def _result(self, reference: Any) -> Any:
        """Waits for the value of `reference`. If cancelled, ends the task's process and returns after its
        end."""
        ended = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def notify(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(ended.set)

        future = reference.future()
        future.add_done_callback(notify)
        try:
            await ended.wait()
        except trio.Cancelled:
            with trio.move_on_after(CANCEL_SECONDS, shield=True):
                await trio.to_thread.run_sync(_cancel, reference, limiter=self._cluster.threads)
                await ended.wait()
            raise
        try:
            return future.result()
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, exceptions.ObjectLostError):
                raise _ValueLost(error.cause.object_ref_hex) from error
            raise error.cause from None
        except exceptions.ObjectLostError as error:
            raise _ValueLost(error.object_ref_hex) from error
        except exceptions.RuntimeEnvSetupError as error:
            raise RuntimeError(f"no environment for workers: {first_line(error)}") from error
        except exceptions.RayError as error:
            raise WorkerDied(first_line(error)) from error


def _with_placeholders(arguments: tuple[Any, ...]) -> list[Any]:
    """`arguments` with placeholders for photographs and kept values, followed by the references to these."""
    values: list[Any] = []
    packed: list[Any] = []
    for argument in arguments:
        if isinstance(argument, StoredImage):
            packed.append(PhotographPlaceholder(len(values), argument))
            values.append(ray.put(Path(argument.path).read_bytes()))
        elif isinstance(argument, KeptValue):
            packed.append(ValuePlaceholder(len(values)))
            values.append(argument.reference)
        else:
            packed.append(argument)
    return [tuple(packed), *values]


def _cancel(reference: Any) -> None:
    with suppress(exceptions.RayError):
        ray.cancel(reference, force=True)


@dataclass(slots=True)
class _Cluster:
    """The state of the cluster: its slots, at most `max_slots` (0: no limit), and the tasks sent to it."""

    max_slots: int
    memory: int
    warm: Callable[[], Any]
    threads: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(CALL_THREADS))
    slots: list[_CpuSlot] = field(default_factory=list)
    next_number: int = 0
    tasks: dict[Callable[..., Any], Any] = field(default_factory=dict)

    def remote(self, task: Callable[..., Any]) -> Any:
        """Ray's remote function for `task`, which is sent to the cluster once."""
        if task not in self.tasks:
            self.tasks[task] = ray.remote(task)
        return self.tasks[task]

    def update(self, cpus: dict[str, int]) -> tuple[list[_CpuSlot], list[_CpuSlot]]:
        """Adapts the slots to the nodes in `cpus` (CPUs by node id); returns the new slots and the removed
        ones."""
        removed = [slot for slot in self.slots if slot.node not in cpus]
        self.slots = [slot for slot in self.slots if slot.node in cpus]
        present = Counter(slot.node for slot in self.slots)
        missing = [(number, node) for node, count in cpus.items() for number in range(present[node], count)]
        new: list[_CpuSlot] = []
        for _, node in sorted(missing):
            if not self.max_slots or len(self.slots) + len(new) < self.max_slots:
                new.append(_CpuSlot(node, self.next_number, self))
                self.next_number += 1
        self.slots += new
        return new, removed


class RayPool(Pool):
    """A `Compute` on the cluster to which this process is connected."""

    def __init__(self, cluster: _Cluster, nursery: trio.Nursery) -> None:
        super().__init__(nursery, KeptValue, _clear_nothing)
        self._cluster = cluster
        self._reachable = True

    def statistics(self) -> dict[str, Any]:
        nodes = {slot.node for slot in self._cluster.slots}
        return {**super().statistics(), "nodes": len(nodes), "reachable": self._reachable}

    async def follow_nodes(self) -> None:
        """Removes the workers of nodes that are gone, and adds workers on CPUs that have none, also on known
        nodes if the limit allows more now; to be called every `NODE_POLL_SECONDS`."""
        cpus: dict[str, int] | None = None
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                cpus = await trio.to_thread.run_sync(_cpus, abandon_on_cancel=True)
            except Exception as error:  # noqa: BLE001 - Ray raises various types if its head is unreachable
                log.debug("cluster not readable", error=repr(error))
        if self._reachable != (cpus is not None):
            self._reachable = cpus is not None
            log.warning("cluster changed", reachable=self._reachable)
        if cpus is not None:
            self._update(cpus)

    def _update(self, cpus: dict[str, int]) -> None:
        new, removed = self._cluster.update(cpus)
        for slot in removed:
            self.remove(slot)
        for slot in new:
            self.add(slot)
        if new or removed:
            log.info("nodes changed", nodes=len(cpus), new=len(new), gone=len(removed))


async def _clear_nothing(session: str) -> None:
    """Does nothing: Ray removes a session's kept values when the last references to them are gone."""
    await trio.lowlevel.checkpoint()


def _cpus() -> dict[str, int]:
    """Number of CPUs of each living node, by node id."""
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    cpus = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in known if node["Alive"]}
    return {node: count for node, count in cpus.items() if count}


def _connect(compute: str) -> None:
    address = check_address(compute)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (RuntimeError, OSError, ValueError) as error:
        # Ray explains a mismatch of versions over several lines.
        reason = " ".join(str(error).split())[:500]
        raise SettingUnusable(f"no Ray cluster at {address}: {reason}") from error


@asynccontextmanager
async def open_ray(
    settings: Settings, warm: Callable[[], Any], supervision: Supervision
) -> AsyncIterator[RayPool]:
    """Opens a pool on the cluster that `settings.compute` names: one worker per CPU, at most
    `settings.workers` (0: no limit).

    Raises `SettingUnusable` if there is no such cluster or it has another version of Ray, and `RuntimeError`
    if workers cannot be warmed.
    """
    await trio.to_thread.run_sync(_connect, settings.compute)
    failure: RuntimeError | None = None
    try:
        cluster = _Cluster(settings.workers, settings.worker_memory, warm)
        new, _ = cluster.update(await trio.to_thread.run_sync(_cpus))
        if not new:
            raise SettingUnusable("the Ray cluster has no CPUs")
        async with trio.open_nursery() as nursery:
            pool = RayPool(cluster, nursery)
            try:
                await pool.start(list(new))
            except RuntimeError as error:
                failure = error  # raised outside the nursery, which would wrap it in a group
            else:
                supervision.start(nursery, "nodes", pool.follow_nodes, NODE_POLL_SECONDS)
                yield pool
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(ray.shutdown)
    if failure is not None:
        raise failure
