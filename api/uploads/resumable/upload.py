"""Uploads whose bytes come in several requests.

A `PartialUpload` is written by one request at a time and read by one task of the application, its receiver,
which passes the bytes to a parser as they arrive. The receiver and the bytes on disk outlive each request.
After a restart, the next process reads the bytes from the start and so reaches the same state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from pinactors.api.errors import not_stored
from pinactors.api.http.body import too_large
from pinactors.api.uploads.mobile_upload import Source
from pinactors.api.uploads.resumable.refusals import Completed, Mismatch, inconsistent, not_found
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError, forget_frames
from pinactors.storage.partial_uploads import PartialUploadStore

PIECE_BYTES = 256 * 1024
"""Bytes read from the disk at once."""

LEAD_BYTES = 4 << 20
"""Most bytes that the sender may be ahead of the receiver; then reading stops, and TCP slows the sender
down."""

T = TypeVar("T")


class Description(msgspec.Struct, kw_only=True):
    """The stored description of an upload.

    `protocol` is `draft` or `tus`. `session_id` is the client's if it `named` one; `deadline` is the time
    left in seconds, None for no limit. `framing` is the answer's framing (`draft.FRAMINGS`), `respond_async`
    means that its client does not wait for the packets; `stream_id` is the stream that answers the upload,
    once known. For a tus upload, `view` is the photograph's view, `group` the name of its group, `last` means
    that no further photograph follows, and `metadata` is the header field as received. `correlation` is
    `tracing.correlation` of the creating request.
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
    respond_async: bool = False
    length: int | None = None
    complete: bool = False
    stream_id: str | None = None
    view: str = ""
    group: str = ""
    last: bool = False
    metadata: str = ""
    correlation: dict[str, str] = {}


@dataclass(slots=True)
class LastArrival:
    """When bytes last arrived, on trio's clock. Uploads that belong together share one: none of them expires
    while another is sent."""

    at: float


