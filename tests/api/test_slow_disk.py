"""The event loop touches no disk: with one that takes 200 ms a call, everything that needs none goes on."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.api.conftest import running
from tests.api.proxy.conftest import NDJSON, assert_whole, proxying
from tests.api.slow_disk import slow_disk
from tests.api.uploads.resumable.senders import Draft, body_of
from tests.api.wire import JSON, ask, json_body

LIMIT = 60


async def test_the_masters_loop_waits_for_no_disk(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with running(tmp_path) as server:
            port = server.port
            with slow_disk(tmp_path) as disk:
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
            with slow_disk(tmp_path) as disk:
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
            with slow_disk(tmp_path / "proxy") as disk:
                body = json_body(sessionId="slow", frontImageData=b"PHOTO", backImageData=b"PHOTO 2")
                answer = await ask(port, "POST", "/mobile-upload", body, JSON | NDJSON)
                assert_whole(answer, "slow")
                stream = answer.packets[0]["streamUrl"]
                assert (await ask(port, "GET", f"{stream}?offset=-1")).status == 200
                assert (await ask(port, "GET", "/health")).status == 200
            assert disk.on_loop == []
            assert disk.calls > 5


async def test_health_does_not_queue_behind_uploads(tmp_path: Path) -> None:
    """Every thread for uploads waits for the disk."""
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
