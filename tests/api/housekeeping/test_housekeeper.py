"""Photographs without a reference are removed, and no others, also if several uploads send the same one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from pinactors.api.housekeeping.housekeeper import Housekeeper
from pinactors.api.housekeeping.retention import Retention
from pinactors.protocol import ErrorCode
from pinactors.records import Records, RecordsUnavailable
from pinactors.settings import Settings
from pinactors.storage.images import STALE_SECONDS, ImageStore
from pinactors.storage.logs.files import photographs
from pinactors.storage.objects import FolderObjects
from pinactors.storage.shared_images import SharedImages
from tests.api.conftest import Running, running
from tests.api.rawsocket import opened
from tests.api.wire import JSON, LIMIT, MULTIPART, PHONE, ask, connected, head, json_body, multipart, part
from tests.failing import fail_once
from tests.waiting import until


class House:
    """An image store and the three places that refer to its photographs: live sessions, journals, records."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data)
        self.settings.journal_folder.mkdir(parents=True)
        self.store = ImageStore(self.settings.images_folder)
        self.store.prepare()
        self.live: set[str] = set()
        self.recorded: set[str] = set()
        self.away = False
        self.asked: list[str] = []
        self.meanwhile = lambda: None
        registry, records = (
            SimpleNamespace(photographs=lambda: self.live, logged_photographs=self.noted),
            SimpleNamespace(known_images=self.known),
        )
        self.keeper = Housekeeper(self.store, cast(Any, registry), cast(Records, records), self.settings)

    async def noted(self) -> set[str]:
        await trio.lowlevel.checkpoint()
        return photographs(self.settings.journal_folder)

    async def known(self, hashes: list[str]) -> set[str]:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise RecordsUnavailable(ErrorCode.PROCESSING_ERROR, "away")
        self.asked += hashes
        found = self.recorded & set(hashes)
        self.meanwhile()
        return found

    @property
    def kept(self) -> set[bytes]:
        return {file.read_bytes() for file in self.store.folder.rglob("*") if file.is_file()}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_what_nobody_refers_to_goes(house: House) -> None:
    live, recorded, noted = (house.store.save(data).sha256 for data in (b"live", b"recorded", b"noted"))
    house.store.save(b"refused")
    house.live.add(live)
    house.recorded.add(recorded)
    journal = house.settings.journal_folder / "some-stream.journal"
    journal.write_text(f'M {{"type":"Arrived","view":"front","path":"x","sha256":"{noted}","size":5}}\n')
    await house.keeper.sweep()
    assert house.kept == {b"live", b"recorded", b"noted"}
    house.asked.clear()
    house.live.clear()
    journal.unlink()
    await house.keeper.sweep()
    assert house.kept == {b"recorded"}
    assert recorded not in house.asked, "what is on record is not asked for again"


async def test_what_is_still_being_received_stays(house: House) -> None:
    """This holds also after another upload of the same content was refused."""
    with house.store.leasing() as first:
        with house.store.leasing() as second:
            for lease in (first, second, first):
                received = house.store.spool / "received"
                received.write_bytes(b"same")
                lease.take_in(received, "ab" * 32, 4)
        await house.keeper.sweep()
        assert house.kept == {b"same"}
    await house.keeper.sweep()
    assert house.kept == set()
    assert house.store.unrecorded() == {}


async def test_what_arrives_once_more_while_it_is_looked_for_stays(house: House) -> None:
    """The second upload's session may be recorded after the housekeeper has read the records."""
    house.store.save(b"twice")
    house.meanwhile = lambda: house.recorded.add(house.store.save(b"twice").sha256)
    await house.keeper.sweep()
    assert house.kept == {b"twice"}
    house.recorded.clear()
    house.meanwhile = lambda: None
    await house.keeper.sweep()
    assert house.kept == set()


async def test_without_the_records_nothing_is_removed(house: House) -> None:
    house.store.save(b"refused")
    house.away = True
    with pytest.raises(RecordsUnavailable):
        await house.keeper.sweep()
    assert house.kept == {b"refused"}


async def test_what_a_killed_process_left_goes_once_it_is_old(house: House) -> None:
    paths = {data: Path(house.store.save(data).path) for data in (b"old", b"new", b"recorded", b"again")}
    for data in (b"old", b"recorded", b"again"):
        os.utime(paths[data], (0, paths[b"new"].stat().st_mtime - STALE_SECONDS - 1))
    house.recorded.add(paths[b"recorded"].name)
    later = House.__new__(House)  # as the next process has it
    later.__dict__ |= house.__dict__
    later.store = ImageStore(house.store.folder)
    later.store.save(b"again")
    keeper = Housekeeper(
        later.store,
        cast(Any, SimpleNamespace(photographs=set, logged_photographs=house.noted)),
        cast(Records, SimpleNamespace(known_images=house.known)),
        house.settings,
    )
    await keeper.sweep_stale()
    assert house.kept == {b"new", b"recorded", b"again"}


# -- over real sockets -------------------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr("pinactors.api.server.SWEEP_SECONDS", 0.05)
    async with running(tmp_path) as server:
        yield server


