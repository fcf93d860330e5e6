"""tus 1.0 at `/uploads/`, on real sockets."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
from PIL import Image

from pinactors.api.uploads.resumable import groups
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.images import Lease
from pinactors.storage.partial_uploads import PartialUploadStore
from pinactors.storage.stored_image import StoredImage
from tests.api.conftest import Process, Running, launch, running
from tests.api.uploads.resumable.senders import (
    BACK,
    FRONT,
    Tus,
    comparable,
    is_kept,
    is_whole,
    leave_half_sent,
    reset,
)
from tests.api.wire import LIMIT, ask, metric, until
from tests.conftest import ErrorLogs

PRICED = 'pinactors_components_total{component="pricing",outcome="full"}'


def full(*_: object) -> None:
    """Replaces a step that writes to a disk which is full."""
    raise OSError(errno.ENOSPC, "No space left on device")


COMPLETED = 'pinactors_sessions_total{outcome="complete"}'


async def test_work_begins_with_the_first_photograph(server: Running) -> None:
    client = Tus(server.port)
    stream = await client.send(FRONT, sessionId="a", view="front")
    await until(lambda: metric(server.port, PRICED))
    await client.send(BACK, sessionId="a", view="back", complete="true")
    assert is_whole(await client.packets(stream))


async def test_a_photograph_is_kept_without_its_metadata(server: Running) -> None:
    photograph = io.BytesIO()
    Image.new("RGB", (64, 64), "orange").save(photograph, "JPEG", comment=b"SERIAL-4711")
    assert b"SERIAL-4711" in photograph.getvalue()
    client = Tus(server.port)
    stream = await client.send(photograph.getvalue(), sessionId="a", complete="true")
    assert is_whole(await client.packets(stream))
    name = hashlib.sha256(photograph.getvalue()).hexdigest()
    (stored,) = server.settings.images_folder.rglob(name)
    assert b"SERIAL-4711" not in stored.read_bytes()


async def test_an_upload_says_where_it_is(server: Running) -> None:
    client = Tus(server.port)
    created = await client.create(len(FRONT), sessionId="a")
    assert created.status == 201
    assert created.headers["tus-resumable"] == "1.0.0"
    assert created.headers["upload-expires"].endswith("GMT")
    url = created.headers["location"]
    assert (await client.append(url, 0, FRONT[:4])).headers["upload-offset"] == "4"
    told = await client.ask(url)
    assert told.status == 200
    assert (told.headers["upload-offset"], told.headers["upload-length"]) == ("4", str(len(FRONT)))
    assert told.headers["upload-metadata"] == f"sessionId {base64.b64encode(b'a').decode()}"
    assert told.headers["cache-control"] == "no-store"
    wrong = await client.append(url, 3, FRONT[3:])
    assert (wrong.status, wrong.json()["field"]) == (409, "Upload-Offset")
    assert (await client.append(url, 4, FRONT[4:] + b"!")).status == 400
    assert (await client.ask("/uploads/nobody-knows-it")).status == 404


async def test_it_can_begin_in_the_creating_request(server: Running) -> None:
    fields = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(FRONT)),
        "Upload-Metadata": f"complete,sessionId {base64.b64encode(b'a').decode()}",
        "Content-Type": "application/offset+octet-stream",
    }
    answer = await ask(server.port, "POST", "/uploads/", FRONT, fields)
    assert (answer.status, answer.headers["upload-offset"]) == (201, str(len(FRONT)))
    assert is_whole(await Tus(server.port).packets(answer.headers["stream-location"]))


async def test_what_has_not_its_checksum_is_not_kept(server: Running) -> None:
    client = Tus(server.port)
    url = (await client.create(len(FRONT), sessionId="a", complete="true")).headers["location"]
    right = f"sha1 {base64.b64encode(hashlib.sha1(FRONT[:6]).digest()).decode()}"
    bad = await client.append(url, 0, b"garbled", **{"Upload-Checksum": right})
    assert bad.status == 460
    assert (await client.ask(url)).headers["upload-offset"] == "0"
    await client.append_cut(url, 0, FRONT[:6], 3, **{"Upload-Checksum": right})
    assert (await client.ask(url)).headers["upload-offset"] == "0"
    good = await client.append(url, 0, FRONT[:6], **{"Upload-Checksum": right})
    assert (good.status, good.headers["upload-offset"]) == (204, "6")
    stream = (await client.append(url, 6, FRONT[6:])).headers["stream-location"]
    assert is_whole(await client.packets(stream))


async def test_a_client_without_patch_and_delete(server: Running) -> None:
    client = Tus(server.port)
    url = (await client.create(len(FRONT), sessionId="a")).headers["location"]
    fields = {
        "Tus-Resumable": "1.0.0",
        "X-HTTP-Method-Override": "PATCH",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": "0",
    }
    assert (await ask(server.port, "POST", url, FRONT[:3], fields)).headers["upload-offset"] == "3"
    fields["X-HTTP-Method-Override"] = "DELETE"
    assert (await ask(server.port, "POST", url, b"", fields)).status == 204
    assert (await client.ask(url)).status == 404
    assert (await ask(server.port, "POST", url, b"", {"Tus-Resumable": "1.0.0"})).status == 405


async def test_a_refused_upload_can_be_ended(server: Running) -> None:
    client = Tus(server.port)
    url = (await client.create(len(FRONT), sessionId="a")).headers["location"]
    assert (await client.append(url, 0, FRONT + b"!")).status == 400
    assert (await client.ask(url)).status == 400
    assert (await ask(server.port, "DELETE", url, headers={"Tus-Resumable": "1.0.0"})).status == 204
    assert (await client.ask(url)).status == 404


async def test_refusals(tmp_path: Path) -> None:
    async with running(tmp_path, max_request_bytes=1000) as server:
        client = Tus(server.port)
        version = await ask(server.port, "POST", "/uploads/", b"", {"Upload-Length": "5"})
        assert (version.status, version.headers["tus-version"]) == (412, "1.0.0")
        assert (await client.create(1001)).status == 413
        assert (await client.create(0)).status == 400
        assert (await client.create(5, view="top")).status == 400
        piece = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Concat": "partial"}
        answer = await ask(server.port, "POST", "/uploads/", b"", piece)
        assert (answer.status, answer.json()["field"]) == (400, "Upload-Concat")
        assert (await client.create(600, sessionId="a")).status == 201
        assert (await client.create(600, sessionId="a", view="back")).status == 413
        options = await ask(server.port, "OPTIONS", "/uploads/")
        assert options.headers["tus-max-size"] == "1000"
        assert "checksum" in options.headers["tus-extension"]


async def test_a_creation_whose_answer_was_lost_can_be_repeated(server: Running) -> None:
    client = Tus(server.port)
    lost = await client.create(len(FRONT), sessionId="a")
    stream = await client.send(FRONT, sessionId="a")
    assert lost.headers["stream-location"] == stream
    assert (await client.ask(lost.headers["location"])).status == 404
    await client.send(BACK, sessionId="a", view="back", complete="true")
    assert is_whole(await client.packets(stream))


async def test_a_creation_that_fails_ends_the_session_whose_photograph_it_replaces(
    server: Running, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    client = Tus(server.port)
    lost = await client.create(len(FRONT), sessionId="a")
    with monkeypatch.context() as patch:
        patch.setattr(PartialUploadStore, "create", full)
        assert (await client.create(len(FRONT), sessionId="a")).status == 503
    error_logs.take("upload not stored")
    packets = await client.packets(lost.headers["stream-location"])
    assert (packets[-1]["packetType"], packets[-1]["errorCode"]) == ("ERROR", "overloaded")


@pytest.mark.parametrize("ended_by", ["a question", "a reset"])
async def test_a_request_that_ends_behind_the_last_byte_completes_the_upload(
    tmp_path: Path, server: Running, ended_by: str
) -> None:
    """A client that is told the whole length as offset sends nothing more."""
    client = Tus(server.port)
    created = await client.create(len(FRONT), sessionId="a", complete="true")
    url = created.headers["location"]
    async with client.appending_without_end(url, FRONT, tmp_path) as wire:
        if ended_by == "a question":
            assert (await client.ask(url)).headers["upload-offset"] == str(len(FRONT))
        else:
            reset(wire)
    assert is_whole(await client.packets(created.headers["stream-location"]))


async def test_an_upload_that_could_not_be_taken_in_is_taken_in_when_its_client_asks(
    server: Running, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    client = Tus(server.port)
    failed = await client.send(FRONT, sessionId="a", view="front")
    await until(lambda: metric(server.port, PRICED))  # the front is taken in
    created = await client.create(len(BACK), sessionId="a", view="back", complete="true")
    url = created.headers["location"]
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "take_in", full)
        await client.append(url, 0, BACK)
        assert (await client.packets(failed))[-1]["errorCode"] == "overloaded"
    error_logs.take("upload not stored")
    assert is_whole(await client.packets(await replacing(failed, client, url)))


async def replacing(failed: str, client: Tus, url: str) -> str:
    """The stream of the session that replaces the `failed` one, once the client that asks for the back is
    told of it."""
    stream = failed

    async def is_another() -> bool:
        nonlocal stream
        told = await client.ask(url)
        assert (told.status, told.headers["upload-offset"]) == (200, str(len(BACK)))
        stream = told.headers["stream-location"]
        return stream != failed

    await until(is_another)
    return stream


async def test_a_session_that_replaces_another_waits_for_a_photograph_that_is_being_stored(
    server: Running, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    """The back could not be stored, and its client asks while the front is still being stored."""
    take_in, begun, stored = groups._take_in, threading.Event(), threading.Event()

    def take_in_front_slowly(lease: Lease, path: Path) -> StoredImage:
        if path.stat().st_size == len(BACK):
            full()
        begun.set()
        stored.wait(LIMIT)
        return take_in(lease, path)

    client = Tus(server.port)
    back = await client.create(len(BACK), sessionId="a", view="back", complete="true")
    url, failed = back.headers["location"], back.headers["stream-location"]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(groups, "_take_in", take_in_front_slowly)
            assert await client.send(FRONT, sessionId="a", view="front") == failed
            await trio.to_thread.run_sync(begun.wait, LIMIT)
            await client.append(url, 0, BACK)
            assert (await client.packets(failed))[-1]["errorCode"] == "overloaded"
        error_logs.take("upload not stored")
        stream = await replacing(failed, client, url)
    finally:
        stored.set()
    assert is_whole(await client.packets(stream))


async def test_a_server_killed_behind_the_last_byte_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process, port = launch(data)
    client = Tus(port)
    try:
        created = await client.create(len(FRONT), sessionId="a", complete="true")
        async with client.appending_without_end(created.headers["location"], FRONT, data):
            os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    async with running(data) as server:
        client = Tus(server.port)
        assert is_whole(await client.packets(created.headers["stream-location"]))
    async with running(data) as server:  # also asked for after another restart
        for _ in range(2):
            told = await Tus(server.port).ask(created.headers["location"])
            assert (told.status, told.headers["upload-offset"]) == (200, str(len(FRONT)))
            assert told.headers["stream-location"] == created.headers["stream-location"]


async def test_a_killed_server_goes_on_where_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    stream, url = await leave_half_sent(data, partial(is_kept, data, b"PRICING_ANALYSIS"))
    async with running(data) as server:
        client = Tus(server.port)
        told = await client.ask(url)
        assert (told.headers["upload-offset"], told.headers["stream-location"]) == ("7", stream)
        await client.append(url, 7, BACK[7:])
        packets = await client.packets(stream)
        assert is_whole(packets)
        assert packets[-1]["id"] == 1
        assert await metric(server.port, PRICED) == 0
        assert (await client.ask(url)).headers["upload-offset"] == str(len(BACK))


async def test_another_key_sees_nothing(tmp_path: Path) -> None:
    records = await Records.open(Settings(data=tmp_path))
    ours, theirs = await records.add_key("ours"), await records.add_key("theirs")
    await records.close()
    async with running(tmp_path) as server:
        mine = Tus(server.port, headers={"x-api-key": ours})
        other = Tus(server.port, headers={"x-api-key": theirs})
        assert (await Tus(server.port).create(5)).status == 401
        created = await mine.create(len(FRONT), sessionId="a")
        url, name = created.headers["location"], created.headers["stream-location"].rpartition("/")[2]
        assert (await other.ask(url)).status == 404
        assert (await other.append(url, 0, FRONT)).status == 404
        assert (await other.create(5, view="back", stream=name)).status == 404
        theirs_too = await other.create(5, sessionId="a", view="back")
        assert theirs_too.headers["stream-location"] != created.headers["stream-location"]


async def test_cut_at_every_byte(shared: Process) -> None:
    before = await metric(shared.port, COMPLETED)
    client = Tus(shared.port)
    slots = trio.CapacityLimiter(8)
    records: set[int] = set()
    seen: list[object] = []

    async def one(cut: int) -> None:
        photograph = b"PHOTO %03d " % cut + bytes(range(32, 90))
        async with slots:
            created = await client.create(len(photograph), sessionId=f"tus-cut-{cut:03}", complete="true")
            url = created.headers["location"]
            await client.append_cut(url, 0, photograph, cut)
            offset = int((await client.ask(url)).headers["upload-offset"])
            assert offset <= cut
            if offset < len(photograph):
                assert (await client.append(url, offset, photograph[offset:])).status == 204
            packets = await client.packets(created.headers["stream-location"])
        assert is_whole(packets)
        records.add(packets[-1]["id"])
        seen.append(comparable(packets))

    with trio.fail_after(10 * LIMIT):
        async with trio.open_nursery() as nursery:
            for cut in range(70):
                nursery.start_soon(one, cut)
    assert len(records) == 70
    assert all(packets == seen[0] for packets in seen)
    assert await metric(shared.port, COMPLETED) == before + 70
