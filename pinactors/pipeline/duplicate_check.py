"""Which log answers an upload: that of its own session, or of an earlier session of the same photographs.

Two uploads are the same when owner, session id and photographs are, or owner and `Idempotency-Key`. Whether
an upload is a duplicate can be told when its last photograph is in (`registry.duplicates` says so). Until
then:

- its own session works on what is there. Work waits while the question is being asked, which takes
  milliseconds: else most duplicates would have put a worker to work on their last photograph, to be killed
  for nothing;
- a client that reads already (an announced upload) keeps its own log, which then repeats the packets of the
  earlier session; the session of any other is dropped: its log is closed without a terminal packet, and the
  client is answered from the earlier one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import PinactorsError

WAIT_SECONDS = 1.0
"""How long work waits for the records to say whether there was an earlier upload."""


class DuplicateCheck:
    """The question for one upload, asked once, by its session. Whoever needs the answer waits for it.

    It does not refer to its upload, which it is kept for as long as anybody else does.
    """

    def __init__(self, own: PacketLog, claim: Callable[[Upload, PacketLog], Awaitable[PacketLog]]) -> None:
        """`claim` gives the log that answers a complete upload: the given one where no earlier does."""
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
        """The log of the earlier session that answers this upload, once it is known that there is one."""
        return self._answer if self._answer is not self._own else None

    async def decide(self, upload: Upload) -> None:
        """Of its `upload`, which is complete. Raises `PinactorsError` (`session_conflict`) for an
        `Idempotency-Key` that came with other photographs."""
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
        """Nothing happens where it is decided already."""
        if not self._decided.is_set():
            self._answer = answer
            self._decided.set()

    async def wait(self, upload: Upload) -> PacketLog:
        """The log to answer the client of its `upload` from. Raises the conflict there was."""
        await self._decided.wait()
        if self._conflict is not None:
            raise self._conflict
        assert self._answer is not None
        return self._own if upload.announced else self._answer

    async def wait_before_work(self, upload: Upload) -> None:
        """Waits while the question is being asked about its `upload`. The first to come has a clock for all;
        should it be given up, whoever waits with it goes on."""
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
