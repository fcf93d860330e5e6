"""The proxy's application, its routes, and `serve_proxy`, which runs the whole proxy."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any, cast

import msgspec
import prometheus_client
import structlog
import trio
from quart import Blueprint, Response, g, request
from quart.wrappers.response import ResponseBody

from pinactors.api import openapi
from pinactors.api.answers import DiskState, ProxyHealth, empty
from pinactors.api.app import Application
from pinactors.api.http.body import BodyReader, sent_at
from pinactors.api.operations import (
    FEEDBACK_BYTES,
    TOKEN_FIELDS,
    json_answer,
    live,
    metrics_answer,
    object_in,
    readiness,
)
from pinactors.api.proxy import resumable, websocket
from pinactors.api.proxy.forward import forward
from pinactors.api.proxy.masters import routing
from pinactors.api.proxy.masters.fleet import Masters, describe
from pinactors.api.proxy.masters.requests import Head
from pinactors.api.proxy.metrics import ProxyMetrics
from pinactors.api.proxy.receiving import receive, receive_early
from pinactors.api.proxy.relay.keys import owner_of
from pinactors.api.proxy.relay.outlet import RelayedLog
from pinactors.api.proxy.relay.services import ProxyServices
from pinactors.api.proxy.relay.sessions import Sessions, open_sessions
from pinactors.api.proxy.state import EXTENSION, Proxy, current_proxy, key_in
from pinactors.api.server import open_sockets, run
from pinactors.api.services import DISK_THREADS
from pinactors.api.streams import durable_streams
from pinactors.api.streams.framings import choose
from pinactors.api.streams.pieces import Pieces
from pinactors.api.streams.reader import Overlapping, respond, wants_early
from pinactors.api.uploads.mobile_upload import content_type, idempotency_key
from pinactors.api.uploads.resumable import draft_headers
from pinactors.logs import begin_logged
from pinactors.protocol import check_session_id, new_stream_id, none_if_missing, timestamp
from pinactors.settings import Settings
from pinactors.tracing import open_tracing

blueprint = Blueprint("proxy", __name__)
log = structlog.get_logger(__name__)


def create_proxy(services: ProxyServices, sessions: Sessions) -> Application:
    """Creates the application. The caller opens and closes `sessions`."""
    app = Application.bare()
    app.extensions[EXTENSION] = Proxy(services, sessions)
    app.register_blueprint(blueprint)
    app.register_blueprint(websocket.blueprint)
    app.register_blueprint(resumable.blueprint)
    app.register_blueprint(openapi.blueprint_of("proxy"))
    return app


async def serve_proxy(  # noqa: ASYNC128 - `run` calls it
    settings: Settings,
    *,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `shutdown` or a signal, as `api.server.serve` does; `task_status` receives the port.

    Raises `ValueError` for invalid masters, `OSError` if the address or the data folder cannot be used.
    """
    masters = Masters.of(settings)
    metrics = ProxyMetrics(prometheus_client.CollectorRegistry())
    prometheus_client.ProcessCollector(registry=metrics.registry)
    disk = trio.CapacityLimiter(DISK_THREADS)
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_tracing(settings, "pinactors-proxy"))
        services = ProxyServices(masters, settings, metrics, settings.proxy_folder, disk, tracing=tracing)
        sessions = await stack.enter_async_context(open_sessions(services))
        metrics.watch(masters.all, lambda: float(len(sessions)))
        app = create_proxy(services, sessions)
        sockets = await open_sockets(settings)
        await run(app, settings, metrics.supervision, sockets, sessions.drain, shutdown, task_status)
    log.info("stopped")


@blueprint.post("/mobile-upload", strict_slashes=False)
@blueprint.post("/api/proxy/mobile-upload", strict_slashes=False)
async def relay_upload() -> Response:
    """Relays an upload. Refuses what the proxy can check by itself before the body is read; the master checks
    the rest."""
    proxy = current_proxy()
    settings = proxy.services.settings
    upload_request = draft_headers.read(request.headers)
    can_inform = upload_request.can_be_informed(settings.informational_responses)
    if upload_request.resumes(can_inform):
        return await resumable.create(upload_request, can_inform)
    # Web clients of the /api/proxy path expect a single object, also on phones.
    framing = choose(request, by_agent=not request.path.startswith("/api/proxy/"))
    content_type(request)
    api_key, key = key_in(request.headers), idempotency_key(request)
    reader = BodyReader(request, settings, settings.max_request_bytes)
    named = none_if_missing(request.headers.get("x-session-id"))
    if named:
        g.session_id = check_session_id(named, "x-session-id")
    early = bool(named) and wants_early(request, framing)
    start = b"" if early else await _start(reader)
    session_id = routing.session_id_in(start) or named
    if session_id:
        g.session_id = session_id
    kind, size = request.headers["Content-Type"], request.content_length
    span = begin_logged(proxy.services.tracing, request, "upload")
    head = Head(kind, size, api_key, key or new_stream_id(), named, early=early, span=span)
    route = routing.route_of(owner_of(api_key), key, session_id, start)
    body = _Request(reader, start)
    if early:
        answer, rest = await receive_early(proxy.sessions, head, route, body)
    else:
        answer = await receive(proxy.sessions, head, route, body)
    response = await respond(request, framing, answer, settings, since=sent_at(request))
    if isinstance(answer, RelayedLog):
        _measure(response, answer, proxy.services.metrics)
    if early:
        response.response = Overlapping(response.response, rest)
    return response


