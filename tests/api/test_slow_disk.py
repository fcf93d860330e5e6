"""The event loop never waits for a disk, and requests that need no disk are answered at once."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
import trio
import trustme
from werkzeug.routing import Map

import pinactors
from pinactors.api.app import create_app
from pinactors.records import Records
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.proxy.conftest import NDJSON, assert_whole, proxying
from tests.api.rawsocket import opened
from tests.api.slow_disk import slow_disk
from tests.api.uploads.resumable.senders import Draft, Tus, body_of
from tests.api.wire import JSON, Answer, ask, json_body
from tests.catalog import folders
from tests.webhooks.receiver import receiving

LIMIT = 120

SECONDS = 0.01
"""Seconds that each call takes in tests with many calls one after the other. The thread that makes a call
does not depend on the time."""

PACKAGE = (Path(pinactors.__file__).parent, Path(pinactors.__file__).parents[1] / "api")
"""Folders of the installed files, which are on a disk too; in the repository `api` is outside of
`pinactors`."""


async def test_the_masters_loop_waits_for_no_disk(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with running(tmp_path) as server:
            port = server.port
            with slow_disk(tmp_path, seconds=SECONDS) as disk:
                body = json_body(sessionId="slow", frontImageData=b"PHOTO", backImageData=b"PHOTO 2")
                answer = await ask(port, "POST", "/mobile-upload", body, JSON | NDJSON)
                assert_whole(answer, "slow")
                stream = answer.packets[0]["streamUrl"]
                assert (await ask(port, "GET", f"{stream}?offset=-1")).status == 200
                refused = json_body(frontImageData=b"PHOTO", backImageData="%%%")
                assert (await ask(port, "POST", "/mobile-upload", refused, JSON)).status == 400
                assert (await ask(port, "GET", "/health")).status == 200
                assert (await ask(port, "GET", "/readyz")).status == 200
                assert (await ask(port, "GET", "/api/mobile/provisional-pins")).status == 200
            assert disk.on_loop == []
            assert disk.calls > 10


async def test_a_resumable_upload_waits_for_no_disk(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with running(tmp_path) as server:
            with slow_disk(tmp_path, seconds=SECONDS) as disk:
                client, body = Draft(server.port, "6"), body_of("a")
                url = (await client.create(body[:40])).headers["location"]
                answer = await client.append(url, 40, body[40:], complete=True)
                assert answer.status == 200
                abandoned = (await client.create(body[:40])).headers["location"]
                assert (await ask(server.port, "DELETE", abandoned)).status == 204
            assert disk.on_loop == []
            assert disk.calls > 10


async def test_the_proxys_loop_waits_for_no_disk(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as port,
        ):
            with slow_disk(tmp_path / "proxy", *PACKAGE, seconds=SECONDS) as disk:
                body = json_body(sessionId="slow", frontImageData=b"PHOTO", backImageData=b"PHOTO 2")
                answer = await ask(port, "POST", "/mobile-upload", body, JSON | NDJSON)
                assert_whole(answer, "slow")
                stream = answer.packets[0]["streamUrl"]
                seen = ["/health", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "/static/page.js"]
                for path in (f"{stream}?offset=-1", *seen, "/api/mobile/provisional-pins"):
                    assert (await ask(port, "GET", path)).status == 200
                draft, content = Draft(port, "6"), body_of("a")
                url = (await draft.create(content[:40])).headers["location"]
                assert (await draft.append(url, 40, content[40:], complete=True)).status == 200
            assert disk.on_loop == []
            assert disk.calls > 5


async def test_health_does_not_queue_behind_uploads(tmp_path: Path) -> None:
    """All threads for uploads wait for the disk meanwhile."""
    with trio.fail_after(LIMIT):
        async with running(tmp_path) as server, trio.open_nursery() as nursery:
            with slow_disk(tmp_path) as disk:
                for number in range(8):
                    body = json_body(sessionId=f"s{number}", frontImageData=b"PHOTO %d" % number)
                    nursery.start_soon(ask, server.port, "POST", "/mobile-upload", body, JSON)
                while disk.calls < 4:  # noqa: ASYNC110 - counted in threads
                    await trio.sleep(0.01)
                before = disk.calls
                assert (await ask(server.port, "GET", "/livez")).status == 200
                health = await ask(server.port, "GET", "/health")
                assert health.json()["status"] == "ok"
                nursery.cancel_scope.cancel()
            assert disk.on_loop == []
            assert before < 8 * 10


async def test_no_route_waits_for_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls each route of the master with an operator's key that has a webhook."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    data, photograph = tmp_path / "data", folders.photographed(0, tmp_path / "photograph.png").read_bytes()
    with trio.fail_after(LIMIT):
        async with receiving(authority) as receiver:
            records = await Records.open(Settings(data=data))
            operator = {"x-api-key": await records.add_key("operator", receiver.url, admin=True)}
            await records.close()
            async with running(data, webhook_private=True) as server:
                asking = Asking(server.port, operator)
                with slow_disk(tmp_path, *PACKAGE, seconds=SECONDS) as disk:
                    await asking.for_all(photograph)
                    await receiver.until(3)
    assert disk.on_loop == []
    assert disk.calls > 50
    adapter = _routes(data).bind("")
    asked = {
        adapter.match(path.partition("?")[0], method, websocket=path == "/ws")[0]
        for method, path in asking.asked
    }
    assert {rule.endpoint for rule in adapter.map.iter_rules()} - asked == set()


def _routes(data: Path) -> Map:
    unused = mock.MagicMock()
    return create_app(unused, unused, unused, Settings(data=data)).url_map


class Asking:
    """A client. `asked` has the method and path of each request that it has sent."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._port, self._headers = port, headers
        self.asked: list[tuple[str, str]] = []

    async def ask(
        self, method: str, path: str, body: bytes = b"", status: int = 200, **headers: str
    ) -> Answer:
        self.asked.append((method, path))
        answer = await ask(self._port, method, path, body, self._headers | headers)
        assert answer.status == status, (method, path, answer)
        return answer

    async def for_all(self, photograph: bytes) -> None:
        body = json_body(sessionId="slow", frontImageData=photograph)
        packets = (await self.ask("POST", "/mobile-upload", body, **JSON, **NDJSON)).packets
        number, stream_id = packets[-1]["id"], packets[0]["streamId"]
        await self._for_uploads()
        await self._for_streams(stream_id)
        await self._for_pages(stream_id)
        await self._for_records(number)
        await self._for_an_import(number)

    async def _for_uploads(self) -> None:
        draft, tus = Draft(self._port, headers=self._headers), Tus(self._port, headers=self._headers)
        url = (await draft.create(b"a")).headers["location"]
        assert (await draft.ask(url)).status == 204
        assert (await draft.append(url, 1, b"b", complete=False)).status == 204
        self.asked += [("HEAD", url), ("PATCH", url)]
        await self.ask("DELETE", url, status=204)
        await tus.send(b"PHOTO", sessionId="tus", view="front", complete="true")
        url = (await tus.create(3, sessionId="tus2", view="front")).headers["location"]
        assert (await tus.ask(url)).status == 200
        assert (await tus.append(url, 0, b"P")).status == 204
        self.asked += [("POST", tus.path), ("HEAD", url), ("PATCH", url)]
        await self.ask(
            "POST", url, status=204, **{"Tus-Resumable": "1.0.0", "X-HTTP-Method-Override": "DELETE"}
        )
        await self.ask("DELETE", url, status=404, **{"Tus-Resumable": "1.0.0"})
        async with opened(self._port, self._headers) as socket:
            await socket.send(sessionId="socket", images=["front"])
            await socket.send_photograph(b"PHOTO 3")
            await socket.until("ANALYSIS_COMPLETE")
        self.asked.append(("GET", "/ws"))

    async def _for_streams(self, stream_id: str) -> None:
        await self.ask("GET", f"/streams/{stream_id}?offset=-1")
        await self.ask("DELETE", f"/streams/{stream_id}", status=204)
        await self.ask("POST", "/tokens", b"{}", **JSON)

    async def _for_pages(self, stream_id: str) -> None:
        pages = ["/", f"/results/{stream_id}", "/admin", "/docs", "/docs/readme"]
        files = ["/worker.js", "/static/page.js", "/docs/pictures/page.png"]
        for path in (*pages, *files):
            await self.ask("GET", path, Accept="text/html")
        own = [f"/results/{stream_id}/packets", f"/results/{stream_id}/front"]
        told = ["/openapi.json", "/openapi-3.2.json", "/livez", "/readyz", "/health", "/metrics"]
        for path in (*own, *told, "/catalog?search=otter"):
            await self.ask("GET", path)
        for path in ("/catalog/T000/front", "/example/front"):
            await self.ask("GET", path, status=404)

    async def _for_records(self, number: int) -> None:
        said = {"recordNumber": number, "pinId": "slow", "userAgreement": "agree"}
        await self.ask("POST", "/api/mobile/confirm-pin", json.dumps(said).encode(), **JSON)
        seen = ["/api/mobile/provisional-pins", "/api/records", f"/api/records/{number}"]
        of_all = ["overview", "records", f"records/{number}", f"records/{number}/front", "pins"]
        for path in (*seen, *(f"/admin/api/{name}" for name in of_all)):
            await self.ask("GET", path)
        await self.ask("GET", "/admin/api/pin?pin_id=T000", status=404)

    async def _for_an_import(self, number: int) -> None:
        name = (await self.ask("POST", "/admin/api/imports")).json()["id"]
        one = f"/admin/api/imports/{name}"
        await self.ask("PUT", f"{one}/files/pins.csv", b"pin_id,name,front_image\n")
        wanted = {"recordNumber": number, "view": "front", "path": "a.png", "whole": True}
        await self.ask("POST", f"{one}/photographs", json.dumps(wanted).encode())
        await self.ask("POST", f"{one}/start")
        for path in ("/admin/api/imports", one):
            await self.ask("GET", path)
        await self.ask("DELETE", one)
