"""Which log answers an upload: its own session's, or that of an equal one."""

from __future__ import annotations

import trio

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import PinactorsError

PATIENCE = 1.0
"""Seconds that work waits for the records to say whether there was an equal upload."""


class Settlement:
    """Which log answers an upload, once that is known. The first word counts."""

    def __init__(self) -> None:
        self.answer: PacketLog | None = None
        self._conflict: PinactorsError | None = None
        self._known = trio.Event()

    @property
    def known(self) -> bool:
        return self._known.is_set()

    async def wait_known(self) -> None:
        await self._known.wait()

    def reach(self, answer: PacketLog) -> None:
        if not self._known.is_set():
            self.answer = answer
            self._known.set()

    def refuse(self, conflict: PinactorsError) -> None:
        self._conflict = conflict
        self._known.set()

    async def wait(self) -> PacketLog:
        """Raises the conflict there was."""
        await self._known.wait()
        if self._conflict is not None:
            raise self._conflict
        assert self.answer is not None
        return self.answer


class Patience:
    """Work on a complete upload waits while that is being compared with earlier ones.

    That takes milliseconds, and most uploads that join would otherwise just have put a worker to work on
    their last photograph, which then has to be killed and replaced.
    """

    def __init__(self, upload: Upload, settlement: Settlement) -> None:
        self._upload, self._settlement = upload, settlement
        self._ended: trio.Event | None = None

    async def wait(self) -> None:
        """The first to come has a clock for all; should it be given up, whoever waits with it goes on."""
        if not self._upload.complete or self._settlement.known:
            return
        if self._ended is not None:
            await self._ended.wait()
            return
        self._ended = trio.Event()
        try:
            with trio.move_on_after(PATIENCE):
                await self._settlement.wait_known()
        finally:
            self._ended.set()
