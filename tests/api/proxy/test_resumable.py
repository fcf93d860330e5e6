"""Resumable uploads through the proxy, which relays offsets and stores no bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pinactors.api.proxy.app import serve_proxy
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.uploads.resumable.senders import NDJSON, Draft, Tus, body_of, comparable, is_whole, said
from tests.api.wire import LIMIT, MULTIPART, ask

PATHS = ["/mobile-upload", "/api/proxy/mobile-upload"]


@asynccontextmanager
async def proxied(folder: Path, masters: int = 2, **settings: Any) -> AsyncIterator[tuple[int, list[int]]]:
    """Runs masters and a proxy in this process; yields the proxy's port and the masters' ports."""
    async with trio.open_nursery() as nursery:
        ports: list[int] = []
        for number in range(masters):
            started = await nursery.start(_master, folder / f"master-{number}")
            ports.append(started)
        urls = " ".join(f"http://127.0.0.1:{port}" for port in ports)
        chosen = Settings(data=folder / "proxy", port=0, proxy_masters=urls, **settings)
        shutdown = trio.Event()

        async def run(task_status: trio.TaskStatus[int]) -> None:
            await serve_proxy(chosen, shutdown=shutdown, task_status=task_status)

        port = await nursery.start(run)
        yield port, ports
        shutdown.set()
        nursery.cancel_scope.cancel()


async def _master(folder: Path, task_status: trio.TaskStatus[int]) -> None:
    async with running(folder) as server:
        task_status.started(server.port)
        await trio.sleep_forever()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("version", ["3", "5", "6", "8"])
async def test_an_upload_is_gone_on_with(tmp_path: Path, path: str, version: str) -> None:
    async with proxied(tmp_path) as (port, _):
        client, body = Draft(port, version, path=path), body_of("a")
        created = await client.create(body[:30])
        assert created.status == 201
        url = created.headers["location"]
        assert url.startswith(f"{path}/")
        assert created.headers["upload-offset"] == "30"
        await client.append_cut(url, 30, body[30:], 20)
        offset = await client.offset(url)
        assert 30 <= offset <= 50
        wrong = await client.append(url, offset + 1, body, complete=True)
        assert (wrong.status, wrong.headers["upload-offset"]) == (409, str(offset))
        answer = await client.append(url, offset, body[offset:], complete=True)
        assert answer.status == 200
        assert is_whole(answer.packets)
        assert list((tmp_path / "proxy" / "proxy").iterdir()) == []
        stream = answer.packets[0]["streamUrl"]
        assert (await ask(port, "GET", stream, b"", NDJSON)).packets == answer.packets
        assert (await client.ask(url, "DELETE")).status == 204
        assert (await client.append(url, 0, b"", complete=True)).status == 404


@pytest.mark.parametrize("version", ["3", "8"])
async def test_a_whole_upload_learns_its_url_before_its_answer(tmp_path: Path, version: str) -> None:
    async with proxied(tmp_path, 1) as (port, _):
        body = body_of("a")
        fields = {**MULTIPART, **NDJSON, **said(version, complete=True)}
        answer = await ask(port, "POST", "/mobile-upload", body, fields)
        assert is_whole(answer.packets)
        assert [status for status, _ in answer.interim] == [104]
        assert answer.interim[0][1]["location"] == answer.headers["location"]
        assert await Draft(port, version).offset(answer.headers["location"]) == len(body)


async def test_under_the_proxys_own_name_one_object_is_the_answer(tmp_path: Path) -> None:
    async with proxied(tmp_path, 1) as (port, _):
        fields = {**MULTIPART, **said("8", complete=False), "User-Agent": "iPhone"}
        url = (await ask(port, "POST", PATHS[1], b"", fields)).headers["location"]
        more = {
            **said("8", complete=True),
            "Upload-Offset": "0",
            "Content-Type": "application/partial-upload",
        }
        answer = await ask(port, "PATCH", url, body_of("a"), more)
        assert answer.json()["success"] is True


async def test_photographs_of_one_session_meet_at_one_master(tmp_path: Path) -> None:
    async with proxied(tmp_path, 3) as (port, _):
        client = Tus(port)
        streams = set()
        for number in range(4):
            stream = await client.send(b"PHOTO front", sessionId=f"s{number}", view="front")
            again = await client.send(b"PHOTO back", sessionId=f"s{number}", view="back", complete="true")
            assert again == stream
            assert is_whole(await client.packets(stream))
            streams.add(stream)
        assert len(streams) == 4
        options = await ask(port, "OPTIONS", "/uploads/")
        assert options.headers["tus-version"] == "1.0.0"


async def test_nobodys_upload_is_not_found(tmp_path: Path) -> None:
    async with proxied(tmp_path, 1) as (port, _):
        for url in ("/mobile-upload/nobody", "/mobile-upload/000000000000.12345678", "/mobile-upload/a.b"):
            assert (await Draft(port).ask(url)).status == 404
        assert (await Tus(port).ask("/uploads/000000000000.12345678")).status == 404


async def test_header_fields_need_not_be_ascii(tmp_path: Path) -> None:
    """The proxy passes a field on as it is; a key that cannot be one is refused as everywhere."""
    named = {"User-Agent": "Nadelzähler/1.0", "Prefer": "ä"}
    async with proxied(tmp_path, 1) as (port, ports):
        for asked in (port, *ports):
            tus = Tus(asked, headers=named)
            stream = await tus.send(b"PHOTO", sessionId=f"tus-{asked}", view="front", complete="true")
            assert is_whole(await tus.packets(stream))
            draft, body = Draft(asked, headers=named), body_of(f"draft-{asked}")
            created = await draft.create(**{"Content-Type": f"{MULTIPART['Content-Type']}; charset=ä"})
            answer = await draft.append(created.headers["location"], 0, body, complete=True)
            assert is_whole(answer.packets)
            for name in ("Idempotency-Key", "x-session-id"):
                assert (await draft.create(body, **{name: "ä"})).status == 400, name
        created = await Tus(port).create(5, sessionId="key", view="front")
        wrong = await Tus(port, headers={"x-api-key": "ä"}).append(created.headers["location"], 0, b"PHOTO")
        assert (wrong.status, wrong.json()["errorCode"]) == (401, "unauthorized")


async def test_cut_at_every_byte(tmp_path: Path) -> None:
    size = len(body_of("proxy-000"))
    expected: list[Any] = []
    records: set[int] = set()

    async def one(port: int, cut: int, slots: trio.CapacityLimiter) -> None:
        client, body = Draft(port, "8"), body_of(f"proxy-{cut:03}")
        async with slots:
            url = (await client.create()).headers["location"]
            await client.append_cut(url, 0, body, cut)
            offset = await client.offset(url)
            assert offset <= cut
            answer = await client.append(url, offset, body[offset:], complete=True)
        assert is_whole(answer.packets)
        records.add(answer.packets[-1]["id"])
        expected.append(comparable(answer.packets))

    with trio.fail_after(10 * LIMIT):
        async with proxied(tmp_path, 1) as (port, _), trio.open_nursery() as nursery:
            slots = trio.CapacityLimiter(8)
            for cut in range(size + 1):
                nursery.start_soon(one, port, cut, slots)
    assert records == set(range(1, size + 2))
    assert all(packets == expected[0] for packets in expected)
