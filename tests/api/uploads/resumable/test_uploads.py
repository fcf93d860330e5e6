"""The uploads that a server holds: abandoned ones end, and none outlives its session."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from pinactors.api.uploads.resumable import uploads
from pinactors.api.uploads.resumable.upload import Description, PartialUpload
from pinactors.api.uploads.resumable.uploads import PartialUploads
from tests.api.conftest import Running, running
from tests.api.uploads.resumable.senders import BACK, FRONT, Draft, Tus, body_of, is_whole, reset
from tests.api.wire import LIMIT, ask, connected, has_no_session, head, metric, until
from tests.conftest import ErrorLogs
from tests.failing import fail_once


async def test_an_abandoned_photograph_ends_the_session(tmp_path: Path) -> None:
    async with running(tmp_path, upload_expiry=3.0) as server:
        client = Tus(server.port)
        stream = await client.send(FRONT, sessionId="a", view="front")
        created = await client.create(len(BACK), sessionId="a", view="back")
        assert created.headers["stream-location"] == stream
        packets = await client.packets(stream)
        assert (packets[-1]["packetType"], packets[-1]["message"]) == ("ERROR", "Upload abandoned")


async def test_of_too_many_uploads_idle_ones_are_given_up_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SWEEP_SECONDS", 0.05)
    async with running(tmp_path, max_sessions=4) as server:
        client = Tus(server.port)
        created = [await client.create(9, sessionId=name, view="front") for name in "abc"]
        await trio.sleep(0.1)  # one sweep must find them all idle: without one of them it is not crowded
        monkeypatch.setattr(uploads, "CROWDED_EXPIRY_SECONDS", 0.1)
        for one in created:
            packets = await client.packets(one.headers["stream-location"])
            assert packets[-1]["message"] == "Upload abandoned"


@pytest.mark.parametrize("ended_by", ["the client", "its front"])
async def test_no_photograph_outlives_its_session(tmp_path: Path, server: Running, ended_by: str) -> None:
    client = Tus(server.port)
    back = await client.create(len(BACK), sessionId="a", view="back")
    stream = await client.send(FRONT if ended_by == "the client" else b"no picture", sessionId="a")
    if ended_by == "the client":
        assert (await ask(server.port, "DELETE", stream)).status == 204
    assert (await client.packets(stream))[-1]["packetType"] == "ERROR"
    assert (await client.append(back.headers["location"], 0, BACK)).headers["stream-location"] == stream

    async def nothing_is_waited_for() -> bool:
        return not list((tmp_path / "uploads").glob("*.bytes"))

    await until(nothing_is_waited_for)
    assert await client.send(FRONT, sessionId="a", complete="true") != stream


async def test_a_creation_that_is_refused_leaves_no_session(tmp_path: Path) -> None:
    async with running(tmp_path, max_sessions=1) as server:
        waiting = (await Draft(server.port).create()).headers["location"]
        client = Tus(server.port)
        for _ in range(2):
            assert (await client.create(len(FRONT))).status == 503
        await until(partial(has_no_session, server.port))
        await Draft(server.port).ask(waiting, "DELETE")
        assert is_whole(await client.packets(await client.send(FRONT, complete="true")))


async def test_a_client_that_leaves_while_its_upload_is_created_leaves_no_session(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    creating = trio.Event()

    async def never(self: PartialUploads, description: Description) -> PartialUpload:
        creating.set()
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(PartialUploads, "create", never)
    with trio.fail_after(LIMIT):
        async with connected(server.port) as wire:
            await wire.send(head("POST", "/uploads/", {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}))
            await creating.wait()
            assert await metric(server.port, "pinactors_live_sessions") == 1
            reset(wire)
        await until(lambda: metric(server.port, 'pinactors_sessions_total{outcome="cancelled"}'))


async def test_abandoned_uploads_are_looked_for_though_one_look_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    went_on = fail_once(monkeypatch, PartialUploads, "_sweep")
    async with running(tmp_path, upload_expiry=0.2):
        with trio.fail_after(LIMIT):
            await went_on.wait()
    assert error_logs.take("iteration failed")["task"] == "partial uploads"


async def test_an_abandoned_upload_is_removed(tmp_path: Path) -> None:
    async with running(tmp_path, upload_expiry=3.0) as server:
        client, body = Draft(server.port), body_of("a", back=b"PHOTO" * 200)
        url = (await client.create()).headers["location"]
        await client.append(url, 0, body[: body.index(b"back_image") + 200], complete=False)
        await until(lambda: metric(server.port, 'pinactors_sessions_total{outcome="cancelled"}'))
        assert (await client.ask(url)).status == 404

        async def nothing_is_kept() -> bool:
            return not list((tmp_path / "uploads").iterdir())

        await until(nothing_is_kept)
