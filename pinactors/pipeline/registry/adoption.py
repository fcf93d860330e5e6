"""Decides what happens to sessions that an earlier process, or another master, left."""

from __future__ import annotations

from collections.abc import Callable, Container
from enum import Enum, auto

import trio

from pinactors.pipeline.state import SessionState
from pinactors.pipeline.upload import Upload
from pinactors.protocol import UPLOAD_INTERRUPTED, ErrorCode, PinactorsError
from pinactors.protocol.merge import completed, ends
from pinactors.storage.stored_image import StoredImage

FetchImage = Callable[[StoredImage], StoredImage]
"""Copies a photograph that another machine received to this one. Raises `FileNotFoundError` if it no longer
exists, and other `OSError` if that cannot be determined."""


class Recovery(Enum):
    """What happens to a stored session."""

    RESUME = auto()
    """The session has not ended: its actors run again."""

    READ_AGAIN = auto()
    """The session repeated an earlier one's packets, and its readers may still return."""

    RECORD = auto()
    """The session has ended and has no record yet."""

    REMOVE = auto()
    """The session is recorded, or has expired."""


def recovery_of(state: SessionState | None, age: float, expiry: float) -> Recovery:
    """What to do with a stored session. `state` is None if its log does not name the session. The log was
    written `age` seconds ago, and expires after `expiry` seconds."""
    if state is None:
        return Recovery.REMOVE
    if not ends(state.packets):
        return Recovery.RESUME
    if state.repeats and age < expiry:
        return Recovery.READ_AGAIN
    if state.repeats or completed(state.packets) or state.started_at is None:
        return Recovery.REMOVE  # expired, or recorded before its last packet was stored
    return Recovery.RECORD


async def upload_of(
    state: SessionState, fetch_image: FetchImage | None, resumed: Container[tuple[str, str]]
) -> Upload:
    """The upload of a session that continues: complete, failed, or, if `resumed` contains its owner and
    `Idempotency-Key`, still arriving.

    First copies photographs that another master received to this machine. Raises `OSError` if it cannot be
    determined whether they exist.
    """
    error = await _fetch_photographs(state, fetch_image)
    upload = Upload(state.session_id, state.owner, state.idempotency_key, announced=state.repeats)
    name = (state.owner, state.idempotency_key or "")
    upload.resumable = state.ends_at is None and name in resumed
    upload.webhook = state.webhook
    for view, image in state.images.items():
        upload.put(view, image, state.fields.get(view, ""))
    if error is not None:
        upload.fail(error)
    elif upload.resumable:
        pass  # more photographs will arrive
    elif state.ends_at is None:
        upload.fail(_interrupted("The server was restarted before all photographs had arrived"))
    else:
        upload.close()
    return upload


async def _fetch_photographs(state: SessionState, fetch_image: FetchImage | None) -> PinactorsError | None:
    """Copies the session's photographs to this machine; returns the session's error if one does not exist."""
    await trio.lowlevel.checkpoint()
    if fetch_image is None:
        return None
    limiter = trio.CapacityLimiter(1)
    try:
        for view, image in state.images.items():
            state.images[view] = await trio.to_thread.run_sync(fetch_image, image, limiter=limiter)
    except FileNotFoundError:
        return _interrupted("A photograph was only on a server that no longer exists")
    return None


def _interrupted(detail: str) -> PinactorsError:
    return PinactorsError(ErrorCode.PROCESSING_ERROR, UPLOAD_INTERRUPTED, detail)
