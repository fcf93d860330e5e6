"""A client that disconnects while its session is being opened leaves no session behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pinactors.storage.logs.files import StoredFile
from pinactors.storage.logs.packet_logs import Entry
from tests.api.conftest import running
from tests.api.rawsocket import opened
from tests.api.wire import JSON, LIMIT, ask, connected, head, json_body, until

EARLY = {
    "Accept": "application/x-ndjson",
    "Prefer": "respond-early",
    "x-session-id": "gone",
}


@asynccontextmanager
async def begun(port: int, form: str) -> AsyncIterator[None]:
    """An upload of which the server has received the first part."""
    if form == "websocket":
        async with opened(port) as socket:
            await socket.send(sessionId="gone", images=["front"])
            yield
    else:
        body = json_body(frontImageData=b"PHOTO" * 100)
        async with connected(port) as wire:
            headers = JSON | EARLY | {"Content-Length": str(len(body))}
            await wire.send(head("POST", "/mobile-upload", headers) + body[:50])
            yield


@pytest.mark.parametrize("form", ["websocket", "early answer"])
async def test_a_session_is_not_left_waiting_for_an_upload_that_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The disk is slow: the session exists, but its first packet is not stored when the client goes."""
    append, appending, go_on = StoredFile.append, trio.Event(), trio.Event()

    async def slowly(self: StoredFile, entries: Sequence[Entry]) -> None:
        appending.set()
        await go_on.wait()
        await append(self, entries)

    monkeypatch.setattr(StoredFile, "append", slowly)

    async def ended() -> bool:
        state = (await ask(server.port, "GET", "/health")).json()["actors"]
        return state["sessions"] == 0 and state["finished"] == 1

    async with running(tmp_path) as server:
        with trio.fail_after(LIMIT):
            async with begun(server.port, form):
                await appending.wait()
            await wait_all_tasks_blocked(0.05)  # the server has noticed
            go_on.set()
            await until(ended)
