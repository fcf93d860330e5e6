"""Receives an upload: writes it to the spool while its session relays it to a master."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from pinactors.api.errors import broken_off, not_stored
from pinactors.api.proxy.masters.requests import Head
from pinactors.api.proxy.relay.session import RelayedSession
from pinactors.api.proxy.relay.sessions import Sessions
from pinactors.api.proxy.relay.spool import Spool
from pinactors.api.uploads.mobile_upload import Source
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import PinactorsError


class RelayedSource(Source, Protocol):
    async def rest(self) -> None:
        """Reads and discards what follows the upload."""
        ...


async def receive(
    sessions: Sessions,
    head: Head,
    route: str,
    source: RelayedSource,
    meanwhile: Callable[[PacketLog], Awaitable[None]] | None = None,
) -> PacketLog:
    """Receives the upload and returns the log to answer from. A refusal by the master or the proxy ends the
    upload at once.

    `meanwhile` is called with the log as soon as there is one, also before the upload is in, and returns at
    the log's end. Raises `PinactorsError`.
    """
    session, spool = await sessions.open(head, route)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, source, session, spool, name="receive the upload")
            await session.phone.wait_answered()
            if meanwhile is not None and session.log is not None:
                await meanwhile(session.log)
            nursery.cancel_scope.cancel()
    finally:
        _break_off(session, spool)
    return await session.phone.answer()


async def receive_early(
    sessions: Sessions, head: Head, route: str, source: RelayedSource
) -> tuple[PacketLog, Callable[[], Awaitable[None]]]:
    """Returns the log as soon as there is one, and a function that receives the rest of the upload; that
    function raises no `PinactorsError`.

    Raises `PinactorsError` if the upload is refused before there is a log.
    """
    session, spool = await sessions.open(head, route)

    async def rest() -> None:
        try:
            await _write(source, session, spool)
        finally:
            _break_off(session, spool)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, source, session, spool, name="receive the upload")
            await session.phone.wait_answered()
            nursery.cancel_scope.cancel()  # between two pieces or while waiting: no bytes are lost
        return await session.phone.answer(), rest
    except BaseException:
        _break_off(session, spool)
        raise


def _break_off(session: RelayedSession, spool: Spool) -> None:
    """Fails the session if its upload is incomplete."""
    if not spool.complete:
        error = broken_off()
        session.fail(error)
        session.head.span.end(error)


async def _write(source: RelayedSource, session: RelayedSession, spool: Spool) -> None:
    """Writes the upload to the spool. Passes each `PinactorsError` and `OSError` to the session instead of
    raising it."""
    try:
        while not spool.complete and (data := await source.chunk()):
            await spool.write(data)
        spool.finish()
        session.head.span.end()
    except PinactorsError as error:
        session.fail(error)
        session.head.span.end(error)
    except OSError as error:
        session.fail(not_stored(error))
        session.head.span.end(error)
    await source.rest()
