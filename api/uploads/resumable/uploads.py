"""The partial uploads of this process: creates, finds, receives and removes them."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from functools import partial

import msgspec
import structlog
import trio

from pinactors.api.errors import one_error
from pinactors.api.services import Services
from pinactors.api.uploads.resumable.refusals import Withdrawn, not_found
from pinactors.api.uploads.resumable.upload import Description, PartialUpload
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError, busy, limit_reached
from pinactors.storage.partial_uploads import PartialUploadStore, StoredUpload
from pinactors.supervision import Supervision

SWEEP_SECONDS = 5.0
"""Longest pause between two searches for abandoned uploads."""

CROWDED_EXPIRY_SECONDS = 60.0
"""Time without a byte after which an upload is abandoned while there are more than half as many uploads or
sessions as all senders, or those with its key, may have under way: one sender's idle uploads must not keep
others out for `upload_expiry`."""

log = structlog.get_logger(__name__)

Receive = Callable[[PartialUpload], Awaitable[PacketLog]]
"""A receiver: reads an upload to its end and returns the packet log that answers it. Raises
`PinactorsError`."""


class PartialUploads:
    """All partial uploads of this process. Receivers run in their own nursery, which their exceptions never
    reach.

    `receivers` maps each protocol to its receiver.
    """

    def __init__(self, services: Services, store: PartialUploadStore) -> None:
        self.receivers: dict[str, Receive] = {}
        self._services, self._store = services, store
        self._settings = services.settings
        self._by_id: dict[str, PartialUpload] = {}
        self._nursery: trio.Nursery | None = None

    async def run(
        self,
        kept: list[tuple[StoredUpload, Description]],
        supervision: Supervision,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Continues the uploads that an earlier process left, and removes abandoned ones until cancelled."""
        async with trio.open_nursery() as self._nursery:
            now = time.time()
            for found, description in kept:
                age = max(0.0, now - found.changed_at)
                upload = PartialUpload(
                    found.upload_id, description, self._store, self._services.disk, found.offset, age
                )
                if description.complete and description.length is not None:
                    upload.offset = description.length  # its bytes may have been removed
                self._by_id[upload.id] = upload
            for upload in self._by_id.values():
                if upload.description.stream_id is None:
                    self.receive(upload)
            task_status.started()
            pause = min(SWEEP_SECONDS, self._settings.upload_expiry)
            await supervision.repeat("partial uploads", self._sweep, pause)

    async def create(self, description: Description) -> PartialUpload:
        """Creates an upload without bytes. Raises `PinactorsError` (`overloaded`: 429, 503)."""
        owner, waiting = description.owner, self._waiting()
        if owner and waiting[owner] >= self._settings.max_sessions_per_key:
            raise limit_reached("Too many uploads under way with this key")
        if waiting.total() >= self._settings.max_sessions:
            raise busy("Too many uploads under way")
        upload = PartialUpload(secrets.token_urlsafe(24), description, self._store, self._services.disk)
        self._by_id[upload.id] = upload
        try:
            content = msgspec.json.encode(description)
            await upload.on_disk(partial(self._store.create, upload.id, content))
        except BaseException:
            del self._by_id[upload.id]
            raise
        return upload

    def _waiting(self) -> Counter[str]:
        """The number of uploads that are not complete, by owner."""
        return Counter(
            upload.description.owner
            for upload in self._by_id.values()
            if not upload.complete and upload.refusal is None
        )

    def find(self, upload_id: str, owner: str, protocol: str) -> PartialUpload:
        """The upload with that id. Raises `PinactorsError` (`not_found`), also if it is another owner's."""
        upload = self._by_id.get(upload_id)
        if upload is None or upload.description.owner != owner or upload.description.protocol != protocol:
            raise not_found()
        return upload

    def receive(self, upload: PartialUpload) -> None:
        """Starts the upload's receiver, unless one is running or the upload has its answer. No checkpoint.

        `overloaded` does not count as an answer: the bytes are kept, and a new receiver reads them again.
        """
        if upload.receiving or upload.answered:
            return
        assert self._nursery is not None, "the uploads are not run"
        upload.start_receiving()
        self._nursery.start_soon(self._supervise, upload, name=repr(upload))

    def receive_group(self, upload: PartialUpload) -> None:
        """As `receive`, for all uploads of its group: a session that replaces one that ended in `overloaded`
        needs all of them. No checkpoint."""
        for other in self.unanswered(upload.description.group, upload.description.owner):
            self.receive(other)

    def unanswered(self, group: str, owner: str) -> list[PartialUpload]:
        """The uploads of a group that have no answer; `overloaded` does not count as one."""
        return [
            upload
            for upload in self._by_id.values()
            if (upload.description.group, upload.description.owner) == (group, owner) and not upload.answered
        ]

    async def answer(self, upload: PartialUpload) -> PacketLog:
        """Waits for the packet log that answers a complete upload. Raises `PinactorsError`."""
        stream_id = upload.description.stream_id
        if upload.answer is None and stream_id is not None and not upload.receiving:
            return await self._services.registry.find(stream_id, upload.description.owner)
        return await upload.wait_answered()

    async def remove(self, upload: PartialUpload, error: PinactorsError | None = None) -> None:
        """Removes the upload. If it has no answer, it fails with `error`, or as withdrawn by its client if
        that is None."""
        self._by_id.pop(upload.id, None)
        if upload.answer is None:
            upload.fail(error or Withdrawn())
        upload.interrupt()
        with trio.CancelScope(shield=True):
            await upload.on_disk(partial(self._store.remove, upload.id))

    def seconds_left(self, upload: PartialUpload) -> float:
        """Seconds for which the upload is still kept if no bytes arrive."""
        answered = upload.description.stream_id is not None
        lifetime = self._settings.replay if answered else self._settings.upload_expiry
        return upload.last_arrival.at + lifetime - trio.current_time()

    async def _supervise(self, upload: PartialUpload) -> None:
        """Runs a receiver. Whatever it raises becomes the upload's answer."""
        answer: PacketLog | PinactorsError
        try:
            answer = await self.receivers[upload.description.protocol](upload)
        except* Exception as group:
            error = one_error(group)
            if isinstance(error, PinactorsError):
                answer = error
            else:
                log.error("upload failed", upload=repr(upload), exc_info=group)
                answer = PinactorsError(
                    ErrorCode.PROCESSING_ERROR, "Upload failed", "The server failed; the log has the reason"
                )
        if isinstance(answer, PinactorsError):
            upload.end_receiving(answer)  # first: no request may append once the files are removed
        with suppress(PinactorsError):  # on a disk error, the next process reads the bytes again
            await self._keep_answer(upload, answer)
        if isinstance(answer, PacketLog):
            upload.end_receiving(answer)

    async def _keep_answer(self, upload: PartialUpload, answer: PacketLog | PinactorsError) -> None:
        if isinstance(answer, PacketLog):
            upload.description.stream_id = answer.stream_id
            await upload.save_description()
            await upload.on_disk(partial(self._store.forget_bytes, upload.id))
        elif answer.code is ErrorCode.OVERLOADED:
            upload.description.complete = False  # its client completes it again
            await upload.save_description()
        else:
            # Refused uploads count against no limit: only the latest are kept, for clients that ask for the
            # reason.
            refused = [upload for upload in self._by_id.values() if upload.refusal is not None]
            for oldest in refused[: -self._settings.max_sessions]:
                del self._by_id[oldest.id]
            await upload.on_disk(partial(self._store.remove, upload.id))

    async def _sweep(self) -> None:
        """Removes uploads that got no bytes for `upload_expiry`, or for `CROWDED_EXPIRY_SECONDS` while there
        are many, and answered ones after `replay`."""
        await trio.lowlevel.checkpoint()
        waiting = self._waiting()
        for upload in [upload for upload in self._by_id.values() if not upload.busy]:
            idle = trio.current_time() - upload.last_arrival.at
            given_up = (
                upload.description.stream_id is None
                and idle >= CROWDED_EXPIRY_SECONDS
                and self._services.registry.is_crowded(upload.description.owner, waiting)
            )
            if given_up or self.seconds_left(upload) <= 0:
                abandoned = PinactorsError(
                    ErrorCode.CANCELLED, "Upload abandoned", "The rest of the upload did not arrive in time"
                )
                with suppress(PinactorsError):
                    await self.remove(upload, abandoned)


def load(store: PartialUploadStore) -> list[tuple[StoredUpload, Description]]:
    """Loads the uploads that an earlier process left; run it in a thread. Raises `OSError`."""
    store.prepare()
    found = []
    for kept in store.stored_uploads():
        try:
            found.append((kept, msgspec.json.decode(kept.description, type=Description)))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            log.warning("upload not readable", upload=kept.upload_id[:8], error=str(error))
            store.remove(kept.upload_id)
    return found


def unfinished(kept: list[tuple[StoredUpload, Description]]) -> Container[tuple[str, str]]:
    """Owner and `Idempotency-Key` of the sessions that these uploads continue."""
    return {
        (description.owner, description.idempotency_key)
        for _, description in kept
        if description.stream_id is None
    }
