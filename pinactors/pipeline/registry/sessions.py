"""The registry of this process's sessions: opens, finds, cancels, drains and adopts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog
import trio

from pinactors.pipeline.declaration import Analysis
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.metrics import Metrics
from pinactors.pipeline.registry.admission import Admission
from pinactors.pipeline.registry.adoption import FetchImage, Recovery, recovery_of, upload_of
from pinactors.pipeline.registry.duplicates import Duplicates
from pinactors.pipeline.registry.finished import Finished
from pinactors.pipeline.registry.kept_logs import RETRY_SECONDS, KeptLogs, unavailable
from pinactors.pipeline.registry.peers import Peers
from pinactors.pipeline.registry.running import Running
from pinactors.pipeline.services import PipelineServices
from pinactors.pipeline.state import SessionState, replay
from pinactors.pipeline.upload import Upload
from pinactors.pipeline.webhooks import Announcer
from pinactors.protocol import PinactorsError, cancelled, new_stream_id, stream_not_found, stream_unavailable
from pinactors.records import Records
from pinactors.storage.logs.packet_logs import PacketLogs, StoredLog

_root = structlog.get_logger(__name__)


class Registry:
    """The only access to sessions. They run in the application's nursery, which gets none of their
    exceptions."""

    def __init__(
        self,
        services: PipelineServices,
        records: Records,
        logs: PacketLogs,
        nursery: trio.Nursery,
        peers: Peers | None = None,
        fetch_image: FetchImage | None = None,
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._peers = peers
        self._fetch_image = fetch_image
        self._duplicates = Duplicates(records, peers, self._find_claimed)
        self._logs = logs
        self._nursery = nursery
        self._admission = Admission(services.settings)
        self._unfinished: dict[tuple[str, str], tuple[Upload, PacketLog]] = {}
        self._finished = Finished(self._settings.replay, self._duplicates.forget, self._remove)
        self._kept = KeptLogs(records, logs, peers, self._settings.replay)
        self._running = Running(
            records,
            nursery,
            self._admission,
            self._duplicates,
            self._finished,
            peers,
            self._settings.disconnect,
        )

    @property
    def announcer(self) -> Announcer:
        return self._running.announcer

    @property
    def metrics(self) -> Metrics:
        return self._services.metrics

    async def open(self, upload: Upload) -> PacketLog:
        """Starts the session of `upload` and returns its log, which has its first packet already.

        For a complete upload, the log of an earlier session of the same photographs is returned instead, if
        there is one; for an incomplete one `answer` decides later. Raises `PinactorsError`: `overloaded`
        with `retry_after`, or `session_conflict`.
        """
        await trio.lowlevel.checkpoint()
        self._finished.prune()
        state = SessionState(new_stream_id(), upload.session_id, upload.owner, upload.idempotency_key)
        if self._services.analysis.demonstration:
            state.facts["demonstration"] = True
        log = PacketLog.of(state)
        decided = upload.complete and upload.error is None
        with self._counting_refusal(upload):
            self._admission.check_rate(upload.owner)
            if self._peers is not None and upload.owner:
                await self._admission.check_shared(upload.owner, self._peers.rows)
            if decided:
                answer = await self._duplicates.claim(upload, log)
                if answer is not log:
                    self._services.metrics.joined.inc()
                    return answer
            try:
                with_work = sum(session.has_work for session in self._running.sessions)
                self._admission.check_load(upload.owner, self._services.seconds_for(with_work))
            except PinactorsError:
                self._duplicates.forget(log.stream_id)
                raise
        stored = self._logs.create(state.stream_id, state.owner)
        self._running.start(upload, state, log, stored, log if decided else None, self._services)
        # Shielded: a caller that is cancelled here (its client has disconnected) would not know that there is
        # a session, which would wait for the upload for ever.
        with trio.CancelScope(shield=True):
            await log.wait_beyond(0)
        return log

    def use(self, analysis: Analysis) -> None:
        """Uses `analysis`, which has the same components, for sessions that begin from now on."""
        self._services = replace(self._services, analysis=analysis)

    async def may_join(self, upload: Upload) -> bool:
        """Whether `upload` may turn out to be a duplicate of an earlier one: it is then better not
        announced."""
        return await self._duplicates.possible(upload)

    async def answer(self, upload: Upload, log: PacketLog) -> PacketLog:
        """Waits until `upload`, whose own log is `log`, is complete and compared with earlier uploads, and
        returns the log to answer it from.

        If it is a duplicate its own session is dropped, and `log` closed without a terminal packet. The
        session of an announced upload continues instead, with the packets of the earlier one. Raises
        `PinactorsError` (`session_conflict`) if its `Idempotency-Key` was used for other photographs.
        """
        return await self._duplicates.answer(upload, log)

    async def find(self, stream_id: str, owner: str) -> PacketLog:
        """The log of a live or finished session.

        Raises `PinactorsError`: `stream_not_found`, also for another owner's stream, and if the session ended
        more than `replay` seconds ago; `overloaded` if the log can only be in a database that is
        unavailable.
        """
        self._finished.prune()
        log = self._in_memory(stream_id) or await self._kept.find(stream_id, owner)
        await trio.lowlevel.checkpoint()
        if log is None or log.owner != owner:
            raise stream_not_found()
        return log

    async def cancel(self, stream_id: str, owner: str) -> None:
        """Ends the session; its readers get `ERROR` (`cancelled`), which is in the log when this returns.

        If the session repeats an earlier one, both end, whichever masters run them. Does nothing if it has
        ended. Raises `PinactorsError`: as `find` does, and `overloaded` if another master ends the
        session and this one can no longer follow it.
        """
        log = await self.find(stream_id, owner)
        if not log.closed:
            with unavailable():
                await self._cancel(stream_id)
        await log.wait_closed()
        if self._peers is not None and not log.ended:
            raise stream_unavailable(
                "It ends on another server; cancel it again to be sure that it has ended", RETRY_SECONDS
            )

    def cancel_here(self, stream_id: str) -> None:
        """As `cancel`, for a client of another master. Does nothing if this master does not run the
        session."""
        if self._running.find(stream_id) is not None:
            self._nursery.start_soon(self._cancel_for_other_master, stream_id, name="cancel")

    async def _cancel_for_other_master(self, stream_id: str) -> None:
        try:
            await self._cancel(stream_id)
        except Exception as error:  # noqa: BLE001 - the task's boundary: no exception may reach the nursery
            # This master is told again as long as the session has not ended.
            _root.warning("session not cancelled yet", stream=stream_id[:8], error=repr(error))

    async def _cancel(self, stream_id: str) -> None:
        """Cancels a session or, if it repeats an earlier one, that one. Raises `OSError` if its master cannot
        be told."""
        await trio.lowlevel.checkpoint()
        session = self._running.find(stream_id)
        if session is not None and session.duplicate.earlier is not None:
            stream_id = session.duplicate.earlier.stream_id
            session = self._running.find(stream_id)
        if session is not None:
            session.cancel(cancelled())
        elif self._peers is not None:
            await self._peers.rows.cancel(stream_id)

    def is_crowded(self, owner: str, waiting: Counter[str]) -> bool:
        """Whether more than half of the sessions that all senders, or those with this key, may have under way
        are; or as many uploads, of which `waiting` has the number by owner."""
        return self._admission.is_crowded(owner, waiting)

    def photographs(self) -> set[str]:
        """Hashes of the photographs of running sessions, and of sessions that wait in memory for their
        record."""
        used = {
            image.sha256 for session in self._running.sessions for image in session.upload.images.values()
        }
        return used | self._services.recorder.photographs()

    async def logged_photographs(self) -> set[str]:
        """Hashes of the photographs that stored logs of any master refer to. Raises `OSError` if the logs
        cannot be read."""
        return await self._logs.photographs()

    def statistics(self) -> dict[str, Any]:
        """Numbers for health and metrics; `breakers` has only those that are not closed."""
        return {
            "accepting": self._admission.accepting,
            "sessions": len(self._running.sessions),
            "finished": len(self._finished),
            "outbox": self._services.recorder.waiting,
            "breakers": {
                name: str(breaker.state)
                for name, breaker in self._services.breakers.items()
                if breaker.state != "closed"
            },
            "compute": self._services.compute.statistics(),
            "sharedLog": self._peers is None or self._peers.rows.reachable,
        }

    async def drain(self) -> None:
        """Accepts no more uploads; returns when all sessions have ended, except those that wait for a
        resumable upload: the next process continues them."""
        self._admission.accepting = False
        _root.info("draining", sessions=len(self._running.sessions))
        await trio.lowlevel.checkpoint()
        while any(not s.upload.resumable or s.upload.complete for s in self._running.sessions):
            await self._running.wait_ended()

    def unfinished(self, owner: str, idempotency_key: str) -> tuple[Upload, PacketLog] | None:
        """Returns and forgets the upload, and its log, that an earlier process began to receive and whose
        adopted session waits for the rest; None if there is none."""
        return self._unfinished.pop((owner, idempotency_key), None)

    async def adopt(self, resumed: Container[tuple[str, str]] = ()) -> None:
        """Takes over the sessions of a killed process: unfinished ones run, finished ones are recorded.

        `resumed` has owner and `Idempotency-Key` of the sessions whose uploads continue too (see
        `unfinished`). Raises `OSError` if shared logs cannot be read.
        """
        if not self._admission.accepting:
            await trio.lowlevel.checkpoint()
            return
        for stored, entries in await self._logs.adopt():
            try:
                state = replay(entries)
            except ValueError as error:  # in another format than this program writes
                _root.error("stored log unreadable", log=repr(stored), error=repr(error))
                await stored.set_aside()
                continue
            recovery = recovery_of(state, stored.age, self._settings.replay)
            if state is None or recovery is Recovery.REMOVE:
                await stored.remove()
            elif recovery is Recovery.RESUME:
                await self._resume(stored, state, resumed)
            elif recovery is Recovery.READ_AGAIN:
                self._finished.keep_repeated(state.stream_id, stored, stored.age)
                await stored.finish()
            else:
                await self._services.recorder.later(state, stored)

    async def _resume(
        self, stored: StoredLog, state: SessionState, resumed: Container[tuple[str, str]]
    ) -> None:
        if not await self._is_free(stored):
            return
        try:
            upload = await upload_of(state, self._fetch_image, resumed)
        except OSError as error:  # the object store is unavailable: this or another master tries again
            _root.warning("session not adopted yet", session=state.session_id, error=repr(error))
            await stored.release()
            return
        followed = (
            self._peers.stop_following(state.stream_id, state.packets) if self._peers is not None else None
        )
        log = followed or PacketLog.of(state)
        answer: PacketLog | None = None
        if upload.resumable:
            self._unfinished[upload.owner, upload.idempotency_key or ""] = (upload, log)
        elif upload.complete and upload.error is None and not state.repeats:
            answer = await self._answer_again(upload, log)
        self._running.start(upload, state, log, stored, answer, self._services)
        _root.info("session adopted", session=state.session_id, packets=len(log.packets))
        if stored.cancelled:
            self.cancel_here(state.stream_id)

    async def _answer_again(self, upload: Upload, log: PacketLog) -> PacketLog | None:
        """The log that answers an adopted upload: an earlier session's if the upload is a duplicate, which
        the process that ended had not found out yet. None if the upload is refused."""
        try:
            answer = await self._duplicates.claim(upload, log)
        except PinactorsError as conflict:
            upload.fail(conflict)
            return None
        upload.announced = answer is not log  # its client may have received packets, which must stay valid
        return answer

    async def _is_free(self, stored: StoredLog) -> bool:
        """Waits until no session of this process has the stream of `stored`; returns False if one continues
        without a log. Both follow an outage of the database: the session has given its log up and is about to
        end, or its log has failed."""
        await trio.lowlevel.checkpoint()
        while (session := self._running.find(stored.stream_id)) is not None:
            if not session.is_kept:
                await stored.remove()
                return False
            await self._running.wait_ended()
        return True

    def _remove(self, stored: StoredLog) -> None:
        self._nursery.start_soon(stored.remove, name=f"remove {stored!r}")

    def _in_memory(self, stream_id: str) -> PacketLog | None:
        if (session := self._running.find(stream_id)) is not None:
            return session.log
        log = self._finished.find(stream_id)
        return log or (self._peers.find(stream_id) if self._peers is not None else None)

    async def _find_claimed(self, stream_id: str, owner: str) -> PacketLog | None:
        """The log of a session that another master has claimed; None if there is none any more."""
        try:
            return await self.find(stream_id, owner)
        except PinactorsError:
            return None

    @contextmanager
    def _counting_refusal(self, upload: Upload) -> Iterator[None]:
        """Counts a refusal, and ends the upload's span with its error."""
        try:
            yield
        except PinactorsError as error:
            self._services.metrics.refused.labels(str(error.status)).inc()
            upload.span.end(error)
            raise
