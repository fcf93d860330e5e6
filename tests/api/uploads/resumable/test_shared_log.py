"""Resumable uploads at a master whose packet logs are in PostgreSQL, across a restart of that master."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from tests.api.conftest import running
from tests.api.uploads.resumable.senders import BACK, Tus, is_whole, leave_half_sent
from tests.postgres_server import empty_database, is_stored
from tests.records.conftest import postgres  # noqa: F401 - a fixture


async def test_the_stream_of_a_killed_server_continues_with_the_upload(
    postgres: Path,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    data, url = tmp_path / "data", empty_database(postgres)
    stored = partial(trio.to_thread.run_sync, is_stored, url, b"PRICING_ANALYSIS")
    stream, back = await leave_half_sent(data, stored, database_url=url)
    async with running(data, database_url=url) as server:
        client = Tus(server.port)
        told = await client.ask(back)
        assert (told.headers["upload-offset"], told.headers["stream-location"]) == ("7", stream)
        await client.append(back, 7, BACK[7:])
        assert is_whole(await client.packets(stream))
