"""Tests of the client for programs without trio."""

from __future__ import annotations

from pathlib import Path

import trio

from pinactors.client import View, sync
from tests.api.conftest import running
from tests.api.wire import LIMIT


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
