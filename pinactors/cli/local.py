"""One analysis in this process: the pipeline with real workers, no server, no port, records thrown away."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import msgspec
import trio

from api.imagestore import ImageStore
from pinactors import components
from pinactors.client import Received
from pinactors.compute.processes import open_processes
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import open_registry
from pinactors.pipeline.upload import StoredImage, Upload
from pinactors.protocol import View, new_session_id
from pinactors.records import Records
from pinactors.settings import Settings


@dataclasses.dataclass
class LoggedPackets:
    """The packets of a log, as a client would hand them out."""

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


@asynccontextmanager
async def analyze(images: Mapping[View, Path], given: Settings) -> AsyncIterator[LoggedPackets]:
    """The catalogue is the data folder's, everything written goes to a temporary folder.

    Raises `OSError` for an image that cannot be read.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pinactors-")))
        analysis = components.declare(given, catalog=given.catalog_folder)
        here = given.model_copy(update={"data": folder, "database_url": ""})
        store = ImageStore(here.images_folder, folder / "spool")
        upload = Upload(new_session_id())
        await trio.to_thread.run_sync(store.prepare)
        for view, path in images.items():
            upload.put(view, await trio.to_thread.run_sync(_store, store, path))
        upload.close()
        records = await Records.open(here)
        stack.push_async_callback(records.close)
        compute = await stack.enter_async_context(open_processes(here, components.warm))
        registry = await stack.enter_async_context(open_registry(analysis, compute, records, here))
        yield LoggedPackets(await registry.open(upload))


def _store(store: ImageStore, path: Path) -> StoredImage:
    return store.save(path.read_bytes())
