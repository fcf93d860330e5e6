"""Short-lived tokens: made with a key, valid for uploads or one stream, at the master and at the proxy."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from wsproto.events import RejectConnection

from pinactors.api.proxy.relay import keys
from pinactors.records import Records
from pinactors.records.models import AccessToken
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.proxy.conftest import proxying
from tests.api.rawsocket import RawSocket, opened
from tests.api.uploads.resumable.senders import Draft, Tus, body_of
from tests.api.wire import JSON, Answer, ask, json_body

NDJSON = {"Accept": "application/x-ndjson"}


@dataclass
class Site:
    """A server with API keys. `port` is the port of the master or of the proxy."""

    port: int
    keys: list[str]
    records: Records

    async def token(self, key: int = 0, **asked: object) -> str:
        answer = await self.ask("POST", "/tokens", self.keys[key], msgspec.json.encode(asked))
        assert answer.status == 200, answer
        return str(answer.json()["token"])

    async def ask(self, method: str, path: str, key: str, body: bytes = b"", **more: str) -> Answer:
        headers = {"x-api-key": key} if key else {}
        return await ask(self.port, method, path, body, JSON | headers | more)

    async def upload(self, key: str, session: str = "s") -> Answer:
        body = json_body(sessionId=session, frontImageData=b"PHOTO")
        return await ask(self.port, "POST", "/mobile-upload", body, JSON | NDJSON | {"x-api-key": key})

    async def stream(self, key: str, session: str = "s") -> str:
        return str((await self.upload(key, session)).packets[0]["streamId"])


@pytest.fixture(params=["master", "proxy"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    records = await Records.open(Settings(data=tmp_path / "data"))
    keys = [await records.add_key("one"), await records.add_key("two")]
    async with running(tmp_path / "data") as server:
        if request.param == "master":
            yield Site(server.port, keys, records)
        else:
            async with proxying(tmp_path / "proxy", [f"http://127.0.0.1:{server.port}"]) as port:
                yield Site(port, keys, records)
    await records.close()


async def refused(answer: Answer) -> bool:
    return (answer.status, answer.json()["errorCode"]) == (401, "unauthorized")


async def test_what_a_token_says_of_itself(site: Site) -> None:
    answer = await site.ask("POST", "/tokens", site.keys[0])
    made = answer.json()
    assert (made["success"], made["seconds"], made["streamId"]) == (True, 600, None)
    assert answer.headers["cache-control"] == "no-store"
    lasts = dt.datetime.fromisoformat(made["expiresAt"]) - dt.datetime.fromisoformat(made["timestamp"])
    assert abs(lasts.total_seconds() - 600) < 5
    made = (await site.ask("POST", "/tokens", site.keys[0], b'{"seconds": 3600, "more": 1}')).json()
    assert made["seconds"] == 3600


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"seconds": 59}', "seconds"),
        (b'{"seconds": 3601}', "seconds"),
        (b'{"seconds": "60"}', "seconds"),
        (b'{"seconds": true}', "seconds"),
        (b'{"streamId": 7}', "streamId"),
        (b'{"streamId": "\\ud800"}', "streamId"),
        (b'{"seconds": 1e400}', "seconds"),
        (b'{"seconds": %b}' % (b"9" * 5000), "seconds"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(site: Site, body: bytes, field: str) -> None:
    answer = await site.ask("POST", "/tokens", site.keys[0], body)
    assert (answer.status, answer.json()["errorCode"], answer.json()["field"]) == (
        400,
        "invalid_format",
        field,
    )


async def test_tokens_need_a_key_and_make_none(site: Site) -> None:
    for key in ("", "wrong", await site.token()):
        assert await refused(await site.ask("POST", "/tokens", key))
    assert (await site.ask("POST", "/tokens", site.keys[0], b"[")).status == 400
    theirs = await site.stream(site.keys[1])
    body = msgspec.json.encode({"streamId": theirs})
    answer = await site.ask("POST", "/tokens", site.keys[0], body)
    assert (answer.status, answer.json()["errorCode"]) == (404, "stream_not_found")


async def test_an_open_server_makes_none(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert await refused(await ask(server.port, "POST", "/tokens"))


async def test_a_token_for_uploads_uploads_in_every_way_and_nothing_else(site: Site) -> None:
    token = await site.token()
    headers = {"x-api-key": token}
    stream = await site.stream(token, "plain")
    draft = Draft(site.port, headers=headers)
    created = await draft.create(**{"x-session-id": "draft"})
    whole = body_of("draft")
    answer = await draft.append(created.headers["location"], 0, whole, complete=True)
    assert answer.packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
    tus = Tus(site.port, headers=headers)
    packets = await tus.packets(await tus.send(b"PHOTO", sessionId="tus", complete="true"))
    assert packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
    for where in ({"headers": headers}, {"opening": {"apiKey": token}}):
        async with opened(site.port, where.get("headers")) as socket:
            opening: dict[str, Any] = where.get("opening", {})
            await socket.send(sessionId="ws", images=["front"], **opening)
            await socket.send_photograph(b"PHOTO ws")
            await socket.until("ANALYSIS_COMPLETE")
    assert (await site.ask("GET", f"/streams/{stream}", token)).status == 200
    for method, path in (
        ("GET", "/api/records"),
        ("GET", "/api/mobile/provisional-pins"),
        ("POST", "/api/mobile/confirm-pin"),
        ("POST", "/tokens"),
    ):
        answer = await site.ask(method, path, token)
        assert await refused(answer), path
        assert "for uploads" in answer.json()["error"]
    assert (await site.ask("GET", f"/streams/{await site.stream(site.keys[1])}", token)).status == 404


async def test_a_token_for_a_stream_reads_and_ends_that_one_only(site: Site) -> None:
    mine, other = await site.stream(site.keys[0], "a"), await site.stream(site.keys[0], "b")
    token = await site.token(streamId=mine, seconds=60)
    read = await site.ask("GET", f"/streams/{mine}?offset=-1", token)
    assert (read.status, len(msgspec.json.decode(read.body))) == (200, 8)
    assert (await site.ask("DELETE", f"/streams/{mine}", token)).status == 204
    async with opened(site.port, {"x-api-key": token}) as socket:
        await socket.send(streamId=mine, offset="-1")
        await socket.until("ANALYSIS_COMPLETE")
    assert (await site.ask("GET", f"/streams/{other}", token)).status in (401, 404)
    for answer in (await site.upload(token), await site.ask("GET", "/api/records", token)):
        assert await refused(answer)
        assert answer.headers["www-authenticate"] == 'Bearer realm="pinactors", error="insufficient_scope"'


async def test_a_token_ends_with_its_time(site: Site) -> None:
    token = await site.token()
    assert (await site.upload(token)).status == 200
    long_ago = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    await site.records._store.write(AccessToken.update(expires_at=long_ago).execute)
    assert await refused(await site.upload(token))


async def test_a_revoked_key_ends_its_tokens_and_what_the_proxy_keeps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KEY_SECONDS", 0.0)
    key, token = site.keys[0], await site.token()
    streams = [await site.stream(key, "a"), await site.stream(token, "b")]
    for who, stream in zip((key, token), streams, strict=True):
        assert (await site.ask("GET", f"/streams/{stream}", who)).status == 200
    await site.records.revoke_key(1)
    for who, stream in zip((key, token), streams, strict=True):
        assert (await site.ask("GET", f"/streams/{stream}", who)).status in (401, 404)
        assert (await site.ask("DELETE", f"/streams/{stream}", who)).status in (401, 404)
        assert await refused(await site.upload(who))
    socket = RawSocket(await trio.open_tcp_stream("127.0.0.1", site.port))
    async with socket.stream:
        assert isinstance(await socket.open({"x-api-key": key}), RejectConnection)
