"""The catalogue's pictures and its search over HTTP."""

from __future__ import annotations

from pathlib import Path

import trio

from pinactors.catalog.importing.importer import import_catalog
from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT, proxying
from tests.api.wire import ask
from tests.catalog import folders


async def test_the_picture_of_a_pin_whose_id_has_slashes(tmp_path: Path) -> None:
    """The page encodes the id; a server sees the path decoded."""
    changes = {0: {"pin_id": "A/12"}, 1: {"pin_id": "B%2F/%/back"}}
    source = folders.write_folder(tmp_path / "in", [0, 1], back=False, changes=changes)
    import_catalog(source, tmp_path / "master" / "catalog")
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as proxy,
        ):
            for port in (master.port, proxy):
                for pin_id, status in (("A%2F12", 200), ("B%252F%2F%25%2Fback", 200), ("A", 404)):
                    answer = await ask(port, "GET", f"/catalog/{pin_id}/front")
                    assert answer.status == status, pin_id
                    assert (answer.body[:2] == b"\xff\xd8") is (status == 200), "a JPEG"
                refused = await ask(port, "GET", "/catalog?search=%00")  # SQLite would find every pin
                assert (refused.status, refused.json()["field"]) == (400, "search")