class PartialUpload:
    """One upload. `offset` bytes are on disk; `answer` is the packet log or the refusal, None before there is
    one; `failure` is the reason why the rest will not come. `announced_stream` is the stream that its client
    may read before there is an answer."""

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
        self.failure: PinactorsError | None = None
        self.announced_stream: str | None = None
        self.receiving = False
        self.last_arrival = LastArrival(trio.current_time() - age)
        self._store, self._disk = store, disk
        self._lock = trio.Lock()
        self._writer: trio.CancelScope | None = None
        self._describe_lock = trio.Lock()
        self._progress = trio.lowlevel.ParkingLot()
        self._newest = (0, b"")
        self._read = 0
        self._receiver_reads = False

    def __repr__(self) -> str:
        return f"<PartialUpload {self.id[:8]} {self.offset} bytes>"

    @property
    def complete(self) -> bool:
        """Whether all bytes are in."""
        return self.description.complete

    @property
    def refusal(self) -> PinactorsError | None:
        """The error that ended the upload; None for `overloaded`, after which the bytes are read again."""
        is_temporary = isinstance(self.answer, PinactorsError) and self.answer.code is ErrorCode.OVERLOADED
        return self.answer if isinstance(self.answer, PinactorsError) and not is_temporary else None

    @property
    def answered(self) -> bool:
        """Whether the upload has its final answer: a packet log or a `refusal`."""
        return self.refusal is not None or self.description.stream_id is not None

    @property
    def busy(self) -> bool:
        """Whether a request is appending, or about to."""
        return self._writer is not None

    async def append(
        self,
        offset: int,
        source: Source,
        max_size: int,
        on_offset: Callable[[int], Awaitable[None]] | None = None,
        *,
        all_or_nothing: bool = False,
    ) -> int:
        """Appends the bytes of `source`, after ending a request that still appends. Returns the new offset.

        `max_size` is the largest size of the whole upload in bytes; `on_offset` is called with each new
        offset. With `all_or_nothing`, the bytes are dropped unless `source` is read to its end. Raises
        `PinactorsError`: the errors of `source`; `cancelled` if a later request takes over; `Mismatch`;
        `Completed`; the receiver's refusal; `too_large`."""
        self.interrupt()
        with trio.CancelScope() as scope:
            self._writer = scope  # before the lock, so that whoever waits for the lock can interrupt
            try:
                async with self._lock:
                    self._check(offset)
                    await self._copy(source, max_size, on_offset, all_or_nothing=all_or_nothing)
            finally:
                if self._writer is scope:
                    self._writer = None
        self._raise_answer()
        if scope.cancelled_caught:
            raise PinactorsError(
                ErrorCode.CANCELLED, "Upload taken over", "A later request continues this upload"
            )
        return self.offset

    async def _copy(
        self,
        source: Source,
        max_size: int,
        on_offset: Callable[[int], Awaitable[None]] | None,
        *,
        all_or_nothing: bool,
    ) -> None:
        begin = self.offset
        try:
            while data := await source.chunk():
                self._refuse_beyond(self.offset + len(data), max_size)
                await self.write(data)
                if on_offset is not None:
                    await on_offset(self.offset)
        except BaseException:
            if all_or_nothing:
                with trio.CancelScope(shield=True):
                    await self.truncate(begin)
            raise
        finally:
            self.last_arrival.at = trio.current_time()

    async def write(self, data: bytes) -> None:
        """Writes `data` to disk and waits while the receiver, if it reads along, is more than `LEAD_BYTES`
        behind."""
        self.offset = await self.on_disk(partial(self._store.append, self.id, self.offset, data))
        self._newest = (self.offset - len(data), data)
        self.last_arrival.at = trio.current_time()
        self._progress.unpark_all()
        while self.offset - self._read > LEAD_BYTES and self._receiver_reads:
            await self._progress.park()

    async def truncate(self, offset: int) -> None:
        """Drops the bytes behind `offset`. The receiver must not have read them."""
        await self.on_disk(partial(self._store.truncate, self.id, offset))
        self.offset, self._newest = offset, (0, b"")

    async def settled_offset(self) -> int:
        """Returns the offset, up to which all bytes are safely on disk. Ends a request that still appends."""
        self.interrupt()
        async with self._lock:
            if not self.complete:
                self.offset = await self.on_disk(partial(self._store.offset, self.id))
            return self.offset

    def interrupt(self) -> None:
        """Ends the request that appends, if there is one: its client has given it up."""
        if self._writer is not None:
            self._writer.cancel()

    async def finish(self) -> None:
        """Marks the upload complete, once all its bytes are safely on disk. Does nothing if it is.

        A client that disconnects does not interrupt it: the receiver would not be woken, although clients
        that ask are told that the upload is complete.
        """
        try:
            with trio.CancelScope(shield=True):
                async with self._describe_lock:
                    if self.complete:
                        return
                    await self.on_disk(partial(self._store.offset, self.id))
                    self.description.complete = True
                    self.description.length = self.offset
                    await self._describe()
        finally:
            self._progress.unpark_all()

    async def finish_at_length(self) -> None:
        """As `finish`, if all bytes of the announced length are in. For tus, which marks the end by nothing
        else: its clients send nothing more once they are told that offset. A request that still appends calls
        this at its end: its bytes may yet be dropped."""
        if self.offset == self.description.length and self.failure is None and not self.busy:
            await self.finish()

    async def save_description(self) -> None:
        """Writes the description to disk. A lock orders the writes: the request that completes the upload and
        the receiver may write at the same moment, and each would remove the other's temporary file."""
        async with self._describe_lock:
            await self._describe()

    async def _describe(self) -> None:
        await self.on_disk(partial(self._store.describe, self.id, msgspec.json.encode(self.description)))

    def fail(self, error: PinactorsError) -> None:
        """Makes the receiver's waits raise `error`: the rest of the upload will not come."""
        self.failure = error
        self._progress.unpark_all()

    def _raise_answer(self) -> None:
        if isinstance(self.answer, PinactorsError):
            raise self.answer

    async def chunk(self) -> bytes:
        """For a receiver: waits for the next bytes and returns them; empty at the end. Raises
        `PinactorsError`."""
        self._receiver_reads = True
        while self._read >= self.offset and not self.complete and self.failure is None:
            await self._progress.park()
        if self.failure is not None:
            raise self.failure
        start, newest = self._newest
        if self._read == start and newest:
            await trio.lowlevel.checkpoint()
            data = newest
        elif self._read >= self.offset:
            await trio.lowlevel.checkpoint()
            data = b""
        else:
            length = min(PIECE_BYTES, self.offset - self._read)
            data = await self.read_on_disk(partial(self._store.read, self.id, self._read, length))
        self._read += len(data)
        self._progress.unpark_all()
        return data

    async def wait_complete(self) -> None:
        """For a receiver that reads the whole file: waits until all bytes are in. Raises `PinactorsError` if
        the upload fails."""
        while not self.complete and self.failure is None:
            await self._progress.park()
        if self.failure is not None:
            raise self.failure
        await trio.lowlevel.checkpoint()

    async def wait_failed(self) -> None:
        """For a receiver: waits until there is a `failure`."""
        while self.failure is None:
            await self._progress.park()

    @property
    def path(self) -> Path:
        """The file with the upload's bytes."""
        return self._store.path_of(self.id)

    def start_receiving(self) -> None:
        """Resets the reading position and the answer for a receiver that starts."""
        self.answer, self._read, self.receiving = None, 0, True
        self._receiver_reads = False

    def end_receiving(self, answer: PacketLog | PinactorsError) -> None:
        self.answer, self.receiving, self._receiver_reads = answer, False, False
        self._newest = (0, b"")
        if isinstance(answer, PinactorsError):
            forget_frames(answer)
            self.interrupt()
        self._progress.unpark_all()

    async def wait_answered(self) -> PacketLog:
        """Waits for the answer and returns the packet log. Raises the refusal."""
        while self.answer is None:
            await self._progress.park()
        self._raise_answer()
        assert isinstance(self.answer, PacketLog)
        return self.answer

    async def on_disk(self, step: Callable[[], T]) -> T:
        """Runs `step` in a thread. Raises `PinactorsError` (`overloaded`) for an error of the disk."""
        try:
            return await trio.to_thread.run_sync(step, limiter=self._disk)
        except FileNotFoundError:  # the upload was refused meanwhile and its files removed
            raise self.refusal or not_found() from None
        except OSError as error:
            raise not_stored(error, self.description.session_id) from error

    async def read_on_disk(self, step: Callable[[], T]) -> T:
        """As `on_disk`, for a receiver. Raises `failure` if there is one: the files are removed after it."""
        try:
            return await self.on_disk(step)
        except PinactorsError as error:
            raise self.failure or error from None

    def _check(self, offset: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        if self.complete:
            raise Completed()
        if offset != self.offset:
            raise Mismatch(offset, self.offset)

    def _refuse_beyond(self, offset: int, max_size: int) -> None:
        if self.description.length is not None and offset > self.description.length:
            error = inconsistent(f"More than the announced {self.description.length} bytes were sent")
            self.fail(error)
            raise error
        if offset > max_size:
            raise too_large(max_size)
