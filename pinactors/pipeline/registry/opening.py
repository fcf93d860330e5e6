"""Opens the registry with everything that it needs besides its sessions: logs, recorder, breakers, loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
import trio
from prometheus_client import CollectorRegistry

from pinactors.compute import Compute
from pinactors.compute.loop_thread import open_loop_thread
from pinactors.pipeline.actors.breaker import Breaker
from pinactors.pipeline.declaration import Analysis, Place
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.recorder import Recorder
from pinactors.pipeline.registry.adoption import FetchImage
from pinactors.pipeline.registry.peers import Peers, adopt_orphans
from pinactors.pipeline.registry.sessions import Registry
from pinactors.pipeline.services import MeanCost, PipelineServices
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.logs.database import is_shared
from pinactors.storage.logs.files import open_log_files
from pinactors.storage.logs.packet_logs import PacketLogs
from pinactors.storage.logs.rows import open_log_rows

_root = structlog.get_logger(__name__)


@asynccontextmanager
async def open_registry(
    analysis: Analysis,
    compute: Compute,
    records: Records,
    settings: Settings,
    metrics: Metrics | None = None,
    *,
    logs: PacketLogs | None = None,
    fetch_image: FetchImage | None = None,
    resumed: Container[tuple[str, str]] = (),
) -> AsyncIterator[Registry]:
    """Opens the registry with its nursery. Unless `logs` is given, packet logs are stored in the database if
    that is PostgreSQL, else in the data folder.

    `fetch_image` copies a photograph that another machine received to this one; for `resumed` see
    `Registry.adopt`. Raises `SettingUnusable` if the database cannot store logs.

    At the end of the context running sessions are cancelled; their logs are kept for the next process.
    """
    metrics = metrics or Metrics(CollectorRegistry())

    def log_failed(error: OSError) -> None:
        metrics.journal_failures.inc()
        _root.error("session continues without a stored log", error=repr(error))

    async with AsyncExitStack() as stack:
        peers: Peers | None = None
        if logs is not None:
            pass
        elif is_shared(settings):
            rows = await stack.enter_async_context(open_log_rows(settings, log_failed, metrics.supervision))
            logs, peers = rows, Peers(rows)
        else:
            logs = await stack.enter_async_context(open_log_files(settings.journal_folder, log_failed))
        recorder = Recorder(records, logs, metrics)
        steps = [step.name for step in analysis.shared_steps]
        components = [component.name for component in analysis.components]
        steps_in_loops = [step.name for step in analysis.shared_steps if step.place is Place.LOOP]
        components_in_loops = [
            component.name
            for component in analysis.components
            if Place.LOOP in (component.place, component.basic_place)
        ]
        breakers = {name: _breaker(name, settings, metrics) for name in [*steps_in_loops, *components]}
        metrics.expect([*steps, *components], breakers)
        loops = {
            name: await stack.enter_async_context(open_loop_thread(name))
            for name in [*steps_in_loops, *components_in_loops]
        }
        services = PipelineServices(
            analysis, compute, settings, metrics, recorder, breakers, loops, MeanCost()
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        registry = Registry(services, records, logs, nursery, peers, fetch_image)
        metrics.watch(registry.statistics)
        nursery.start_soon(recorder.run, name="recorder")
        await registry.adopt(resumed)
        if peers is not None:
            peers.rows.cancelled = registry.cancel_here
            adopting = partial(adopt_orphans, peers.rows, registry.adopt)
            metrics.supervision.start(nursery, "other masters' packets", peers.follow_changes)
            metrics.supervision.start(nursery, "take over sessions", adopting)
        yield registry
        nursery.cancel_scope.cancel()


def _breaker(name: str, settings: Settings, metrics: Metrics) -> Breaker:
    def on_trip() -> None:
        metrics.breaker_trips.labels(name).inc()
        _root.warning("breaker tripped", component=name, pause=settings.breaker_pause)

    return Breaker(settings.breaker_failures, settings.breaker_pause, on_trip)
