"""The application calls of one connection: their inbox of messages, and the handling of their exceptions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog
import trio
from hypercorn.config import Config
from quart import Request

INFORMATIONAL = "pinactors.informational"
"""Name of the ASGI extension that sends an informational response: `await send(status, headers)`."""

INBOX_EVENTS = 4
"""Most events, of one socket read each, that are buffered for the application; then reading stops, and TCP
slows the sender down."""

log = structlog.get_logger(__name__)


async def inform(request: Request, status: int, fields: Mapping[str, str]) -> None:
    """Sends an informational response ahead of the answer to `request`, if its connection supports that."""
    send: Any = request.scope["extensions"].get(INFORMATIONAL)
    if send is not None and request.http_version == "1.1":
        await send(status, fields)


def _name_of(scope: Any) -> str:
    """The name of the call's task: method and path, with ids shortened, because reading a stream takes only
    its id."""
    path = re.sub(r"[^/]{16,}", lambda long: f"{long[0][:8]}...", scope["path"])
    return f"{scope.get('method', 'WebSocket')} {path[:100]}"


class Inbox:
    """Messages of the client for one application call, which awaits the inbox as ASGI's `receive`.

    The inbox is bounded; only a disconnect never waits for room. Parts of a body that have arrived are joined
    to one message. `wanted` is awaited whenever the application asks for more; `waited` returns the seconds
    that the connection has spent waiting for its client. `complete` is True once the whole request has
    arrived. `sent_at` is then an estimate, on trio's clock, of when the client had sent it: the time at which
    the call began plus the seconds spent waiting for the client since. The time for which this server was
    busy with what had already arrived is left out.
    """

    __slots__ = (
        "_begun",
        "_changed",
        "_closed",
        "_last",
        "_messages",
        "_waited",
        "_wanted",
        "complete",
        "sent_at",
    )

    def __init__(self, wanted: Callable[[], Awaitable[None]], waited: Callable[[], float]) -> None:
        self._wanted, self._waited = wanted, waited
        self._begun = trio.current_time() - waited()
        self.sent_at: float | None = None
        self._messages: list[Any] = []
        self._last: Any = None
        self._closed = self.complete = False
        self._changed = trio.lowlevel.ParkingLot()

    async def put(self, message: Any) -> None:
        if message["type"].endswith(".disconnect"):
            self._last = message
        else:
            while len(self._messages) >= INBOX_EVENTS and self._last is None and not self._closed:
                await self._changed.park()
            self.complete = message["type"] == "http.request" and not message.get("more_body", False)
            if self.complete:
                self.sent_at = self._begun + self._waited()
            if self._last is None and not self._closed:
                self._messages.append(message)
        self._changed.unpark_all()

    async def __call__(self) -> Any:
        await self._wanted()
        while not self._messages and self._last is None:
            await self._changed.park()
        message = self._messages.pop(0) if self._messages else self._last
        if self._messages and message["type"] == "http.request":
            pieces = [message, *self._messages]
            self._messages.clear()
            message = {**pieces[-1], "body": b"".join(piece["body"] for piece in pieces)}
        self._changed.unpark_all()
        return message

    def close(self) -> None:
        """Drops all further messages, so that a disconnect behind them is noticed. For calls that read no
        more."""
        self._closed = True
        self._messages.clear()
        self._changed.unpark_all()


class Calls:
    """The application calls of one connection, in place of Hypercorn's task group. An exception ends only its
    own call; calls that run when the client disconnects are cancelled with `nursery`.

    `wanted` is awaited whenever the application asks for more of the request; `waited` returns the seconds
    spent waiting for the client; `together` runs steps whose bytes are sent in one write; once `over()` is
    True, messages of the application are dropped; `inform` sends an informational response.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        wanted: Callable[[], Awaitable[None]],
        waited: Callable[[], float],
        together: Callable[[Iterable[Awaitable[None]]], Awaitable[None]],
        over: Callable[[], bool],
        inform: Callable[[int, Mapping[str, str]], Awaitable[None]],
    ) -> None:
        self._nursery = nursery
        self._inform = inform
        self._wanted, self._waited, self._together, self._over = wanted, waited, together, over

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Any
    ) -> Callable[[Any], Awaitable[None]]:
        inbox = Inbox(self._wanted, self._waited)
        scope["extensions"][INFORMATIONAL] = self._inform
        self._nursery.start_soon(self._call, app, scope, inbox, send, name=_name_of(scope))
        return inbox.put

    def spawn(self, function: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self._nursery.start_soon(function, *arguments)

    async def _call(self, app: Any, scope: Any, inbox: Inbox, send: Any) -> None:
        head: list[Any] = []

        async def send_on(message: Any) -> None:
            """Holds the head of an answer until the first piece of its body, which may be empty; ASGI demands
            the same."""
            if self._over():
                await trio.lowlevel.checkpoint()
            elif message is not None and message["type"] == "http.response.start":
                head.append(message)
            else:
                messages = [*head, message] if message is not None else [message]
                head.clear()
                await self._together(map(send, messages))

        try:
            await app(scope, inbox, send_on)
        except* Exception as group:
            # Last resort: this connection ends in the middle of its answer, the others continue.
            path = scope["raw_path"].decode("ascii", "replace")[:200]
            log.error("request crashed", path=path, exc_info=group)
        finally:
            inbox.close()
        await send_on(None)
