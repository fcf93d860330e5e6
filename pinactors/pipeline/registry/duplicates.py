"""Finds the earlier session of a duplicate upload: in this process, in the records, or on other masters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import structlog
import trio

from pinactors.pipeline.duplicate_check import DuplicateCheck
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry.peers import Peers
from pinactors.pipeline.upload import Upload, fingerprint_of
from pinactors.protocol import key_reused
from pinactors.protocol.merge import completed
from pinactors.records import Records, RecordsUnavailable

log = structlog.get_logger(__name__)

ClaimName = tuple[str, ...]
"""A key that duplicate uploads share: owner, session id and fingerprint; or owner and `Idempotency-Key`."""


@dataclass(slots=True)
class _Claim:
    """The claim of the session `stream_id` to `names`: it answers later uploads with one of them. `answer` is
    None until `decided`, and stays None if the claim failed. Uploads that waited for a claim may still refer
    to it when it is `forgotten`."""

    stream_id: str
    fingerprint: str
    names: list[ClaimName]
    answer: PacketLog | None = None
    decided: trio.Event = field(default_factory=trio.Event)
    forgotten: bool = False


class Duplicates:
    """The names that sessions have claimed. Names are claimed before anything is awaited, so that of two
    simultaneous uploads of the same photographs exactly one is first.

    A session that ended in `ERROR` answers no other upload, because sending again is a request to try again.
    """

    def __init__(
        self,
        records: Records,
        peers: Peers | None,
        find: Callable[[str, str], Awaitable[PacketLog | None]],
    ) -> None:
        """`find` returns the log of another master's session for its stream id and owner."""
        self._records = records
        self._peers = peers
        self._find_log = find
        self._claims: dict[ClaimName, _Claim] = {}
        self._claims_by_stream: dict[str, _Claim] = {}
        self._checks: WeakKeyDictionary[Upload, DuplicateCheck] = WeakKeyDictionary()
        self._under_way: dict[str, Upload] = {}

    def opened(self, upload: Upload, own: PacketLog, answer: PacketLog | None) -> DuplicateCheck:
        """Registers the session of `upload` and returns its duplicate check; `answer` is the log that answers
        the upload, if that is known."""
        check = DuplicateCheck(own, self.claim)
        if answer is not None:
            check.decide_for(answer)
        self._checks[upload] = check
        self._under_way[own.stream_id] = upload
        return check

    def ended(self, stream_id: str) -> None:
        """Marks the session as ended; it answers later uploads until it is forgotten."""
        self._under_way.pop(stream_id, None)

    async def answer(self, upload: Upload, log: PacketLog) -> PacketLog:
        """Waits for the decision and returns the log that answers `upload`, whose own log is `log`.

        Raises `PinactorsError` (`session_conflict`) if its `Idempotency-Key` was used for other
        photographs.
        """
        check = self._checks.get(upload)
        if check is None:  # the upload arrived complete, and an earlier session answered it at once
            await trio.lowlevel.checkpoint()
            return log
        return await check.wait(upload)

    async def possible(self, upload: Upload) -> bool:
        """Whether the incomplete `upload` may turn out to be a duplicate: a running or successful session has
        the same session id, named by its client, or the same `Idempotency-Key`."""
        session_id, key = upload.session_id if upload.named else None, upload.idempotency_key
        for other in self._under_way.values():
            same = other.session_id == session_id or (key and other.idempotency_key == key)
            if same and other.owner == upload.owner and other is not upload:
                await trio.lowlevel.checkpoint()
                return True
        try:
            return await self._records.has_upload(upload.owner, session_id, key)
        except RecordsUnavailable:
            return False

    async def claim(self, upload: Upload, own: PacketLog) -> PacketLog:
        """The log that answers the complete `upload`; `own` if there is no earlier session.

        Raises `PinactorsError` (`session_conflict`) if its `Idempotency-Key` was used for other photographs.
        """
        fingerprint = fingerprint_of(upload.images)
        names = _claim_names(upload, fingerprint)
        while (earlier := self._earlier_claim(names)) is not None:
            if earlier.fingerprint != fingerprint:
                raise key_reused(upload.key_field)
            await earlier.decided.wait()
            answer = earlier.answer
            if answer is None or _has_failed(answer):
                self._forget(earlier)
            else:
                if upload.idempotency_key is not None and names[-1] not in self._claims:
                    await self._keep_key(upload, answer.stream_id, fingerprint)
                self._add_names(earlier, names)
                return answer
        claim = _Claim(own.stream_id, fingerprint, names)
        self._claims.update(dict.fromkeys(names, claim))
        self._claims_by_stream[own.stream_id] = claim
        stored = None
        try:
            stored = await self._find_recorded(upload, fingerprint, own)
            claim.answer = stored or await self._find_on_other_masters(upload, names, fingerprint, own) or own
        finally:
            claim.decided.set()
            if claim.answer is not own:
                self._forget(claim)
        if stored is not None and upload.idempotency_key is not None:
            await self._keep_key(upload, stored.stream_id, fingerprint)
        return claim.answer

    def forget(self, stream_id: str) -> None:
        """Removes the claims of a session, which then answers no later upload from memory. A record of the
        session still does."""
        claim = self._claims_by_stream.get(stream_id)
        if claim is not None:
            self._forget(claim)
            claim.answer = None

    def _forget(self, claim: _Claim) -> None:
        claim.forgotten = True
        for name in claim.names:
            if self._claims.get(name) is claim:
                del self._claims[name]
        if self._claims_by_stream.get(claim.stream_id) is claim:
            del self._claims_by_stream[claim.stream_id]

    def _add_names(self, claim: _Claim, names: list[ClaimName]) -> None:
        """Adds `names` to a claim: an `Idempotency-Key` that came with a duplicate identifies these
        photographs from now on. A forgotten claim answers no later upload, whatever its name."""
        if claim.forgotten:
            return
        for name in names:
            if name not in self._claims:
                self._claims[name] = claim
                claim.names.append(name)

    async def _keep_key(self, upload: Upload, stream_id: str, fingerprint: str) -> None:
        """Stores the key of the duplicate `upload` in the records, so that it identifies these photographs
        there too. If the records are unavailable only this process has it. Raises a conflict if the records
        have the key for other photographs."""
        owner, key = upload.owner, upload.idempotency_key
        assert key is not None
        try:
            known = await self._records.find_idempotent(owner, key)
            if known is None:
                await self._records.keep_later_key(owner, key, stream_id, fingerprint)
        except Exception as error:  # noqa: BLE001 - whatever the database says
            log.warning("key of a duplicate not kept", stream=stream_id[:8], error=repr(error))
            return
        if known is not None and known[1] != fingerprint:
            raise key_reused(upload.key_field)

    def _earlier_claim(self, names: list[ClaimName]) -> _Claim | None:
        return next((self._claims[name] for name in reversed(names) if name in self._claims), None)

    async def _find_recorded(self, upload: Upload, fingerprint: str, own: PacketLog) -> PacketLog | None:
        """The log of a recorded session, other than `own`, that answers `upload`; None if there is none. Also
        None if the records are unavailable, so that the analysis can proceed."""
        stored = None
        try:
            stream_id, known = await self._find(upload, fingerprint)
            if stream_id not in (None, own.stream_id) and known == fingerprint:
                stored = await self._records.stream(stream_id)
        except Exception as error:  # noqa: BLE001 - whatever the database says
            log.warning("earlier uploads unknown", session=upload.session_id, error=repr(error))
            return None
        if known != fingerprint:
            raise key_reused(upload.key_field)
        if stored is None or not completed(stored.packets):
            return None
        return PacketLog.of(stored, closed=True)

    async def _find_on_other_masters(
        self, upload: Upload, names: list[ClaimName], fingerprint: str, own: PacketLog
    ) -> PacketLog | None:
        """The log of another master's session that claimed one of `names` first; None if there is none or the
        database is unavailable."""
        if self._peers is None:
            return None
        try:
            while (earlier := await self._peers.rows.claim(names, fingerprint, own.stream_id)) is not None:
                stream_id, known = earlier
                if known != fingerprint:
                    raise key_reused(upload.key_field)
                answer = await self._find_log(stream_id, upload.owner)
                if answer is not None and not _has_failed(answer):
                    return answer
                await self._peers.rows.forget(stream_id)
        except OSError as error:
            log.warning("other masters' uploads unknown", session=own.session_id, error=repr(error))
        return None

    async def _find(self, upload: Upload, fingerprint: str) -> tuple[str | None, str]:
        """The recorded stream with the same key, or else with the same session id and photographs, and its
        fingerprint."""
        if upload.idempotency_key is not None:
            found = await self._records.find_idempotent(upload.owner, upload.idempotency_key)
            if found is not None:
                return found
        same = await self._records.find_upload(upload.owner, upload.session_id, fingerprint)
        return same, fingerprint


def _claim_names(upload: Upload, fingerprint: str) -> list[ClaimName]:
    names: list[ClaimName] = [("upload", upload.owner, upload.session_id, fingerprint)]
    if upload.idempotency_key is not None:
        names.append(("key", upload.owner, upload.idempotency_key))
    return names


def _has_failed(log: PacketLog) -> bool:
    """Whether the session has ended without `ANALYSIS_COMPLETE`, so that it answers no other upload."""
    return log.closed and not completed(log.packets)
