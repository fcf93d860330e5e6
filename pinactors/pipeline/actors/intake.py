"""The intake: the actor that reports photographs as they arrive, and starts the deadline after the last."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import trio

from pinactors.pipeline.actors.messages import Message
from pinactors.pipeline.duplicate_check import DuplicateCheck
from pinactors.pipeline.state import Arrived, SessionState, UploadComplete
from pinactors.pipeline.time_limits import TimeLimits
from pinactors.pipeline.upload import Upload
from pinactors.protocol import PinactorsError, View, missing_front


class Intake:
    """The intake of one session. `on_failure` is called with the upload's error: a photograph that cannot be
    received, or a conflict with an earlier upload."""

    def __init__(
        self,
        upload: Upload,
        state: SessionState,
        limits: TimeLimits,
        duplicate: DuplicateCheck,
        messages: trio.MemorySendChannel[Message],
        on_failure: Callable[[PinactorsError], None],
    ) -> None:
        self._upload = upload
        self._state = state
        self._limits = limits
        self._duplicate = duplicate
        self._messages = messages
        self._on_failure = on_failure
        self._noted: set[View] = set()

    async def front(self) -> bool:
        """Waits for the photograph of the front, which every analysis needs. Calls `on_failure` and returns
        False if there will be none."""
        try:
            # No checkpoint if it has arrived, so that the first two packets are stored and sent together.
            front = self._upload.images.get(View.FRONT) or await self._upload.image(View.FRONT)
            if front is None:
                raise missing_front()
            if self._upload.error is not None:
                raise self._upload.error
        except PinactorsError as error:
            self._on_failure(error)
            return False
        return True

    async def run(self) -> None:
        """Returns when the last photograph has arrived and it is decided which log answers the upload. If
        that is an earlier session's log the analysis is cancelled."""
        try:
            for view in View:
                await self._upload.image(view)
                self.note()
            await self._upload.wait_complete()
            self.note()
            await self._duplicate.decide(self._upload)
        except PinactorsError as error:
            self._on_failure(error)
            return
        if self._duplicate.earlier is not None:
            self._limits.analysis.cancel()

    def note(self) -> None:
        """Sends an `Arrived` for each new photograph. Starts the time limits after the last one; those of an
        adopted session keep their original end."""
        upload, state, limits = self._upload, self._state, self._limits
        for view, image in upload.images.items():
            if view not in state.images and view not in self._noted:
                self._noted.add(view)
                arrived = Arrived(view, image.path, image.sha256, image.size, upload.field_of(view))
                self._messages.send_nowait(arrived)
        if not math.isinf(limits.ends_at):
            return
        if state.ends_at is not None:
            limits.start(state.ends_at - time.time())
        elif upload.complete and upload.error is None:
            seconds = limits.start(upload.deadline)
            self._messages.send_nowait(UploadComplete(time.time() + seconds, upload.webhook))
