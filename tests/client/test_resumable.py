"""Tests of resumable uploads on connections that are cut repeatedly: what arrived is not sent again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.client import View, analyze, confirm
from tests.api.conftest import Running
from tests.api.wire import LIMIT
from tests.client.relay import relaying

PHOTOGRAPH = b"PHOTO" * 600_000
CUT = 1_000_000


@pytest.mark.parametrize("transport", ["ndjson", "long-poll"])
@pytest.mark.parametrize("from_file", [True, False])
async def test_nothing_that_arrived_is_sent_again(
    server: Running, transport: str, from_file: bool, tmp_path: Path
) -> None:
    file = tmp_path / "front.jpg"
    file.write_bytes(PHOTOGRAPH)
    images: dict[View, bytes | Path] = {View.FRONT: file if from_file else PHOTOGRAPH}
    progress: list[int] = []
    with trio.fail_after(LIMIT):
        async with relaying(server.port) as relay:
            relay.plan(asked=[CUT] * 20)
            given: dict[str, Any] = {
                "transport": transport,
                "on_progress": lambda sent, _: progress.append(sent),
            }
            async with analyze(relay.url, images, **given) as packets:
                answer = await packets.answer()
    assert answer["success"] is True
    assert answer["id"] == 1
    assert relay.connections >= len(PHOTOGRAPH) // CUT
    # Bytes in flight are sent twice: on this unlimited link that is whole socket buffers. An upload that
    # started again from its first byte would never end.
    assert relay.carried < 2 * len(PHOTOGRAPH)
    assert progress[-1] > len(PHOTOGRAPH)


async def test_a_small_upload_is_one_request(server: Running) -> None:
    with trio.fail_after(LIMIT):
        async with relaying(server.port) as relay, analyze(relay.url, {View.FRONT: b"PHOTO"}) as packets:
            assert (await packets.answer())["success"] is True
    assert relay.connections == 1
    assert list((server.settings.data / "uploads").iterdir()) == []


async def test_a_confirmation_is_stored(server: Running) -> None:
    url = f"http://127.0.0.1:{server.port}"
    with trio.fail_after(LIMIT):
        async with analyze(url, {View.FRONT: b"PHOTO"}) as packets:
            answer = await packets.answer()
        told = await confirm(url, answer["id"], answer["sessionId"], agree=False, comment="a copy")
    assert (told["success"], told["userAgreement"]) == (True, "disagree")


def test_the_client_is_imported_without_the_engine() -> None:
    program = (
        "import sys, pinactors.client, pinactors.client.sync;"
        "print([m for m in ('numpy', 'cv2', 'PIL', 'quart', 'peewee', 'api') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
