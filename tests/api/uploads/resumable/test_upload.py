"""A single resumable upload, without a server."""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio

from pinactors.api.uploads.resumable.upload import Description, PartialUpload
from pinactors.storage.partial_uploads import PartialUploadStore

UPLOAD = "an-upload"


async def test_its_description_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    """The request that completes the upload and the upload's receiver may store it at the same moment."""
    store, limiter = PartialUploadStore(tmp_path), trio.CapacityLimiter(8)
    description = Description(protocol="draft", owner="", session_id="s", idempotency_key="k")
    upload = PartialUpload(UPLOAD, description, store, limiter)
    store.create(UPLOAD, b"{}")
    with trio.fail_after(20):
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(upload.save_description)
    assert (tmp_path / f"{UPLOAD}.json").read_bytes() == msgspec.json.encode(description)
