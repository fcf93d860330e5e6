"""Tests of resumable uploads on connections that are cut repeatedly: what arrived is not sent again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.client import View, analyze, confirm, sync
from pinactors.client.transports import MAX_PIECE, MIN_PIECE, PieceSizer
from tests.api.conftest import Running, running
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


def test_a_piece_is_what_the_link_carries_in_two_seconds() -> None:
    sizer = PieceSizer()
    sizer.note_round_trip(0.1)
    for _ in range(5):
        sizer.note_piece(sizer.size, sizer.size / 100_000)
    assert sizer.size == pytest.approx(200_000)
    sizer.note_piece(sizer.size, 1e-9)
    assert sizer.size == pytest.approx(800_000), "it grows fourfold at the most"
    sizer.note_break()
    assert sizer.size == pytest.approx(400_000)
    sizer.note_round_trip(2.0)
    sizer.note_piece(100_000, 1.0)
    assert sizer.size == pytest.approx(800_000), "eight round trips of a second"
    sizer.note_piece(100, 60.0)
    assert sizer.size == MIN_PIECE
    for _ in range(20):
        sizer.note_piece(sizer.size, 1e-9)
    assert sizer.size == MAX_PIECE


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


async def test_programs_without_trio_have_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}"
        kinds: list[str] = []

        def use() -> dict[str, object]:
            answer = sync.analyze(url, {View.FRONT: b"PHOTO"}, on_packet=lambda p: kinds.append(p.kind))
            assert sync.follow(url, answer["streamId"])["id"] == answer["id"]
            sync.cancel(url, answer["streamId"])
            return sync.confirm(url, answer["id"], answer["sessionId"], agree=True)

        with trio.fail_after(LIMIT):
            told = await trio.to_thread.run_sync(use)
    assert told["userAgreement"] == "agree"
    assert kinds[-1] == "ANALYSIS_COMPLETE"


def test_the_client_is_imported_without_the_engine() -> None:
    program = (
        "import sys, pinactors.client, pinactors.client.sync;"
        "print([m for m in ('numpy', 'cv2', 'PIL', 'quart', 'peewee', 'api') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