class _Request:
    """The request's body, beginning with the bytes that were read already to choose a master."""

    def __init__(self, reader: BodyReader, start: bytes) -> None:
        self._reader, self._start = reader, start

    async def chunk(self) -> bytes:
        start, self._start = self._start, b""
        return start or await self._reader.chunk()

    async def rest(self) -> None:
        """Does nothing: the connection discards the rest of the body."""
        await trio.lowlevel.checkpoint()


async def _start(reader: BodyReader) -> bytes:
    start = b""
    while len(start) < routing.HINT_BYTES and (data := await reader.chunk()):
        start += data
    return start


class Measured(Pieces):
    """Measures when packets have been handed to a phone's connection, which is when it requests the next
    piece."""

    def __init__(self, body: Any, log: RelayedLog, metrics: ProxyMetrics) -> None:
        self._body, self._log, self._metrics = body, log, metrics
        self._seen = self._handed = 0

    async def open(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._body)

    async def __anext__(self) -> bytes:
        now = trio.current_time()
        for arrived in self._log.arrivals[self._handed : self._seen]:
            self._metrics.added.observe(now - arrived)
        self._handed = self._seen
        data = await self._body.__anext__()
        self._seen = len(self._log.arrivals)
        return cast(bytes, data)


def _measure(response: Response, answer: RelayedLog, metrics: ProxyMetrics) -> None:
    streamed = response.timeout is None and isinstance(response.response, ResponseBody)
    if streamed and not answer.measured:
        answer.measured = True
        response.response = Measured(response.response, answer, metrics)


@blueprint.get("/streams/<stream_id>")
async def get_stream(stream_id: str) -> Response:
    proxy = current_proxy()
    found = await proxy.sessions.find(stream_id, key_in(request.headers))
    if request.method == "HEAD":
        response = durable_streams.describe(found)
    else:
        response = await durable_streams.read(request, found, proxy.services.settings)
    return await durable_streams.protect(response)


@blueprint.delete("/streams/<stream_id>")
async def cancel_stream(stream_id: str) -> Response:
    await current_proxy().sessions.cancel(stream_id, key_in(request.headers))
    return await durable_streams.protect(empty(204))


blueprint.add_url_rule("/livez", view_func=live)


@blueprint.get("/readyz")
async def ready() -> Response:
    """503 unless a master is up, the spool folder has room and uploads are accepted."""
    proxy = current_proxy()
    return readiness(
        {
            "masters": any(master.state == "up" for master in proxy.services.masters.all),
            "disk": await proxy.services.checks.disk([proxy.services.folder]),
            "accepting": proxy.sessions.accepting,
        }
    )


@blueprint.get("/health")
@blueprint.get("/api/proxy/health")
async def health() -> Response:
    """`ok`; `degraded` if a master is not up or the disk has no room; 503 and `unavailable` if no master is
    up."""
    proxy = current_proxy()
    states = describe(proxy.services.masters.all)
    up = sum(state.state == "up" for state in states)
    room = await proxy.services.checks.disk([proxy.services.folder])
    works = room and up == len(states)
    response = json_answer(
        ProxyHealth(
            "ok" if works else "degraded" if up else "unavailable",
            "pinactors-proxy",
            timestamp(),
            len(proxy.sessions),
            states,
            DiskState(room),
        )
    )
    if not up:
        response.status_code = 503
    return response


@blueprint.get("/metrics")
async def metrics() -> Response:
    return metrics_answer(current_proxy().services.metrics.registry)


@blueprint.post("/tokens")
async def make_token() -> Response:
    """Makes a token at a master. Replaces the stream id if the session has another one at its master."""
    proxy = current_proxy()
    api_key = key_in(request.headers)
    body = await BodyReader(request, proxy.services.settings, FEEDBACK_BYTES).whole()
    fields = object_in(body, *TOKEN_FIELDS) if body.strip() else {}
    named = fields.get("streamId")
    known = proxy.sessions.upstream_of(named) if isinstance(named, str) else None
    if known is None:
        return await forward(request, proxy.services, owner_of(api_key) or request.path, body)
    master, fields["streamId"] = known
    body = json.dumps({name: fields[name] for name in TOKEN_FIELDS if name in fields}).encode()
    response = await forward(request, proxy.services, owner_of(api_key), body, [master])
    if response.status_code == 200:
        answer = object_in(await response.get_data(as_text=False))
        response.set_data(msgspec.json.encode({**answer, "streamId": named}))
    return response


@blueprint.get("/")
@blueprint.get("/static/<path:_>")
@blueprint.get("/worker.js")
@blueprint.get("/catalog")
@blueprint.get("/catalog/<path:_>")
@blueprint.get("/api/records")
@blueprint.get("/api/records/<path:_>")
@blueprint.get("/docs/<path:_>")
@blueprint.get("/example/<path:_>")
@blueprint.get("/results/<path:_>")
@blueprint.get("/api/mobile/<path:_>")
@blueprint.post("/api/mobile/<path:_>")
async def small(_: str = "") -> Response:
    api_key = key_in(request.headers)
    return await forward(request, current_proxy().services, owner_of(api_key) or request.path)
