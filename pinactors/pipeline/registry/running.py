"""The sessions that run in this process: starts, supervises and retires them."""

from __future__ import annotations

import contextvars
from collections.abc import Collection
from functools import partial

import structlog
import trio

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry.admission import Admission
from pinactors.pipeline.registry.duplicates import Duplicates
from pinactors.pipeline.registry.finished import Finished
from pinactors.pipeline.registry.peers import Peers
from pinactors.pipeline.services import PipelineServices
from pinactors.pipeline.session import Session
from pinactors.pipeline.state import SessionState
from pinactors.pipeline.upload import Upload
from pinactors.pipeline.webhooks import Announcer
from pinactors.protocol import cancelled
from pinactors.records import Records
from pinactors.storage.logs.packet_logs import StoredLog

_root = structlog.get_logger(__name__)


class Running:
    """The running sessions, each in a task of `nursery`, which gets none of their exceptions.

    `disconnect` is the setting: with `cancel`, a session ends when its last reader leaves.
    """

    def __init__(
        self,
        records: Records,
        nursery: trio.Nursery,
        admission: Admission,
        duplicates: Duplicates,
        finished: Finished,
        peers: Peers | None,
        disconnect: str,
    ) -> None:
        self.announcer = Announcer(records)
        self._nursery = nursery
        self._admission = admission
        self._duplicates = duplicates
        self._finished = finished
        self._peers = peers
        self._disconnect = disconnect
        self._sessions: dict[str, Session] = {}
        self._ended = trio.lowlevel.ParkingLot()
        self._context = contextvars.copy_context()

    @property
    def sessions(self) -> Collection[Session]:
        return self._sessions.values()

    def find(self, stream_id: str) -> Session | None:
        return self._sessions.get(stream_id)

    async def wait_ended(self) -> None:
        """Waits until another session has ended."""
        await self._ended.park()

    def start(
        self,
        upload: Upload,
        state: SessionState,
        log: PacketLog,
        stored: StoredLog,
        answer: PacketLog | None,
        services: PipelineServices,
    ) -> None:
        """Starts a session with `services`; `answer` is the log that answers the upload, if that is known."""
        duplicate = self._duplicates.opened(upload, log, answer)
        session = Session(upload, state, log, stored, duplicate, services)
        if self._disconnect == "cancel":
            log.on_abandoned(lambda: session.cancel(cancelled("Its last reader disconnected")))
        self._sessions[state.stream_id] = session
        self._admission.enter(state.owner)
        # Not in the context of the request that opened it: the session would keep that context in memory.
        self._context.run(
            partial(self._nursery.start_soon, self._supervise, session, stored, name=repr(session))
        )
        self._context.run(partial(self._nursery.start_soon, self._announce, session, name="events"))

    async def _supervise(self, session: Session, stored: StoredLog) -> None:
        """Runs a session and catches every exception of it; a cancellation leaves its log for adoption."""
        try:
            with session.span:
                await session.run()
        except* Exception as group:  # noqa: BLE001 - the last boundary: no exception may reach the nursery
            _root.exception("session lost", session=session.state.session_id, exc_info=group)
        finally:
            if not session.taken_over:
                session.log.close()  # whatever the session left out, no reader waits for it
            self._retire(session, stored)
            with trio.CancelScope(shield=True):
                await stored.release()

    async def _announce(self, session: Session) -> None:
        try:
            await self.announcer.follow(session)
        except Exception as error:  # noqa: BLE001 - the task's boundary: no session fails for its webhook
            _root.exception("events lost", session=session.state.session_id, exc_info=error)

    def _retire(self, session: Session, stored: StoredLog) -> None:
        log = session.log
        session.duplicate.decide_for(log)
        log.on_abandoned(None)
        self._duplicates.ended(log.stream_id)
        del self._sessions[log.stream_id]
        self._admission.leave(log.owner)
        if session.taken_over:
            self._end_taken_over(log, stored)
        elif log.ended:
            if session.state.repeats:
                self._finished.keep_repeated(log.stream_id, stored)
            self._finished.add(log)
        else:
            self._duplicates.forget(log.stream_id)
        self._ended.unpark_all()

    def _end_taken_over(self, log: PacketLog, stored: StoredLog) -> None:
        """Handles the end of a session here that another master has taken over."""
        self._duplicates.forget(log.stream_id)
        if self._peers is not None:
            self._peers.follow_taken_over(log, stored.length)
        else:
            log.close()
