"""Sessions that an earlier process, or another master, left: what is to become of each."""

from __future__ import annotations

from collections.abc import Callable, Container
from enum import Enum, auto

import structlog
import trio

from pinactors.pipeline.state import SessionState
from pinactors.pipeline.upload import Upload
from pinactors.protocol import UPLOAD_INTERRUPTED, ErrorCode, PinactorsError
from pinactors.protocol.merge import completed, ends
from pinactors.storage.stored_image import StoredImage

_root = structlog.get_logger(__name__)

Bring = Callable[[StoredImage], StoredImage]
"""Gets a photograph that another machine took in. Raises `FileNotFoundError` where it is nowhere, else
`OSError`."""


class Fate(Enum):
    """What becomes of a stored session."""

    GO_ON = auto()
    """It has not ended: its actors run again."""

    READ_AGAIN = auto()
    """It repeated an earlier session's packets, and its readers may still come back."""

    RECORD = auto()
    """It has ended and its record is missing."""

    REMOVE = auto()
    """It is recorded, or nobody can ask for it any more."""


def fate_of(state: SessionState | None, age: float, expiry: float) -> Fate:
    """`state` is None for a log that does not say whose it is. `age` seconds ago it was written last; after
    `expiry` seconds nobody reads it again."""
    if state is None:
        return Fate.REMOVE
    if not ends(state.packets):
        return Fate.GO_ON
    if state.repeats and age < expiry:
        return Fate.READ_AGAIN
    if state.repeats or completed(state.packets) or state.started_at is None:
        return Fate.REMOVE  # too old, or recorded before its last packet was kept
    return Fate.RECORD


async def upload_of(state: SessionState, bring: Bring | None, resumed: Container[tuple[str, str]]) -> Upload:
    """The upload of a session that goes on: complete, failed, or, where `resumed` has its owner and
    `Idempotency-Key`, still arriving.

    Photographs another master took in come to this machine first. Raises `OSError` when it cannot be told
    whether they can be had.
    """
    lost = await _bring_photographs(state, bring)
    upload = Upload(state.session_id, state.owner, state.idempotency_key, announced=state.repeats)
    name = (state.owner, state.idempotency_key or "")
    upload.resumable = state.ends_at is None and name in resumed
    upload.webhook = state.webhook
    for view, image in state.images.items():
        upload.put(view, image, state.fields.get(view, ""))
    if lost is not None:
        upload.fail(lost)
    elif upload.resumable:
        pass  # its photographs go on arriving
    elif state.ends_at is None:
        upload.fail(_interrupted("The server was restarted before all photographs were in"))
    else:
        upload.close()
    return upload


async def _bring_photographs(state: SessionState, bring: Bring | None) -> PinactorsError | None:
    """The session's error where a photograph is nowhere."""
    await trio.lowlevel.checkpoint()
    if bring is None:
        return None
    limiter = trio.CapacityLimiter(1)
    try:
        for view, image in state.images.items():
            state.images[view] = await trio.to_thread.run_sync(bring, image, limiter=limiter)
    except FileNotFoundError:
        return _interrupted("A photograph was only on a server that is gone")
    return None


def _interrupted(detail: str) -> PinactorsError:
    return PinactorsError(ErrorCode.PROCESSING_ERROR, UPLOAD_INTERRUPTED, detail)
