"""Resumable uploads at a master whose packet logs are in PostgreSQL, across a restart of that master."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.api.conftest import launch, running
from tests.api.uploads.resumable.senders import Tus, is_whole
from tests.api.wire import LIMIT
from tests.postgres_server import empty_database
from tests.records.conftest import postgres  # noqa: F401 - a fixture

FRONT, BACK = b"PHOTO front", b"PHOTO of the back"


async def test_the_stream_of_a_killed_server_continues_with_the_upload(
    postgres: Path,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    data, shared = tmp_path / "data", {"database_url": empty_database(postgres)}
    process, port = await trio.to_thread.run_sync(partial(launch, data, **shared))
    try:
        client = Tus(port)
        stream = await client.send(FRONT, sessionId="a", view="front")
        back = await client.create(len(BACK), sessionId="a", view="back", complete="true")
        url = back.headers["location"]
        await client.append(url, 0, BACK[:7])
        with trio.fail_after(LIMIT):
            while not await trio.to_thread.run_sync(is_stored, shared["database_url"], b"PRICING_ANALYSIS"):  # noqa: ASYNC110
                await trio.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    async with running(data, **shared) as server:
        client = Tus(server.port)
        told = await client.ask(url)
        assert (told.headers["upload-offset"], told.headers["stream-location"]) == ("7", stream)
        await client.append(url, 7, BACK[7:])
        assert is_whole(await client.packets(stream))


def is_stored(url: str, text: bytes) -> bool:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url) as connection:
        rows: list[Any] = connection.execute("SELECT body FROM log_entry").fetchall()
    return any(text in bytes(body) for (body,) in rows)
