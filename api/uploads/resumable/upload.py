"""Uploads whose bytes come in several requests, and what is made of them while they come.

A `PartialUpload` is written by one request at a time and read by one task of the application's, its receiver,
which feeds the bytes to a parser as they arrive. Requests come and go; the receiver goes on, and so do the
bytes on disk: the next process reads them from the start and is then where this one was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
import trio

from pinactors.api.errors import not_stored
from pinactors.api.uploads.mobile_upload import Source
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.storage.partial_uploads import PartialUploadStore

PIECE_BYTES = 256 * 1024
"""Bytes read from the disk at once."""

LEAD_BYTES = 4 << 20
"""Bytes the sender may be ahead of the receiver; further, and TCP slows it down."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Description(msgspec.Struct, kw_only=True):
    """What is known of an upload beside its bytes.

    `protocol` is `draft` or `tus`. `session_id` is the client's where it `named` one, `deadline` what is left
    of its time in seconds, None for no limit. `framing` names how the upload is answered (see `draft`),
    `stream_id` the session that answers it, once that is known. Of a tus upload `view` is the photograph's,
    `group` the photographs' common name, `last` says that no further one is sent, `metadata` is the field as
    it came. `correlation`: see `tracing.correlation`, of the request that created it.
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
    correlation: dict[str, str] = {}


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
        self._keeping = trio.Lock()
        self._moved = trio.lowlevel.ParkingLot()
        self._newest = (0, b"")
        self._read = 0
        self._reads_along = False
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
        self,
        offset: int,
        source: Source,
        most: int,
        told: Callable[[int], Awaitable[None]] | None = None,
        *,
        whole: bool = False,
    ) -> int:
        """Adds what `source` brings, and ends the request that was still doing so. Returns the new offset.

        `most` bytes the upload may have; `told` is called with each new offset; `whole`: what does not come
        to its end is not kept. Raises `PinactorsError`: what `source` raises; `cancelled` when a later
        request takes over; `Mismatch`; what the receiver made
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
                        if told is not None:
                            await told(self.offset)
                except BaseException:
                    if whole:
                        with trio.CancelScope(shield=True):
                            await self.take_back(offset)
                    raise
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
        while self.offset - self._read > LEAD_BYTES and self._reads_along:
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
        """Writes the description. The request that completes the upload and its receiver may do so at the
        same moment: one after the other, or each would take the other's file away."""
        async with self._keeping:
            await self.on_disk(partial(self._store.describe, self.id, msgspec.json.encode(self.description)))

    def fail(self, error: PinactorsError) -> None:
        """The rest will not come: the receiver hears of it."""
        self._failure = error
        self._moved.unpark_all()

    def _raise_answer(self) -> None:
        if isinstance(self.answer, PinactorsError):
            raise self.answer

    async def chunk(self) -> bytes:
        """For a receiver: the next bytes, waiting for them; empty at the end. Raises `PinactorsError`."""
        self._reads_along = True
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
            length = min(PIECE_BYTES, self.offset - self._read)
            data = await self.on_disk(partial(self._store.read, self.id, self._read, length))
        self._read += len(data)
        self._moved.unpark_all()
        return data

    async def wait_complete(self) -> None:
        """For a receiver that wants the file as a whole. Raises `PinactorsError` when it will never be."""
        while not self.complete and self._failure is None:
            await self._moved.park()
        if self._failure is not None:
            raise self._failure
        await trio.lowlevel.checkpoint()

    @property
    def path(self) -> Path:
        """The file of its bytes."""
        return self._store.path_of(self.id)

    def start_receiving(self) -> None:
        """From the first byte on, with no answer yet."""
        self.answer, self._read, self.receiving = None, 0, True
        self._reads_along = False

    def end_receiving(self, answer: PacketLog | PinactorsError) -> None:
        self.answer, self.receiving, self._reads_along = answer, False, False
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
        except FileNotFoundError:  # refused meanwhile, and therefore removed
            raise self.refusal or not_found() from None
        except OSError as error:
            raise not_stored(error, self.description.session_id) from error

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


class Withdrawn(PinactorsError):
    """Its client does not want it any more."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANCELLED, "Upload cancelled")


def not_found() -> PinactorsError:
    return PinactorsError(
        ErrorCode.NOT_FOUND, "Upload not found", "There is no such upload, or it was given up", status=404
    )