async def until_kept(server: Running, expected: set[bytes]) -> None:
    """Waits until exactly these photographs are stored; others may be arriving."""
    folder = server.settings.images_folder

    def kept() -> set[bytes]:
        found = set()
        for file in folder.rglob("*"):
            if file.is_file() and file.parent != folder / "spool":
                with suppress(FileNotFoundError):  # removed while it was looked at
                    found.add(file.read_bytes())
        return found

    with trio.fail_after(LIMIT):
        await until(lambda: kept() == expected)


async def until_none_arrives(server: Running) -> None:
    await until(lambda: not any((server.settings.images_folder / "spool").iterdir()))


async def test_refused_uploads_leave_no_photograph(server: Running) -> None:
    """This holds for each form of upload and each reason of refusal; the recorded upload keeps its
    photograph."""
    with trio.fail_after(LIMIT):
        good = await ask(server.port, "POST", "/mobile-upload", json_body(frontImageData=b"PHOTO 1"), JSON)
        assert good.status == 200
        no_front = json_body(backImageData=b"PHOTO 2", angledImageData=b"PHOTO 3")
        refused = [
            (no_front, JSON),
            (json_body(backImageData=b"PHOTO 1") + b"x", JSON),
            (json_body(backImageData=b"PHOTO 4")[:-1] + b",", JSON),
            (
                multipart([part("back_image", b"PHOTO 5", "b"), part("back_image", b"PHOTO 6", "b")]),
                MULTIPART,
            ),
            (multipart([part("back_image", b"PHOTO 7", "b")])[:-6], MULTIPART),
        ]
        for body, headers in refused:
            answer = await ask(server.port, "POST", "/mobile-upload", body, headers | PHONE)
            assert answer.status == 400 or answer.packets[-1]["errorCode"] == "missing_image"
        async with connected(server.port) as wire:
            body = json_body(backImageData=b"PHOTO 8", frontImageData=b"PHOTO" * 100)
            await wire.send(head("POST", "/mobile-upload", JSON | {"Content-Length": str(len(body))}))
            await wire.send(body[:-50])
            await until_kept(server, {b"PHOTO 1", b"PHOTO 8"})  # still being received
        await until_kept(server, {b"PHOTO 1"})
        await until_none_arrives(server)


async def test_a_socket_that_breaks_off_leaves_no_photograph(server: Running) -> None:
    with trio.fail_after(LIMIT):
        async with opened(server.port) as socket:
            await socket.send(images=["back", "front"])
            await socket.send_photograph(b"PHOTO back")
            await until_kept(server, {b"PHOTO back"})
        await until_kept(server, set())
        await until_none_arrives(server)


async def test_a_session_that_was_stored_late_keeps_its_photograph(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, tries = Records.save, 0

    async def late(self: Records, *arguments: Any) -> int:
        nonlocal tries
        tries += 1
        if tries <= 3:
            await trio.lowlevel.checkpoint()
            raise RecordsUnavailable(ErrorCode.PROCESSING_ERROR, "away")
        return await save(self, *arguments)

    monkeypatch.setattr(Records, "save", late)
    with trio.fail_after(LIMIT):
        answer = await ask(server.port, "POST", "/mobile-upload", json_body(frontImageData=b"PHOTO"), JSON)
        assert answer.json()["success"] is True
        assert tries == 4
    await until_kept(server, {b"PHOTO"})


async def test_old_shared_photographs_nobody_refers_to_go(house: House, tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path / "objects")
    house.store = ImageStore(house.store.folder, SharedImages(objects))
    registry = cast(Any, SimpleNamespace(photographs=lambda: house.live, logged_photographs=house.noted))
    records = cast(Records, SimpleNamespace(known_images=house.known))
    keeper = Housekeeper(house.store, registry, records, house.settings)
    live, recorded, nobodys, young = (
        house.store.save(data).sha256 for data in (b"live", b"recorded", b"nobody's", b"young")
    )
    for sha256 in (live, recorded, nobodys):
        os.utime(objects.folder / f"images/{sha256[:2]}/{sha256}", (0, 0))
    house.live.add(live)
    house.recorded.add(recorded)
    await keeper.sweep_shared()
    left = {found.name.rpartition("/")[2] for found in objects.list("images/")}
    assert left == {live, recorded, young}


async def test_a_failure_of_retention_keeps_no_photograph_that_nothing_refers_to(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.store.save(b"refused")
    old = house.store.path_of(house.store.save(b"left behind").sha256)
    os.utime(old, (0, 0))
    fail_once(monkeypatch, Retention, "apply")
    with pytest.raises(RuntimeError):
        await house.keeper.run_round()
    assert house.kept == set()


async def test_photographs_that_cannot_be_removed_prevent_no_retention(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = trio.Event()

    async def apply(*_: object) -> None:
        applied.set()

    async def away(*_: object) -> None:
        raise OSError("the object store is away")

    monkeypatch.setattr(house.keeper, "sweep", away)
    monkeypatch.setattr(Retention, "apply", apply)
    await house.keeper.run_round()
    assert applied.is_set()


async def test_a_round_that_fails_does_not_end_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: Any
) -> None:
    went_on = fail_once(monkeypatch, Housekeeper, "sweep")
    monkeypatch.setattr("pinactors.api.server.SWEEP_SECONDS", 0.01)
    async with running(tmp_path) as server:
        with trio.fail_after(120):
            await went_on.wait()
        assert (await ask(server.port, "GET", "/livez")).status == 200
    assert error_logs.take("iteration failed")["task"] == "housekeeper"
