"""Events for webhooks: each packet of a session is stored as a delivery in the database when it appears.

The transaction that stores a session's record adds the deliveries that are missing, so that none is lost if
the process is killed in between. `pinactors.webhooks` sends the deliveries.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from pinactors.backoff import Backoff
from pinactors.pipeline.session import Session
from pinactors.protocol import PinactorsError
from pinactors.records import Records, RecordsUnavailable

PAUSES = Backoff(0.2, 5.0)
"""Pauses between attempts while the database is unavailable."""

log = structlog.get_logger(__name__)


class Announcer:
    """Stores an event for each packet of the sessions that have a webhook. `on_stored` is called after each
    write."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.on_stored: Callable[[], None] = lambda: None

    async def follow(self, session: Session) -> None:
        """Returns when the last event of `session` is stored or, if the database is unavailable, is left to
        the session's record, which is stored later with its events.

        A session that repeats an earlier one's packets has no events: the earlier session has them, if it has
        a webhook.
        """
        try:
            await session.duplicate.wait(session.upload)
        except PinactorsError:  # the upload is refused, so that there are no events
            return
        if session.duplicate.earlier is not None or session.state.repeats:
            return
        if not session.upload.webhook and not session.state.owner:
            return
        pauses = iter(PAUSES)
        while True:
            try:
                await self._store(session)
                return
            except RecordsUnavailable as error:
                log.warning("event not stored yet", session=session.state.session_id, error=repr(error))
                if session.log.closed:
                    return
            await trio.sleep(next(pauses))

    async def _store(self, session: Session) -> None:
        """Stores the events of all packets from the first on; some may be stored already. Raises
        `RecordsUnavailable`."""
        state, webhook = session.state, session.upload.webhook
        if not webhook and not await self._records.has_webhook(state.owner):
            return
        position = 0
        while position < len(session.log.packets) or not session.log.closed:
            await session.log.wait_beyond(position)
            if session.taken_over:
                return
            first, position = position, len(session.log.packets)
            packets, made_by = state.packets[first:position], state.components[first:position]
            await self._records.add_deliveries(state.stream_id, state.owner, webhook, packets, made_by, first)
            self.on_stored()
