"""Decides which log answers an upload: that of its own session, or of an earlier one of the same photographs.

Two uploads are duplicates if they have the same owner, session id and photographs, or the same owner and
`Idempotency-Key`. `registry.duplicates` compares uploads; it needs the last photograph. Therefore:

- The upload's own session analyses photographs as they arrive. During the comparison, which takes
  milliseconds, it starts no jobs: else most duplicates would occupy a worker with their last photograph, and
  that worker would be killed for nothing.
- If the upload is a duplicate and its client already reads packets (an announced upload), it keeps its own
  log, which then repeats the packets of the earlier session. Any other session is dropped: its log is closed
  without a terminal packet, and the client is answered from the earlier session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import PinactorsError

WAIT_SECONDS = 1.0
"""How long jobs wait for the comparison with earlier uploads in the records."""


class DuplicateCheck:
    """The comparison of one upload with earlier ones: done once, by the upload's session, and awaited by all
    that need the result.

    It holds no reference to the upload: `Duplicates` keeps a check as long as the upload is referred to.
    """

    def __init__(self, own: PacketLog, claim: Callable[[Upload, PacketLog], Awaitable[PacketLog]]) -> None:
        """`claim` returns the log that answers a complete upload: `own` if there is no earlier one."""
        self._own, self._claim = own, claim
        self._answer: PacketLog | None = None
        self._conflict: PinactorsError | None = None
        self._decided = trio.Event()
        self._waited: trio.Event | None = None

    @property
    def decided(self) -> bool:
        return self._decided.is_set()

    @property
    def earlier(self) -> PacketLog | None:
        """The log of the earlier session that answers this upload; None if there is none or it is not decided
        yet."""
        return self._answer if self._answer is not self._own else None

    async def decide(self, upload: Upload) -> None:
        """Compares the complete `upload` with earlier ones. Raises `PinactorsError` (`session_conflict`) if
        its `Idempotency-Key` was used for other photographs."""
        if self.decided:
            await trio.lowlevel.checkpoint()
            return
        try:
            self.decide_for(await self._claim(upload, self._own))
        except PinactorsError as conflict:
            self._conflict = conflict
            self._decided.set()
            raise

    def decide_for(self, answer: PacketLog) -> None:
        """Sets the log that answers the upload; does nothing if it is decided already."""
        if not self._decided.is_set():
            self._answer = answer
            self._decided.set()

    async def wait(self, upload: Upload) -> PacketLog:
        """Waits for the decision and returns the log to answer the client of `upload` from. Raises the
        conflict if `decide` did."""
        await self._decided.wait()
        if self._conflict is not None:
            raise self._conflict
        assert self._answer is not None
        return self._own if upload.announced else self._answer

    async def wait_before_work(self, upload: Upload) -> None:
        """Waits while the complete `upload` is being compared, at most `WAIT_SECONDS`. The first caller's
        timeout holds for all callers; if that caller is cancelled the others continue."""
        if not upload.complete or self.decided:
            return
        if self._waited is not None:
            await self._waited.wait()
            return
        self._waited = trio.Event()
        try:
            with trio.move_on_after(WAIT_SECONDS):
                await self._decided.wait()
        finally:
            self._waited.set()
