"""The routes that read streams, over packet logs that a test writes: in memory, or on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import trio
from quart import Response

from pinactors.api import cors, errors
from pinactors.api.app import Application
from pinactors.api.server import Listener
from pinactors.api.services import EXTENSION
from pinactors.api.streams import durable_streams, websocket
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from pinactors.supervision import Supervision

PACKETS = [
    b'{"packetType":"CONNECTION_ESTABLISHED","sequence":0}   ',
    b'{"packetType":"PROCESSING_STARTED","sequence":1}',
    b'{"packetType":"ANALYSIS_COMPLETE","sequence":2}',
]


@dataclass
class Keys:
    """Fake records of API keys: `owners` has the owner of each key; without keys the server is open."""

    owners: dict[str, str] = field(default_factory=dict)

    async def has_keys(self) -> bool:
        await trio.lowlevel.checkpoint()
        return bool(self.owners)

    async def authenticate(self, key: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return self.owners.get(key)


@dataclass
class Logs:
    """A fake registry of packet logs that the test writes."""

    known: dict[str, PacketLog] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    async def find(self, stream_id: str, owner: str) -> PacketLog:
        await trio.lowlevel.checkpoint()
        log = self.known.get(stream_id)
        if log is None or log.owner != owner:
            raise PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found")
        return log

    async def cancel(self, stream_id: str, owner: str) -> None:
        await self.find(stream_id, owner)
        self.cancelled.append(stream_id)


class Site:
    def __init__(self, data: Path) -> None:
        self.logs, self.keys = Logs(), Keys()
        self.settings = Settings(data=data, port=0)
        self.app = Application(__name__)
        self.app.config.update(PROVIDE_AUTOMATIC_OPTIONS=False, RESPONSE_TIMEOUT=None)
        self.app.extensions[EXTENSION] = SimpleNamespace(
            registry=self.logs, records=self.keys, settings=self.settings
        )
        errors.install(self.app)
        cors.install(self.app)
        for module in (durable_streams, websocket):
            self.app.register_blueprint(module.blueprint)
        self.client = self.app.test_client()

    def log(self, count: int = 0, *, closed: bool = False, owner: str = "") -> PacketLog:
        """Registers the packet log `s` with the first `count` packets."""
        log = self.logs.known["s"] = PacketLog("s", "session", owner, packets=PACKETS[:count], closed=closed)
        return log

    async def get(self, query: str = "", method: str = "GET", name: str = "s", **headers: str) -> Response:
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        with trio.fail_after(60):
            response = await self.client.open(f"/streams/{name}{query}", method=method, headers=fields)
        assert isinstance(response, Response)
        return response

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Runs a real listener with the server's own connections, and yields its port."""
        sockets = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Listener(self.app, self.settings, Supervision()).accept, sockets, nursery)
            yield sockets[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()
