"""The whole server as one function, `serve`, which opens all parts in order and shuts them down."""

from __future__ import annotations

import errno
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import prometheus_client
import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from pinactors import components
from pinactors.api.app import create_app
from pinactors.api.auth import RememberingRecords
from pinactors.api.errors import RETRY_AFTER, body_of
from pinactors.api.housekeeping.collection import collect_if_idle, full_collections_postponed
from pinactors.api.housekeeping.housekeeper import SWEEP_SECONDS, Housekeeper
from pinactors.api.http.connection import ServerConnection
from pinactors.api.services import EXTENSION
from pinactors.api.uploads.resumable.uploads import load, unfinished
from pinactors.catalog.published import CHECK_SECONDS, PublishedCatalog
from pinactors.compute.engines import open_compute
from pinactors.logs import ServerLog
from pinactors.pipeline.declaration import Analysis
from pinactors.pipeline.metrics import Metrics, StallInstrument
from pinactors.pipeline.registry import open_registry
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from pinactors.storage.images import open_image_store
from pinactors.storage.objects import check_storage
from pinactors.storage.partial_uploads import PartialUploadStore
from pinactors.supervision import Supervision
from pinactors.tracing import open_tracing
from pinactors.webhooks.deliverer import Deliverer

BACKLOG = 1024
"""Connections that the kernel queues until they are accepted."""

IDLE_SECONDS = 30.0
"""Longest pause between two requests of a connection, and longest time for a request's head."""

HEAD_BYTES = 16 * 1024
"""Most bytes of a request line with headers."""

FLUSH_SECONDS = 5.0
"""Time for readers at shutdown, after their sessions have ended, to receive the last packets."""

ACCEPT_PAUSE = 0.1
"""Seconds until the next attempt after accepting a connection failed."""

TURN_AWAY_SECONDS = 1.0
"""How long a client that is turned away has to read why."""

FILES_RESERVED = 256
"""File descriptors reserved for databases, photographs and workers; the others are for connections."""

log = structlog.get_logger(__name__)


def hypercorn_config(settings: Settings) -> Config:
    """The configuration for Hypercorn's protocols; sockets, time-outs and shutdown are handled here."""
    config = Config()
    config.logger_class = ServerLog  # type: ignore[assignment]
    config.include_server_header = False
    config.keep_alive_timeout = IDLE_SECONDS
    config.h11_max_incomplete_size = HEAD_BYTES
    config.websocket_max_message_size = settings.max_request_bytes
    config.websocket_ping_interval = settings.keepalive
    return config


async def open_sockets(settings: Settings) -> list[trio.SocketListener]:
    """Opens listening sockets, in whose queue clients wait until connections are accepted. Raises `OSError`,
    naming the address."""
    try:
        sockets = await trio.open_tcp_listeners(settings.port, host=settings.host, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"{where} is taken: another program listens there") from error
        raise OSError(f"cannot listen on {where}: {error.strerror or error}") from error
    if not settings.port:  # otherwise a name with several addresses would get several ports
        for surplus in sockets[1:]:
            await surplus.aclose()
        del sockets[1:]
    return sockets


def port_of(sockets: list[trio.SocketListener]) -> int:
    return int(sockets[0].socket.getsockname()[1])


class Listener:
    """Accepts connections and keeps the set of open ones."""

    def __init__(self, app: Any, settings: Settings, supervision: Supervision) -> None:
        self._app, self._settings, self._supervision = app, settings, supervision
        self._config = hypercorn_config(settings)
        self._context = WorkerContext(None)
        self._connections: set[ServerConnection] = set()
        self._accepting = trio.CancelScope()
        self._max_connections = min(settings.max_connections, raise_file_limit() - FILES_RESERVED)

    def __len__(self) -> int:
        return len(self._connections)

    async def accept(self, sockets: list[trio.SocketListener], nursery: trio.Nursery) -> None:
        """Accepts connections until `stop`, then closes the sockets; connections continue in `nursery`.

        An error of one connection, or of accepting one, affects no other connection.
        """
        try:
            with self._accepting:
                async with trio.open_nursery() as accepting:
                    for listener in sockets:
                        accept = partial(self._accept, listener, nursery)
                        self._supervision.start(accepting, "listener", accept)
        finally:
            for listener in sockets:
                listener.socket.close()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        try:
            stream = await listener.accept()
        except OSError as error:  # no descriptor or memory left, or the peer has disconnected
            log.error("connection not accepted", error=repr(error))
            await trio.sleep(ACCEPT_PAUSE)
        else:
            nursery.start_soon(self._serve, stream, name="connection")

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            if len(self._connections) >= self._max_connections:
                await _turn_away(stream)
                return
            _watch_peer(stream.socket, self._settings.stalled_reader)
            stalled = self._settings.stalled_reader
            connection = ServerConnection(self._app, self._config, self._context, stalled, stream)
            self._connections.add(connection)
            try:
                await connection.run()
            finally:
                self._connections.discard(connection)
        except Exception as error:
            # `ServerConnection.run` handles its exceptions; this catches any that it does not.
            log.error("connection failed", exc_info=error)
            stream.socket.close()

    async def stop(self) -> None:
        """Stops accepting. Idle connections close now, the others after their current answer."""
        self._accepting.cancel()
        await self._context.terminated.set()
        for connection in list(self._connections):
            connection.stop()

    async def wait_quiet(self) -> None:
        """Returns once all connections have sent their answers."""
        for connection in list(self._connections):
            await connection.wait_all_sent()

    def abort(self) -> None:
        for connection in list(self._connections):
            connection.abort()


