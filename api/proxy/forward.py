"""Forwards small requests that every master answers alike: the page, its files, feedback."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from quart import Request, Response

from pinactors.api.http.body import BodyReader
from pinactors.api.operations import FEEDBACK_BYTES
from pinactors.api.proxy.masters.fleet import Master, in_turn
from pinactors.api.proxy.masters.requests import connection_to, key_headers
from pinactors.api.proxy.relay.services import HOP, ProxyServices
from pinactors.api.proxy.state import key_in
from pinactors.api.streams.reader import SILENCE_SECONDS
from pinactors.client.connecting import Broken, NotPinactors, Unreachable
from pinactors.client.http import Body, HttpAnswer
from pinactors.logs import begin_logged
from pinactors.protocol import busy
from pinactors.tracing import SpanKind

PASSED_ON = ("Accept", "If-None-Match", "User-Agent")
KEPT_BACK = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"),
        *("date", "server"),
    }
)
"""Header fields of an answer that are not forwarded: they belong to one connection (RFC 9110, 7.6.1), or the
proxy sets them itself."""


async def forward(
    request: Request,
    services: ProxyServices,
    route: str,
    content: bytes | None = None,
    masters: Sequence[Master] | None = None,
) -> Response:
    """Returns the answer of the first master that gives one. Raises `PinactorsError` if none does.

    `content` is the request's body if it was read already; `masters` replaces the order of all masters by
    `route`.

    After a 404 or 503 the next master is asked: it may have the record or file. If all answer so, the last
    answer is returned; if some do not answer, nothing is called unknown. A master that hangs leaves the
    others time to answer before the client gives up.
    """
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    span = begin_logged(services.tracing, request, HOP, SpanKind.CLIENT)
    headers |= span.correlation
    headers |= key_headers(key_in(request.headers))
    body = None
    if request.method == "POST":
        if content is None:
            content = await BodyReader(request, services.settings, FEEDBACK_BYTES).whole()
        body = Body(request.headers.get("Content-Type", ""), len(content), [content])
    path = request.scope["raw_path"].decode("ascii")
    if query := request.query_string.decode("ascii"):
        path += f"?{query}"
    found: Response | None = None
    all_answered = True
    with span:
        for master, seconds in in_turn(masters or services.masters.order(route), SILENCE_SECONDS):
            answer: Response | None = None
            with trio.move_on_after(seconds):
                answer = await _ask(master, request.method, path, headers, body, services)
            found, all_answered = answer or found, all_answered and answer is not None
            if answer is not None and answer.status_code not in (404, 503):
                return answer
    if found is None or (found.status_code == 404 and not all_answered):
        raise busy("A server that may have it does not answer now")
    return found


async def _ask(
    master: Master,
    method: str,
    path: str,
    headers: dict[str, str],
    body: Body | None,
    services: ProxyServices,
) -> Response | None:
    try:
        async with connection_to(master, services.settings.proxy_silence) as connection:
            answer = await connection.request(method, path, headers, body)
            content = await answer.read()
    except (Broken, NotPinactors) as error:
        if isinstance(error, Unreachable):
            services.masters.unreachable(master)
        else:
            services.masters.failed(master, error)
        return None
    return passed_back(answer, content)


def passed_back(answer: HttpAnswer, content: bytes) -> Response:
    """A response with a master's status and header fields, and with `content`."""
    response = Response(content, answer.status)
    response.headers.clear()
    response.headers.extend(
        (name, value) for name, value in answer.headers.items() if name.lower() not in KEPT_BACK
    )
    if content:
        response.headers["Content-Length"] = str(len(content))
    return response
