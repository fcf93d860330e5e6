"""Changes of the catalogue by operators."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import trio

from pinactors.catalog import snapshots
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.objects import open_objects
from pinactors.storage.stored_image import StoredImage
from tests.api.admin.conftest import Operator
from tests.api.conftest import running
from tests.api.wire import LIMIT
from tests.catalog import folders
from tests.cli.samples import seal
from tests.records.samples import record
from tests.waiting import until

HEADER = ",".join(folders.PIN_HEADER)


class TestTheCatalogue:
    async def test_a_folder_is_imported_with_problems_by_line(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        source = folders.write_folder(
            tmp_path / "new", [0, 1], back=False, changes={0: {"front_image": "", "name": "Corrected"}}
        )
        rows = (source / "pins.csv").read_bytes() + b"B1,Bad,,,,,,,images/none.png,\r\n"
        files = {"pins.csv": rows, "images/1_front.png": (source / "images/1_front.png").read_bytes()}
        state = await operator.imported(files)
        assert (state["state"], state["done"], state["total"]) == ("done", 3, 3)
        assert (state["counts"]["added"], state["counts"]["updated"]) == (1, 1)
        (problem,) = state["problems"]
        assert (problem["file"], problem["line"]) == ("pins.csv", 4)
        assert "does not exist" in problem["message"]
        assert [pin["name"] for pin in (await operator.get("/pins"))["pins"]] == ["Corrected", "Test pin 1"]
        folder = operator.server.settings.data / "imports"
        with trio.fail_after(LIMIT):
            await until(lambda: not any(folder.iterdir()))  # removed once the import has ended

    async def test_sales_alone_are_imported(self, operator: Operator) -> None:
        sales = "pin_id,sold_at,price,currency,condition,source\r\n" + "T000,2026-01-01,5,USD,,\r\n" * 3
        state = await operator.imported({"sales.csv": sales.encode()})
        assert (state["state"], state["counts"]["sales"]) == ("done", 3)
        assert (await operator.get("/pin?id=T000"))["sales"] == 3
        state = await operator.imported({"sales.csv": sales.replace(",5,", ",6,").encode()})
        assert (state["counts"]["sales"], state["counts"]["replaced"]) == (3, 3)

    async def test_a_table_without_its_columns_is_said(self, operator: Operator) -> None:
        state = await operator.imported({"pins.csv": b"pin_id,name\r\nX,Y\r\n"})
        assert state["state"] == "failed"
        assert "has no column" in state["wrong"]

    async def test_what_is_sent_is_bounded(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        name = (await operator.ask("POST", "/imports")).json()["id"]
        for path in ("../x", "a//b", "a/%2e%2e/b", "a%5Cb", "%00", "/".join("abcdefghi"), "x" * 201):
            answer = await operator.ask("PUT", f"/imports/{name}/files/{path}", b"1")
            assert answer.status in (400, 404), path
        for path in ("a", "Screenshot%20at%2010.00%E2%80%AFAM.png"):  # as macOS names it: with U+202F
            assert (await operator.ask("PUT", f"/imports/{name}/files/{path}", b"1")).status == 200, path
        answer = await operator.ask("PUT", f"/imports/{name}/files/a/b", b"1")
        assert (answer.status, answer.json()["field"]) == (400, "path")
        monkeypatch.setattr("pinactors.api.admin.imports.MAX_BYTES", 4)
        assert (await operator.ask("PUT", f"/imports/{name}/files/b", b"123")).status == 413
        assert (await operator.ask("POST", f"/imports/{name}/start")).status == 400
        assert (await operator.ask("DELETE", f"/imports/{name}")).json()["state"] == "cancelled"
        assert (await operator.ask("PUT", f"/imports/{name}/files/c", b"1")).status == 409
        assert (await operator.ask("GET", "/imports/unknown")).status == 404
        for _ in range(8):
            assert (await operator.ask("POST", "/imports")).status == 200
        assert (await operator.ask("POST", "/imports")).status == 503

    async def test_an_analysis_gives_a_pin_its_picture(self, operator: Operator, tmp_path: Path) -> None:
        photograph = folders.photographed(5, tmp_path / "photograph.png")
        images = {View.FRONT: StoredImage(str(photograph), "c" * 64, photograph.stat().st_size)}
        await operator.records.save(record("s1", images=images, packets=[]), seal)
        name = (await operator.ask("POST", "/imports")).json()["id"]
        wanted = json.dumps({"recordNumber": 1, "view": "front", "path": "images/front.png"}).encode()
        shown = await operator.ask("POST", f"/imports/{name}/photographs", wanted)
        assert (shown.status, shown.headers["content-type"]) == (200, "image/png")
        picture = cv2.imdecode(np.frombuffer(shown.body, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert picture.shape[2] == 4, "cut out along its outline"
        row = f"{HEADER}\r\nNEW-5,Named by a collector,Otter 5,,,,,,images/front.png,\r\n"
        await operator.ask("PUT", f"/imports/{name}/files/pins.csv", row.encode())
        await operator.ask("POST", f"/imports/{name}/start")
        state = await operator.ended(name)
        assert (state["state"], state["counts"]["added"], state["problems"]) == ("done", 1, [])
        match = folders.identify(
            operator.server.settings.catalog_folder, folders.photograph(5, View.FRONT, angle=40.0)
        )
        assert match.pin is not None
        assert match.pin.pin_id == "NEW-5"
        nested = b'{"x":' + b"[" * 4000
        for body, status in ((b"[]", 400), (nested, 400), (wanted.replace(b"front", b"back", 1), 404)):
            name = (await operator.ask("POST", "/imports")).json()["id"]
            assert (await operator.ask("POST", f"/imports/{name}/photographs", body)).status == status
        for field, value in (("recordNumber", "x"), ("view", "top"), ("path", None), ("path", "\ud800")):
            wrong = json.dumps(json.loads(wanted) | {field: value}).encode()
            answer = (await operator.ask("POST", f"/imports/{name}/photographs", wrong)).json()
            assert (answer["errorCode"], answer["field"]) == ("invalid_format", field)
            assert "$" not in answer["error"]
        answer = (await operator.ask("POST", f"/imports/{name}/photographs", b"{}")).json()
        assert answer["field"] == "recordNumber"


async def test_what_is_changed_of_a_published_catalogue_is_published(tmp_path: Path, catalogue: Path) -> None:
    storage = f"file:{tmp_path / 'storage'}"
    settings = Settings(data=tmp_path / "data", storage=storage)
    import_catalog(catalogue, tmp_path / "catalog")
    objects = open_objects(settings)
    version = snapshots.publish(tmp_path / "catalog", objects, lambda done, total: None)
    records = await Records.open(settings)
    key = await records.add_key("shop", admin=True)
    row = f"{HEADER}\r\nT000,Corrected,,,,,,,,\r\n"
    async with running(settings.data, storage=storage, catalog_version="latest") as server:
        state = await Operator(server, key, "", records).imported({"pins.csv": row.encode()})
        assert (state["state"], state["problems"]) == ("done", [])
    latest = snapshots.latest(objects)
    assert latest not in (None, version)
    assert latest is not None
    pin = Catalog.open(snapshots.fetch(latest, objects, tmp_path / "elsewhere")).pin("T000")
    before = Catalog.open(snapshots.fetch(version, objects, tmp_path / "elsewhere")).pin("T000")
    assert pin is not None
    assert before is not None
    assert (before.name, pin.name) == ("Test pin 0", "Corrected")
    async with running(settings.data, storage=storage, catalog_version=version) as server:
        operator = Operator(server, key, "", records)
        name = (await operator.ask("POST", "/imports")).json()["id"]
        await operator.ask("PUT", f"/imports/{name}/files/pins.csv", row.encode())
        assert (await operator.ask("POST", f"/imports/{name}/start")).status == 409
    await records.close()
