"""Resumable uploads without a server."""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from pinactors.api.uploads.resumable.upload import Description
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.storage.partial_uploads import PartialUploadStore
from tests.api.uploads.resumable.partial import UPLOAD, upload_in


class Silent:
    """The body of a request whose client sends nothing more."""

    async def chunk(self) -> bytes:
        await trio.sleep_forever()
        return b""


async def test_its_description_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    """The request that completes the upload and the upload's receiver may store it at the same moment."""
    upload = upload_in(PartialUploadStore(tmp_path))
    with trio.fail_after(120):
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(upload.save_description)
    assert (tmp_path / f"{UPLOAD}.json").read_bytes() == msgspec.json.encode(upload.description)


async def test_a_client_that_leaves_does_not_interrupt_the_completion(tmp_path: Path) -> None:
    request = trio.CancelScope()

    class WhileItLeaves(PartialUploadStore):
        def offset(self, upload_id: str) -> int:
            trio.from_thread.run_sync(request.cancel)
            return super().offset(upload_id)

    upload = upload_in(WhileItLeaves(tmp_path))
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.wait_complete)
            await wait_all_tasks_blocked()
            with request:
                await upload.finish()
    assert msgspec.json.decode((tmp_path / f"{UPLOAD}.json").read_bytes(), type=Description).complete


async def test_a_question_ends_a_request_that_is_just_beginning(tmp_path: Path) -> None:
    """At whichever step it is: also after it has taken the upload, before it reads its body."""
    upload = upload_in(PartialUploadStore(tmp_path))
    ended: list[ErrorCode] = []

    async def append() -> None:
        try:
            await upload.append(0, Silent(), 100)
        except PinactorsError as error:
            ended.append(error.code)

    with trio.fail_after(120):
        for number in range(40):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(append)
                for _ in range(number % 4):
                    await trio.lowlevel.checkpoint()
                while len(ended) == number:  # asked again if the request had not begun
                    await upload.settled_offset()
    assert ended == 40 * [ErrorCode.CANCELLED]