async def _turn_away(stream: trio.SocketStream) -> None:
    refusal = PinactorsError(ErrorCode.OVERLOADED, "Server busy", "Too many connections")
    body = msgspec.json.encode(body_of(refusal))
    head = [
        "HTTP/1.1 503 Service Unavailable",
        f"Retry-After: {RETRY_AFTER}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Access-Control-Allow-Origin: *",
        "Connection: close",
    ]
    try:
        with trio.move_on_after(TURN_AWAY_SECONDS), suppress(trio.BrokenResourceError):
            await stream.send_all("\r\n".join([*head, "", ""]).encode() + body)
            await stream.send_eof()
            # If bytes were left unread, the kernel would reset the connection, and the answer would be lost.
            while await stream.receive_some():
                pass
    finally:
        stream.socket.close()


def _watch_peer(sock: trio.socket.SocketType, seconds: float) -> None:
    """Makes the kernel close the connection of a peer that disappeared without closing it."""
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


def raise_file_limit() -> int:
    """Raises the process's limit of open files to the hard limit; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


async def serve(  # noqa: ASYNC128 - hands `task_status` on
    settings: Settings,
    *,
    catalog: Path | None = None,
    analysis: Analysis | None = None,
    warm: Callable[[], Any] = components.warm,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until stopped; `task_status` receives the port once requests are answered.

    The event `shutdown` stops the server; if it is None, SIGTERM and SIGINT do, and a second signal ends the
    server at once. `catalog` replaces the data folder's catalogue; `analysis` and `warm` replace the pin
    analysis.

    Raises `OSError` if the address cannot be used, and the errors of opening the records or the workers.
    """
    await trio.to_thread.run_sync(check_storage, settings)
    published = PublishedCatalog(settings) if settings.catalog_version and catalog is None else None
    if published is not None:
        catalog = await published.open()
    given_analysis = analysis
    if analysis is None:
        declare = partial(components.declare, settings, catalog=catalog)
        analysis = await trio.to_thread.run_sync(declare)
    metrics = Metrics(prometheus_client.CollectorRegistry())
    prometheus_client.ProcessCollector(registry=metrics.registry)
    sockets = await open_sockets(settings)
    async with AsyncExitStack() as stack:
        for listener in sockets:
            stack.push_async_callback(listener.aclose)
        tracing = await stack.enter_async_context(open_tracing(settings, "pinactors"))
        records = await RememberingRecords.open(settings)
        stack.push_async_callback(records.close)
        compute = await stack.enter_async_context(open_compute(settings, warm, metrics.supervision))
        kept = await trio.to_thread.run_sync(load, PartialUploadStore(settings.uploads_folder))
        registry = await stack.enter_async_context(
            open_registry(
                analysis,
                compute,
                records,
                settings,
                metrics,
                fetch_image=open_image_store(settings).fetch,
                resumed=unfinished(kept),
            )
        )
        app = create_app(
            registry, records, compute, settings, catalog=catalog, metrics=metrics.registry, tracing=tracing
        )
        await records.close_as_before(settings)
        services = app.extensions[EXTENSION]
        supervision = metrics.supervision
        stack.enter_context(full_collections_postponed())
        stack.enter_context(_watching_stalls(metrics))  # earlier stalls would delay no request
        async with trio.open_nursery() as nursery:
            await nursery.start(services.uploads.run, kept, metrics.supervision)
            if published is not None:

                async def use(folder: Path) -> None:
                    services.catalog_folder = folder
                    if given_analysis is None:
                        declare = partial(components.declare, settings, catalog=folder)
                        registry.use(await trio.to_thread.run_sync(declare, limiter=services.disk))

                check = partial(published.check_for_update, use)
                supervision.start(nursery, "latest catalogue", check, CHECK_SECONDS)
            await nursery.start(services.imports.run)
            keeper = Housekeeper(services.store, registry, records, settings)
            supervision.start(nursery, "housekeeper", keeper.run_round, SWEEP_SECONDS)
            collect = partial(collect_if_idle, lambda: registry.statistics()["sessions"])
            supervision.start(nursery, "garbage collection", collect, SWEEP_SECONDS)
            deliverer = Deliverer(records, settings, metrics.supervision, metrics.registry)
            registry.announcer.on_stored = deliverer.wake
            nursery.start_soon(deliverer.run, name="webhooks")
            await run(app, settings, metrics.supervision, sockets, registry.drain, shutdown, task_status)
            nursery.cancel_scope.cancel()
    log.info("stopped")


@contextmanager
def _watching_stalls(metrics: Metrics) -> Iterator[None]:
    instrument = StallInstrument(metrics)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)


async def run(
    app: Any,
    settings: Settings,
    supervision: Supervision,
    sockets: list[trio.SocketListener],
    drain: Callable[[], Awaitable[None]],
    shutdown: trio.Event | None,
    task_status: trio.TaskStatus[int],
) -> None:
    """Serves `app` on `sockets` until stopped; then `drain` waits for the sessions, within the grace
    period."""
    listener = Listener(app, settings, supervision)
    async with trio.open_nursery() as nursery:

        def end_at_once() -> None:
            listener.abort()
            nursery.cancel_scope.cancel()

        stop = trio.Event() if shutdown is None else shutdown
        if shutdown is None:
            await nursery.start(_handle_signals, stop, end_at_once)
        nursery.start_soon(listener.accept, sockets, nursery)
        port = port_of(sockets)
        log.info("listening", host=settings.host, port=port)
        task_status.started(port)
        await stop.wait()
        log.info("draining", connections=len(listener), seconds=settings.graceful_shutdown)
        await listener.stop()
        with trio.move_on_after(settings.graceful_shutdown):
            await drain()
            with trio.move_on_after(FLUSH_SECONDS):
                await listener.wait_quiet()
        end_at_once()


async def _handle_signals(
    stop: trio.Event, end_at_once: Callable[[], None], *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                end_at_once()
            stop.set()
