"""Health and readiness: the checks of folders, database and catalogue."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from pinactors import __version__
from pinactors.api.health import Checks
from pinactors.api.server import serve
from pinactors.catalog.index import CURRENT_FILE
from pinactors.records import Records
from pinactors.settings import Settings
from tests.api import drawn
from tests.api.conftest import Running
from tests.api.wire import JSON, ask, json_body

UPLOAD = "/mobile-upload"


async def test_health(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await ask(server.port, "GET", "/health")
    body = answer.json()
    assert (answer.status, body["status"]) == (200, "ok")
    assert body["timestamp"].endswith("Z")
    assert body["version"] == __version__
    assert body["actors"]["sessions"] == 0
    assert body["actors"]["accepting"] is True
    assert body["queue"]["workers"] == 1
    assert "pids" not in body["queue"]
    assert body["database"] == {"available": True}
    assert body["catalogue"] == {"available": True, "pins": 0, "version": "", "demonstration": False}

    async def away(_: Records) -> bool:
        return False

    monkeypatch.setattr(Records, "check", away)
    answer = await ask(server.port, "GET", "/health")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["database"] == {"available": False}


async def test_folders_that_are_removed_while_it_runs_are_made_again(server: Running, tmp_path: Path) -> None:
    data = server.settings.data
    for number, name in enumerate(("images", "images/spool", "journal", "scratch", "uploads")):
        # Moved in one step: a file that the server writes meanwhile would stop a removal file by file.
        (data / name).rename(tmp_path / f"removed-{number}")
        body = json_body(frontImageData=b"PHOTO " + name.encode())
        answer = await ask(server.port, "POST", UPLOAD, body, JSON)
        assert (answer.status, answer.json()["missing"], answer.json()["degraded"]) == (200, [], []), name
        assert (await ask(server.port, "GET", "/readyz")).status == 200
    begun = {"Upload-Complete": "?0", "Upload-Draft-Interop-Version": "6"}
    assert (await ask(server.port, "POST", UPLOAD, b"{", JSON | begun)).status == 201


async def test_a_folder_that_is_needed_and_missing_counts_as_a_full_disk(tmp_path: Path) -> None:
    assert await Checks().disk([tmp_path], [tmp_path / "missing"])
    assert not await Checks().disk([tmp_path, tmp_path / "missing"])


async def test_a_damaged_catalogue_degrades_health(server: Running) -> None:
    server.settings.catalog_folder.mkdir(parents=True)
    (server.settings.catalog_folder / CURRENT_FILE).write_text("{")
    body = (await ask(server.port, "GET", "/health")).json()
    assert (body["status"], body["catalogue"]) == ("degraded", {"available": False})


async def test_a_catalogue_that_was_named_and_is_not_there_is_not_available(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", port=0, workers=1)
    async with trio.open_nursery() as nursery:
        start = partial(
            serve,
            settings,
            catalog=tmp_path / "TYPO",
            analysis=drawn.declare(settings),
            warm=drawn.warm,
            shutdown=trio.Event(),
        )
        port: int = await nursery.start(start)
        body = (await ask(port, "GET", "/health")).json()
        nursery.cancel_scope.cancel()
    assert (body["status"], body["catalogue"]) == ("degraded", {"available": False})
