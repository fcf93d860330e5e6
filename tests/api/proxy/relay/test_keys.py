"""Keys of phones, which the masters check."""

from __future__ import annotations

from pathlib import Path

import trio

from pinactors.records import Records
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT, NDJSON, assert_whole, proxying, upload
from tests.api.wire import ask


async def test_a_stream_is_its_keys(tmp_path: Path) -> None:
    """The master checks keys. Another key cannot read the stream, and the proxy stores no key."""
    records = await Records.open(Settings(data=tmp_path / "master"))
    mine, other = await records.add_key("mine"), await records.add_key("other")
    await records.close()
    async with running(tmp_path / "master") as master:
        with trio.fail_after(LIMIT):
            async with proxying(tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"]) as port:
                assert (await upload(port, "s")).status == 401
                answer = await upload(port, "s", **{"x-api-key": mine})
                assert_whole(answer, "s")
                path = f"/streams/{answer.packets[0]['streamId']}"
                bearer = NDJSON | {"Authorization": f"Bearer {mine}"}
                assert (await ask(port, "GET", path, headers=bearer)).body == answer.body
                unknown, impossible = "/streams/aaaaaaaaaaaaaaaaaaaaaaaa", "/streams/unknown"
                for headers, status in (
                    ({}, 401),
                    ({"x-api-key": "wrong"}, 401),
                    ({"x-api-key": other}, 404),
                ):
                    for place in (path, unknown, impossible):
                        for method in ("GET", "HEAD", "DELETE"):
                            refused = await ask(port, method, place, headers=headers)
                            direct = await ask(master.port, method, place, headers=headers)
                            assert (refused.status, direct.status) == (status, status), (method, place)
        kept = b"".join(file.read_bytes() for file in (tmp_path / "proxy").rglob("*") if file.is_file())
        assert b"PROCESSING_STARTED" in kept
        assert mine.encode() not in kept


async def test_a_key_that_one_of_several_masters_knows_is_not_refused(tmp_path: Path) -> None:
    """These masters share no database. A master that does not answer does not make a key a wrong one."""
    keys = []
    for name in ("one", "two"):
        records = await Records.open(Settings(data=tmp_path / name))
        keys.append(await records.add_key(name))
        await records.close()
    unknown = "/streams/aaaaaaaaaaaaaaaaaaaaaaaa"
    with trio.fail_after(LIMIT):
        async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
            masters = [f"http://127.0.0.1:{server.port}" for server in (one, two)]
            async with proxying(tmp_path / "proxy", masters) as port:
                for key, status in ((keys[0], 404), (keys[1], 404), ("wrong", 401)):
                    answer = await ask(port, "GET", unknown, headers={"x-api-key": key})
                    assert answer.status == status, key
                direct = await upload(two.port, "s", **{"x-api-key": keys[1]})
                path = f"/streams/{direct.packets[0]['streamId']}"
                found = await ask(port, "GET", path, headers=NDJSON | {"x-api-key": keys[1]})
                assert found.body == direct.body
        async with proxying(tmp_path / "alone", ["http://127.0.0.1:9"]) as port:
            assert (await ask(port, "GET", unknown, headers={"x-api-key": "wrong"})).status == 503
