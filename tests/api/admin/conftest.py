"""An operator of a server with a catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.catalog.importing.importer import import_catalog
from pinactors.records import Records
from pinactors.settings import Settings
from tests.api.conftest import Running, running
from tests.api.wire import LIMIT, Answer, ask
from tests.catalog import folders


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An import folder with one drawn pin."""
    return folders.write_folder(tmp_path_factory.mktemp("source"), [0], back=False, sales=[folders.sale(0)])


class Operator:
    """A client with an operator's key; `user` is a key without that right."""

    def __init__(self, server: Running, key: str, user: str, records: Records) -> None:
        self.server, self.key, self.user, self.records = server, key, user, records

    async def ask(self, method: str, path: str, body: bytes = b"", key: str | None = None) -> Answer:
        headers = {"x-api-key": self.key if key is None else key}
        return await ask(self.server.port, method, f"/admin/api{path}", body, headers)

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json()

    async def imported(self, files: dict[str, bytes]) -> Any:
        """Imports `files`, and returns the state of the import after its end."""
        name = (await self.ask("POST", "/imports")).json()["id"]
        for path, content in files.items():
            assert (await self.ask("PUT", f"/imports/{name}/files/{path}", content)).status == 200
        assert (await self.ask("POST", f"/imports/{name}/start")).status == 200
        return await self.ended(name)

    async def ended(self, name: str) -> Any:
        with trio.fail_after(LIMIT):
            while True:
                state = await self.get(f"/imports/{name}")
                if state["state"] in ("done", "failed", "cancelled"):
                    return state
                await trio.sleep(0.05)


@pytest.fixture
async def operator(tmp_path: Path, catalogue: Path) -> AsyncIterator[Operator]:
    data = tmp_path / "data"
    import_catalog(catalogue, data / "catalog")
    records = await Records.open(Settings(data=data))
    key, user = await records.add_key("shop", admin=True), await records.add_key("phone")
    async with running(data) as server:
        yield Operator(server, key, user, records)
    await records.close()
