"""Uploads whose bytes come in several requests, and what is made of them while they come.

A `PartialUpload` is written by one request at a time and read by one task of the application's, its receiver,
which feeds the bytes to a parser as they arrive. Requests come and go; the receiver goes on, and so do the
bytes on disk: the next process reads them from the start and is then where this one was.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec
import structlog
import trio

from api.errors import one_error
from api.services import Services
from api.uploads.mobile_upload import STORAGE_RETRY, Source
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.storage.partial_uploads import Kept, PartialUploadStore

PIECE = 256 * 1024
"""Bytes read from the disk at once."""

LEAD = 4 << 20
"""Bytes the sender may be ahead of the receiver; further, and TCP slows it down."""

SWEEP_SECONDS = 5.0
"""Longest pause between two looks for abandoned uploads."""

RETRY_FULL = 5.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Description(msgspec.Struct, kw_only=True):
    """What is known of an upload beside its bytes.

    `protocol` is `draft` or `tus`. `session_id` is the client's where it `named` one, `deadline` what is left
    of its time in seconds, None for no limit. `framing` names how the upload is answered (see `api.uploads
    .resumable`), `stream_id` the session that answers it, once that is known. Of a tus upload `view` is the
    photograph's, `group` the photographs' common name, `last` says that no further one is sent, `metadata` is
    the field as it came.
    """

    protocol: str
    owner: str
    session_id: str
    idempotency_key: str
    named: bool = False
    deadline: float | None = None
    content_type: str = ""
    boundary: str | None = None
    framing: str = ""
    length: int | None = None
    complete: bool = False
    stream_id: str | None = None
    view: str = ""
    group: str = ""
    last: bool = False
    metadata: str = ""


class PartialUpload:
    """One of them. `offset` bytes are on disk; `answer` is the log, or the refusal, once there is one."""

    def __init__(
        self,
        upload_id: str,
        description: Description,
        store: PartialUploadStore,
        disk: trio.CapacityLimiter,
        offset: int = 0,
        age: float = 0.0,
    ) -> None:
        self.id, self.description, self.offset = upload_id, description, offset
        self.answer: PacketLog | PinactorsError | None = None
        self.receiving = False
        self.touched = trio.current_time() - age
        self._store, self._disk = store, disk
        self._lock = trio.Lock()
        self._writer: trio.CancelScope | None = None
        self._moved = trio.lowlevel.ParkingLot()
        self._newest = (0, b"")
        self._read = 0
        self._failure: PinactorsError | None = None

    def __repr__(self) -> str:
        return f"<PartialUpload {self.id[:8]} {self.offset} bytes>"

    @property
    def complete(self) -> bool:
        """All bytes are in."""
        return self.description.complete

    @property
    def refusal(self) -> PinactorsError | None:
        """Why it came to nothing; None for a passing lack of room, after which it is read once more."""
        passing = isinstance(self.answer, PinactorsError) and self.answer.code is ErrorCode.OVERLOADED
        return self.answer if isinstance(self.answer, PinactorsError) and not passing else None

    @property
    def busy(self) -> bool:
        """A request is adding to it."""
        return self._writer is not None

    async def append(
        self, offset: int, source: Source, most: int, told: Callable[[int], Awaitable[None]]
    ) -> int:
        """Adds what `source` brings, and ends the request that was still doing so. Returns the new offset.

        `most` bytes the upload may have; `told` is called with each new offset. Raises `PinactorsError`: what
        `source` raises, and `cancelled` when a later request takes over; `Mismatch`; what the receiver made
        of the upload meanwhile, if that is a refusal; `too_large`.
        """
        self.interrupt()
        async with self._lock:
            self._check(offset)
            with trio.CancelScope() as scope:
                self._writer = scope
                try:
                    while data := await source.chunk():
                        self._refuse_beyond(self.offset + len(data), most)
                        await self.write(data)
                        await told(self.offset)
                finally:
                    self._writer = None
                    self.touched = trio.current_time()
            self._raise_answer()
            if scope.cancelled_caught:
                raise PinactorsError(
                    ErrorCode.CANCELLED, "Upload taken over", "A later request goes on with this upload"
                )
        return self.offset

    async def write(self, data: bytes) -> None:
        """Returns once `data` is on disk, and its receiver near enough."""
        self.offset = await self.on_disk(partial(self._store.append, self.id, self.offset, data))
        self._newest = (self.offset - len(data), data)
        self._moved.unpark_all()
        while self.offset - self._read > LEAD and self.receiving:
            await self._moved.park()

    async def take_back(self, offset: int) -> None:
        """Drops what came behind `offset`. Nobody may have read it."""
        await self.on_disk(partial(self._store.truncate, self.id, offset))
        self.offset, self._newest = offset, (0, b"")

    async def settled_offset(self) -> int:
        """Where the upload goes on; nothing before is lost any more. Ends the request that still adds."""
        self.interrupt()
        async with self._lock:
            if not self.complete:
                self.offset = await self.on_disk(partial(self._store.offset, self.id))
            return self.offset

    def interrupt(self) -> None:
        """Ends the request that adds to it, if there is one: its client has given it up."""
        if self._writer is not None:
            self._writer.cancel()

    async def finish(self) -> None:
        """All bytes are in."""
        await self.on_disk(partial(self._store.offset, self.id))
        self.description.complete = True
        self.description.length = self.offset
        await self.keep()
        self._moved.unpark_all()

    async def keep(self) -> None:
        """Writes the description."""
        await self.on_disk(partial(self._store.describe, self.id, msgspec.json.encode(self.description)))

    def fail(self, error: PinactorsError) -> None:
        """The rest will not come: the receiver hears of it."""
        self._failure = error
        self._moved.unpark_all()

    def _raise_answer(self) -> None:
        if isinstance(self.answer, PinactorsError):
            raise self.answer

    async def chunk(self) -> bytes:
        """For the receiver: the next bytes, waiting for them; empty at the end. Raises `PinactorsError`."""
        while self._read >= self.offset and not self.complete and self._failure is None:
            await self._moved.park()
        if self._failure is not None:
            raise self._failure
        start, newest = self._newest
        if self._read == start and newest:
            await trio.lowlevel.checkpoint()
            data = newest
        elif self._read >= self.offset:
            await trio.lowlevel.checkpoint()
            data = b""
        else:
            length = min(PIECE, self.offset - self._read)
            data = await self.on_disk(partial(self._store.read, self.id, self._read, length))
        self._read += len(data)
        self._moved.unpark_all()
        return data

    def start_receiving(self) -> None:
        """From the first byte on, with no answer yet."""
        self.answer, self._read, self.receiving = None, 0, True

    def end_receiving(self, answer: PacketLog | PinactorsError) -> None:
        self.answer, self.receiving = answer, False
        if isinstance(answer, PinactorsError):
            self.interrupt()
        self._moved.unpark_all()

    async def wait_answered(self) -> PacketLog:
        """The log the upload is answered from. Raises its refusal."""
        while self.answer is None:
            await self._moved.park()
        self._raise_answer()
        assert isinstance(self.answer, PacketLog)
        return self.answer

    async def on_disk(self, step: Callable[[], T]) -> T:
        """In a thread. Raises `PinactorsError` (`overloaded`) when the disk does not do as it should."""
        try:
            return await trio.to_thread.run_sync(step, limiter=self._disk)
        except FileNotFoundError:
            raise not_found() from None
        except OSError as error:
            log.error("upload not stored", session=self.description.session_id, error=str(error))
            raise PinactorsError(
                ErrorCode.OVERLOADED,
                "Storage unavailable",
                "The upload could not be stored; it may be sent again",
                retry_after=STORAGE_RETRY,
            ) from error

    def _check(self, offset: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        if self.complete:
            raise Completed()
        if offset != self.offset:
            raise Mismatch(offset, self.offset)

    def _refuse_beyond(self, offset: int, most: int) -> None:
        if self.description.length is not None and offset > self.description.length:
            error = PinactorsError(
                ErrorCode.INVALID_FORMAT,
                "Inconsistent upload length",
                f"More than the announced {self.description.length} bytes were sent",
                field="Upload-Length",
            )
            self.fail(error)
            raise error
        if offset > most:
            raise PinactorsError(
                ErrorCode.TOO_LARGE, "Upload too large", f"At most {most} bytes are accepted"
            )


class Mismatch(PinactorsError):
    """An append names another offset than the upload's."""

    def __init__(self, provided: int, expected: int) -> None:
        super().__init__(
            ErrorCode.INVALID_FORMAT,
            "Upload-Offset does not match",
            f"The upload goes on at {expected}, not at {provided}",
            field="Upload-Offset",
            status=409,
        )
        self.provided, self.expected = provided, expected


