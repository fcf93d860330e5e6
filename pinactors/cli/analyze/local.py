"""Analyses in this process: the pipeline with real workers, but without a server and a port; records are not
kept."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import msgspec
import trio

from pinactors import components, logs
from pinactors.catalog.reader import Catalog
from pinactors.cli import terminal
from pinactors.client import Received
from pinactors.client.uploads import Photograph
from pinactors.compute.local.processes import open_processes
from pinactors.pipeline.declaration import Analysis
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.registry import Registry, open_registry
from pinactors.pipeline.upload import Upload
from pinactors.protocol import View, new_session_id
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.images import ImageStore
from pinactors.storage.stored_image import StoredImage

RATE_MARGIN = 10
"""Factor for the limits of sessions: several attempts per photo set must stay below them."""

PHOTO_SET_SECONDS = 3600.0
"""Seconds that a photo set may take if no client waits for it: so long that the machine's load changes no
answer."""


@dataclasses.dataclass
class LoggedPackets:
    """The packets of a log as an asynchronous iterator, like that of the client."""

    log: PacketLog
    position: int = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        await self.log.wait_beyond(self.position)
        if self.position >= len(self.log.packets):
            raise StopAsyncIteration
        raw = self.log.packets[self.position]
        self.position += 1
        return Received(raw, msgspec.json.decode(raw))


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A running pipeline and the store for its photographs."""

    registry: Registry
    store: ImageStore

    async def open(self, images: Mapping[View, Photograph]) -> PacketLog:
        """Starts a session on photographs in files or memory. Raises `OSError` for one that cannot be
        read."""
        upload = Upload(new_session_id())
        for view, path in images.items():
            upload.put(view, await trio.to_thread.run_sync(_store, self.store, path))
        upload.close()
        return await self.registry.open(upload)


@asynccontextmanager
async def pipeline(
    settings: Settings, analysis: Analysis, metrics: Metrics | None = None
) -> AsyncIterator[Pipeline]:
    """Runs a pipeline that writes everything to a temporary folder, which is removed at the end of the
    block."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pinactors-")))
        own_settings = settings.model_copy(update={"data": folder, "database_url": ""})
        store = ImageStore(own_settings.images_folder)
        await trio.to_thread.run_sync(store.prepare)
        records = await Records.open(own_settings)
        stack.push_async_callback(records.close)
        compute = await stack.enter_async_context(open_processes(own_settings, components.warm))
        opened = open_registry(analysis, compute, records, own_settings, metrics)
        yield Pipeline(await stack.enter_async_context(opened), store)


def unhurried(settings: Settings, count: int) -> Settings:
    """The `settings` with limits raised for `count` analyses at the same time: a server's limits for a client
    do not apply to its owner.

    Neither a client's deadline nor failures of other photo sets then change an answer, so that a set of
    photographs gives the same answers on any machine.
    """
    return settings.model_copy(
        update={
            "deadline": max(settings.deadline, PHOTO_SET_SECONDS),
            "breaker_failures": RATE_MARGIN * count + settings.breaker_failures,
            "rate_per_minute": RATE_MARGIN * count + settings.rate_per_minute,
            "max_sessions": count + settings.max_sessions,
            "max_sessions_per_key": count + settings.max_sessions_per_key,
        }
    )


def prepare(settings: Settings) -> None:
    """Warns if the catalogue is empty or outdated. Then reduces the log to errors, because the analysis's
    answer reports refusals."""
    with terminal.explaining():
        catalog = Catalog.open(settings.catalog_folder)
    if catalog.outdated:
        terminal.errors.print(
            f"{settings.catalog_folder} was made by another version of this program: "
            f"no pin can be identified. `{terminal.command('catalog', 'rebuild')}` brings it up to date.",
        )
    if not catalog.size:
        terminal.errors.print(
            f"{settings.catalog_folder} contains no catalogue: no pin can be identified. "
            f"`{terminal.command('catalog', 'import')} DIR` makes one.",
        )
    logs.configure(settings.model_copy(update={"log_level": "error"}))


@asynccontextmanager
async def analyze(images: Mapping[View, Path], settings: Settings) -> AsyncIterator[LoggedPackets]:
    """Runs one analysis with the data folder's catalogue. Raises `OSError` for an image that cannot be
    read."""
    analysis = components.declare(settings, catalog=settings.catalog_folder)
    async with pipeline(settings, analysis) as running:
        yield LoggedPackets(await running.open(images))


def _store(store: ImageStore, photograph: Photograph) -> StoredImage:
    return store.save(photograph if isinstance(photograph, bytes) else photograph.read_bytes())
