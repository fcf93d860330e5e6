"""Which session answers an upload: its own, or an equal one that came before."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
import trio

from pinactors.pipeline.course import completed
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records import Records

log = structlog.get_logger(__name__)

Name = tuple[str, ...]
"""What makes uploads equal: owner, session id and fingerprint; or owner and `Idempotency-Key`."""


@dataclass(slots=True)
class _Claim:
    """`answer` is None until `settled`, and stays None when the claim came to nothing."""

    fingerprint: str
    names: list[Name]
    answer: PacketLog | None = None
    settled: trio.Event = field(default_factory=trio.Event)


class Joins:
    """Names are claimed before anything is awaited, so that of two equal uploads at the same time one is
    first.

    A session that ended in `ERROR` is not joined: whoever sends again wants another try.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._claims: dict[Name, _Claim] = {}
        self._of: dict[str, _Claim] = {}

    async def settle(self, upload: Upload, own: PacketLog) -> PacketLog:
        """The log that answers the complete `upload`; `own` when there was none like it.

        Raises `PinactorsError` (`session_conflict`) for an `Idempotency-Key` that came with other images.
        """
        fingerprint = upload.fingerprint()
        names = _names(upload, fingerprint)
        while (earlier := self._earlier(names)) is not None:
            if earlier.fingerprint != fingerprint:
                raise _conflict()
            await earlier.settled.wait()
            if earlier.answer is not None:
                return earlier.answer
        claim = _Claim(fingerprint, names)
        self._claims.update(dict.fromkeys(names, claim))
        self._of[own.stream_id] = claim
        try:
            stored = await self._stored(upload, fingerprint)
            claim.answer = stored or own
        finally:
            claim.settled.set()
            if claim.answer is not own:
                self.forget(own.stream_id)
        return claim.answer

    def adopt(self, upload: Upload, own: PacketLog) -> None:
        """Claims for a session that was settled before this process began."""
        fingerprint = upload.fingerprint()
        claim = _Claim(fingerprint, _names(upload, fingerprint), own)
        claim.settled.set()
        self._claims.update(dict.fromkeys(claim.names, claim))
        self._of[own.stream_id] = claim

    def forget(self, stream_id: str) -> None:
        """Nobody joins that session any more from here; what the records know still counts."""
        claim = self._of.pop(stream_id, None)
        if claim is None:
            return
        for name in claim.names:
            if self._claims.get(name) is claim:
                del self._claims[name]
        if claim.answer is not None and claim.answer.stream_id == stream_id:
            claim.answer = None

    def _earlier(self, names: list[Name]) -> _Claim | None:
        return next((self._claims[name] for name in reversed(names) if name in self._claims), None)

    async def _stored(self, upload: Upload, fingerprint: str) -> PacketLog | None:
        """A session of the records. While they are away there is none: the analysis must go on."""
        stored = None
        try:
            stream_id, known = await self._find(upload, fingerprint)
            if stream_id is not None and known == fingerprint:
                stored = await self._records.stream(stream_id)
        except Exception as error:  # noqa: BLE001 - whatever the database says
            log.warning("earlier uploads unknown", session=upload.session_id, error=repr(error))
            return None
        if known != fingerprint:
            raise _conflict()
        if stored is None or not completed(stored.packets):
            return None
        return PacketLog(
            stored.stream_id, stored.session_id, stored.owner, packets=list(stored.packets), closed=True
        )

    async def _find(self, upload: Upload, fingerprint: str) -> tuple[str | None, str]:
        """The stream that had the same key, else one of the same upload, and its fingerprint."""
        if upload.idempotency_key is not None:
            found = await self._records.find_idempotent(upload.owner, upload.idempotency_key)
            if found is not None:
                return found
        same = await self._records.find_upload(upload.owner, upload.session_id, fingerprint)
        return same, fingerprint


def _names(upload: Upload, fingerprint: str) -> list[Name]:
    names: list[Name] = [("upload", upload.owner, upload.session_id, fingerprint)]
    if upload.idempotency_key is not None:
        names.append(("key", upload.owner, upload.idempotency_key))
    return names


def _conflict() -> PinactorsError:
    return PinactorsError(
        ErrorCode.SESSION_CONFLICT,
        "Idempotency-Key was used for other images",
        status=422,
    )