class Completed(PinactorsError):
    """Something was to be added to an upload that has all its bytes."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.INVALID_FORMAT, "Upload is complete", "Nothing can be added to it")


def not_found() -> PinactorsError:
    return PinactorsError(
        ErrorCode.NOT_FOUND, "Upload not found", "There is no such upload, or it was given up", status=404
    )


Receive = Callable[[PartialUpload], Awaitable[PacketLog]]
"""Reads an upload to its end and says what answers it. Raises `PinactorsError`."""


class PartialUploads:
    """All of this process. Receivers run in a nursery of their own, which never sees their exceptions.

    `receivers` has the receiver for each protocol.
    """

    def __init__(self, given: Services, store: PartialUploadStore) -> None:
        self.receivers: dict[str, Receive] = {}
        self._given, self._store = given, store
        self._settings = given.settings
        self._known: dict[str, PartialUpload] = {}
        self._nursery: trio.Nursery | None = None

    async def run(
        self,
        kept: list[tuple[Kept, Description]],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Goes on with what an earlier process left, then serves for ever."""
        async with trio.open_nursery() as self._nursery:
            now = time.time()
            for found, description in kept:
                age = max(0.0, now - found.changed_at)
                upload = PartialUpload(
                    found.upload_id, description, self._store, self._given.disk, found.offset, age
                )
                if description.complete and description.length is not None:
                    upload.offset = description.length  # its bytes may have been removed
                self._known[upload.id] = upload
            for upload in self._known.values():
                if upload.description.stream_id is None:
                    self.receive(upload)
            task_status.started()
            await self._sweep()

    async def create(self, description: Description) -> PartialUpload:
        """Raises `PinactorsError` (`overloaded`: 429, 503)."""
        owner = description.owner
        waiting = [upload for upload in self._known.values() if not upload.complete]
        own = sum(upload.description.owner == owner for upload in waiting)
        if owner and own >= self._settings.max_sessions_per_key:
            raise _full("Too many uploads under way with this key", 429)
        if len(waiting) >= self._settings.max_sessions:
            raise _full("Too many uploads under way", 503)
        upload = PartialUpload(secrets.token_urlsafe(24), description, self._store, self._given.disk)
        self._known[upload.id] = upload
        try:
            content = msgspec.json.encode(description)
            await upload.on_disk(partial(self._store.create, upload.id, content))
        except BaseException:
            del self._known[upload.id]
            raise
        return upload

    def find(self, upload_id: str, owner: str, protocol: str) -> PartialUpload:
        """Raises `PinactorsError` (`not_found`), also for another owner's."""
        upload = self._known.get(upload_id)
        if upload is None or upload.description.owner != owner or upload.description.protocol != protocol:
            raise not_found()
        return upload

    def of_group(self, group: str) -> list[PartialUpload]:
        return [upload for upload in self._known.values() if upload.description.group == group]

    def every(self, protocol: str) -> list[PartialUpload]:
        return [upload for upload in self._known.values() if upload.description.protocol == protocol]

    def receive(self, upload: PartialUpload) -> None:
        """Starts its receiver, unless it has one, or has its answer. No checkpoint.

        A refusal for lack of room is no answer: what came is kept, and read once more.
        """
        if upload.receiving or upload.refusal is not None or isinstance(upload.answer, PacketLog):
            return
        assert self._nursery is not None, "the uploads are not run"
        upload.start_receiving()
        self._nursery.start_soon(self._supervise, upload, name=repr(upload))

    async def answer(self, upload: PartialUpload) -> PacketLog:
        """The log a complete upload is answered from; waits for it. Raises `PinactorsError`."""
        stream_id = upload.description.stream_id
        if upload.answer is None and stream_id is not None and not upload.receiving:
            return await self._given.registry.find(stream_id, upload.description.owner)
        return await upload.wait_answered()

    async def remove(self, upload: PartialUpload, error: PinactorsError | None = None) -> None:
        """Forgets it. One without an answer ends with `error`, as `cancelled` by its client without one."""
        self._known.pop(upload.id, None)
        if upload.answer is None:
            upload.fail(error or PinactorsError(ErrorCode.CANCELLED, "Upload cancelled"))
        upload.interrupt()
        with trio.CancelScope(shield=True):
            await upload.on_disk(partial(self._store.remove, upload.id))

    def left(self, upload: PartialUpload) -> float:
        """Seconds for which it is kept without another byte."""
        answered = upload.description.stream_id is not None
        lasting = self._settings.replay if answered else self._settings.upload_expiry
        return upload.touched + lasting - trio.current_time()

    async def _supervise(self, upload: PartialUpload) -> None:
        """The boundary of a receiver: whatever it raises becomes the upload's answer."""
        answer: PacketLog | PinactorsError
        try:
            answer = await self.receivers[upload.description.protocol](upload)
        except* Exception as group:
            error = one_error(group)
            if isinstance(error, PinactorsError):
                answer = error
            else:
                log.error("upload failed", upload=repr(upload), exc_info=group)
                answer = PinactorsError(ErrorCode.PROCESSING_ERROR, "Upload failed", "The log has the reason")
        if isinstance(answer, PinactorsError):
            upload.end_receiving(answer)  # first: no request may add to what is about to be removed
        with suppress(PinactorsError):  # gone, or not on disk: the next process then reads it once more
            await self._keep_answer(upload, answer)
        if isinstance(answer, PacketLog):
            upload.end_receiving(answer)

    async def _keep_answer(self, upload: PartialUpload, answer: PacketLog | PinactorsError) -> None:
        if isinstance(answer, PacketLog):
            upload.description.stream_id = answer.stream_id
            await upload.keep()
            await upload.on_disk(partial(self._store.forget_bytes, upload.id))
        elif answer.code is ErrorCode.OVERLOADED:
            upload.description.complete = False  # its client completes it once more
            await upload.keep()
        else:
            await upload.on_disk(partial(self._store.remove, upload.id))

    async def _sweep(self) -> None:
        """For ever: removes what nobody goes on with, and what was answered long ago."""
        while True:
            pause = min(SWEEP_SECONDS, self._settings.upload_expiry)
            for upload in [upload for upload in self._known.values() if not upload.busy]:
                if self.left(upload) <= 0:
                    abandoned = PinactorsError(
                        ErrorCode.CANCELLED, "Upload abandoned", "Its rest did not come in time"
                    )
                    with suppress(PinactorsError):
                        await self.remove(upload, abandoned)
            await trio.sleep(pause)


def load(store: PartialUploadStore) -> list[tuple[Kept, Description]]:
    """What an earlier process left; for a thread. Raises `OSError`."""
    store.prepare()
    found = []
    for kept in store.kept():
        try:
            found.append((kept, msgspec.json.decode(kept.description, type=Description)))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            log.warning("upload not readable", upload=kept.upload_id[:8], error=str(error))
            store.remove(kept.upload_id)
    return found


def unfinished(kept: list[tuple[Kept, Description]]) -> Container[tuple[str, str]]:
    """Owner and `Idempotency-Key` of the sessions these uploads go on with."""
    return {
        (description.owner, description.idempotency_key)
        for _, description in kept
        if description.stream_id is None
    }


def deadline_of(description: Description) -> float:
    return math.inf if description.deadline is None else description.deadline


def _full(detail: str, status: int) -> PinactorsError:
    return PinactorsError(
        ErrorCode.OVERLOADED,
        "Server busy, try again later",
        detail,
        status=status,
        retry_after=RETRY_FULL,
    )
