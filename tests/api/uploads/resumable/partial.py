"""Partial uploads without a server."""

from __future__ import annotations

import trio

from pinactors.api.uploads.resumable.upload import Description, PartialUpload
from pinactors.storage.partial_uploads import PartialUploadStore

UPLOAD = "an-upload"


def upload_in(store: PartialUploadStore, name: str = UPLOAD, view: str = "front") -> PartialUpload:
    """A new upload without bytes."""
    description = Description(protocol="tus", owner="", session_id="s", idempotency_key="k", view=view)
    store.create(name, b"{}")
    return PartialUpload(name, description, store, trio.CapacityLimiter(8))
